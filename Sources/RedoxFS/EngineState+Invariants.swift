#if DEBUG || TESTING
    import DiskFormat

    extension FileSystem {
        /// What must hold between any two operations; nil if it does, else what doesn't. Compiled for tests only.
        func brokenInvariant() -> String? { state.withLock { $0.brokenInvariant() } }
    }

    extension EngineState {
        /// Free space, promises, and the order of everything that waits to be written.
        func brokenInvariant() -> String? {
            if let broken = space.index.brokenInvariant() { return broken }
            var demand = Demand.blocks(blocks.dirtyCount)
            var objects = blocks.dirtyCount
            var dirtyBlocks = 0
            for (slot, block) in blocks.slots.enumerated() where block.buffer != nil {
                if let broken = brokenInvariant(block, slot) { return broken }
                if block.isDirty { dirtyBlocks += 1 }
            }
            guard dirtyBlocks == blocks.dirtyCount else { return "\(dirtyBlocks) blocks are dirty, the count is wrong" }
            for record in records.slots where record.buffer != nil && record.isDirty {
                demand[Int(record.reservedLevel)] += 1
                objects += 1
                let parent = blocks.slots[record.parent]
                guard parent.isDirty else { return "record \(record.key): the list above isn't dirty" }
                let pointer = childPointer(record.parent, Int(record.parentIndex))
                guard pointer == record.pointer else { return "record \(record.key): the list says \(pointer)" }
                guard Limits.blockSize << Int(record.reservedLevel) <= record.buffer?.byteCount ?? 0 else {
                    return "record \(record.key): the buffer is smaller than what is promised to it"
                }
            }
            for node in attributeSets.dirty {
                guard let set = attributeSets[node] else { return "attributes of node \(node) are missing" }
                demand += set.reserved
                objects += set.reservedObjects
            }
            if let broken = brokenDeparture() { return broken }
            guard demand == space.demand else { return "promised \(space.demand), needed \(demand)" }
            guard objects == space.objects else { return "\(space.objects) objects are counted, there are \(objects)" }
            return nil
        }

        /// See `EngineState+Departed`.
        private func brokenDeparture() -> String? {
            for node in departed.nodes {
                let number = node.id.rawValue
                guard
                    let slot = blocks.slots.firstIndex(where: {
                        $0.kind == .node && $0.owner == number && $0.buffer != nil
                    })
                else { return "node \(number) departed and isn't in memory" }
                let tree = blocks.buffer(node.lowestTree).bytes
                guard blocks.slots[slot].isDirty, blocks.slots[node.lowestTree].isDirty else {
                    return "node \(number) departed and isn't dirty with its tree"
                }
                guard TreeBlock.pointer(tree, node.id.treeIndex(level: 0)) == blocks.pointer(slot),
                    TreeBlock.firstFree(tree, from: node.id.treeIndex(level: 0)) == node.id.treeIndex(level: 0)
                else { return "node \(number) departed and isn't in its place, or its number isn't free" }
                let inode = inodes[UInt64(number)] ?? InodeState()
                guard NodeBlock.links(blocks.buffer(slot).bytes) == 0, inode.opens == 0, !inode.isOrphan else {
                    return "node \(number) departed and has a name, or somebody has it open"
                }
            }
            return nil
        }

        private func brokenInvariant(_ block: BlockSlot, _ slot: Slot) -> String? {
            if block.isDirty, block.parent != noSlot {
                guard blocks.slots[block.parent].isDirty else { return "block \(block.number): its parent isn't dirty" }
                guard block.kind.rawValue < blocks.slots[block.parent].kind.rawValue else {
                    return "block \(block.number): its parent has no higher rank"
                }
            }
            let bytes = blocks.buffer(slot)
            if block.kind.isHashTree {
                do { try HashTreeBlock.check(bytes.bytes) } catch { return "block \(block.number): \(error)" }
            } else if block.kind == .directoryList {
                do { try DirectoryList.check(bytes.bytes) } catch { return "block \(block.number): \(error)" }
            } else if block.kind.isTree {
                guard TreeBlock.hasClearSpareBits(bytes.bytes) else {
                    return "block \(block.number): spare bits are set"
                }
            }
            return nil
        }
    }
#endif
