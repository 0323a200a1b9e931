import DiskFormat
import Platform

extension EngineState {
    /// Plans the blocks on the way to an entry to become dirty; the directory's node is planned already.
    mutating func touchPlace(_ directory: Slot, _ place: DirectoryPlace) {
        var parent = directory
        var parentIndex = 1
        for step in place.steps {
            touch(step.slot, parent: parent, parentIndex: parentIndex)
            parent = step.slot
            parentIndex = step.index
        }
        touch(place.list, parent: parent, parentIndex: parentIndex)
    }

    /// Removes an entry whose way is dirty. Blocks without entries go; the hashes above become the largest below.
    mutating func removeEntry(_ directory: Slot, _ place: DirectoryPlace) {
        guard let entry = place.entry else { return }
        // The hashes are only looked at if the largest one goes.
        let known = place.steps.last.map { HashTreeBlock.hash(blocks.buffer($0.slot).bytes, $0.index) }
        var bound = blocks.change(place.list) { bytes -> UInt32? in
            let hash = NameHash.of(DirectoryList.name(bytes.bytes, entry))
            try? DirectoryList.remove(&bytes, entry)
            if DirectoryList.used(bytes.bytes) == 0 { return nil }
            guard let known else { return NameHash.maximum }
            return hash < known ? known : (try? DirectoryList.maximumHash(bytes.bytes)) ?? nil
        }
        var removed = 0
        if bound == nil {
            dropBlock(place.list)
            removed &+= 1
        }
        for step in place.steps.reversed() {
            bound = blocks.change(step.slot) { bytes -> UInt32? in
                if let bound {
                    // The order is kept whatever an old image says.
                    let before = step.index > 0 ? HashTreeBlock.hash(bytes.bytes, step.index &- 1) : 0
                    let pointer = HashTreeBlock.pointer(bytes.bytes, step.index)
                    HashTreeBlock.setEntry(&bytes, step.index, hash: max(bound, before), pointer)
                } else {
                    HashTreeBlock.remove(&bytes, at: step.index)
                }
                let used = HashTreeBlock.usedCount(bytes.bytes)
                return used == 0 ? nil : HashTreeBlock.hash(bytes.bytes, used &- 1)
            }
            if bound == nil {
                dropBlock(step.slot)
                removed &+= 1
            }
        }
        if bound == nil {
            setRoot(directory, .empty, addedBlocks: -removed)
            blocks.change(directory) { NodeBlock.setSize(&$0, 0) }
        } else if removed > 0 {
            addDirectoryBlocks(directory, -removed)
        }
    }

    /// Makes an entry whose way is dirty lead to another node.
    mutating func redirectEntry(_ place: DirectoryPlace, to node: NodeID) {
        guard let entry = place.entry else { return }
        blocks.change(place.list) { DirectoryList.setNode(&$0, entry, node) }
    }

    /// Frees what is left of a directory without entries. All its blocks are in memory.
    mutating func dropDirectoryBlocks(_ directory: Slot) {
        guard case .tree(let depth, let root)? = try? directoryContent(directory) else { return }
        dropTree(root, depth)
    }

    private mutating func dropTree(_ pointer: BlockPointer, _ level: Int) {
        guard let slot = blocks.find(pointer) else { return }
        if level > 0 {
            let buffer = blocks.buffer(slot)
            for index in 0..<HashTreeBlock.usedCount(buffer.bytes) {
                dropTree(HashTreeBlock.pointer(buffer.bytes, index), level &- 1)
            }
        }
        dropBlock(slot)
    }
}
