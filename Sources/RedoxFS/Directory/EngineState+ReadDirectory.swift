import DiskFormat
import Platform

/// Entries being gathered for one call of `readDirectory`.
private struct EntryBatch {
    struct Item {
        var key: UInt64
        var name: [UInt8]
        var node: NodeID
    }

    /// Entries in final order.
    var finished: [Item] = []
    /// Entries whose hash may occur in the next list too.
    var held: [Item] = []

    /// Sorts what is held below a hash to the finished ones; equal keys are numbered.
    mutating func finish(below bound: UInt32?, from position: UInt64) {
        held.sort { a, b in
            a.key == b.key ? a.name.lexicographicallyPrecedes(b.name) : a.key < b.key
        }
        var rest: [Item] = []
        var previous: UInt64 = .max
        var ordinal: UInt64 = 0
        for var item in held {
            if let bound, DirectoryKey.treeHash(item.key) >= bound {
                rest.append(item)
                continue
            }
            ordinal = item.key == previous ? min(ordinal &+ 1, DirectoryKey.maximumOrdinal) : 0
            previous = item.key
            item.key |= ordinal
            if item.key >= position { finished.append(item) }
        }
        held = rest
    }
}

extension EngineState {
    /// The entries from a position on, at least `wanted` of them if there are so many, in order.
    mutating func readDirectory(
        _ id: NodeID, from position: UInt64, wanted: Int, withKinds: Bool
    ) throws(Fault) -> [DirectoryEntry] {
        let directory = try directory(id)
        guard case .tree(let depth, let root) = try directoryContent(directory) else { return [] }
        var batch = EntryBatch()
        let wanted = min(wanted, blocks.workingSet)
        _ = try gather(root, depth, id.rawValue, position, wanted, .max, &batch)
        batch.finish(below: nil, from: position)
        var result: [DirectoryEntry] = []
        result.reserveCapacity(batch.finished.count)
        var loads: [Load] = []
        var missing = FlatMap<UInt64, Bool>(filler: false)
        for item in batch.finished.prefix(max(wanted, 1)) {
            var kind: NodeKind?
            do throws(Fault) {
                let buffer = try nodeBuffer(item.node)
                kind = NodeBlock.kind(buffer.bytes)
            } catch {
                // Nodes, and the tree's blocks on the way to them, are read together; a node that can't be read leaves its
                // kind open.
                if withKinds, case .load(let more) = error {
                    for load in more where missing[load.pointer.address.number] == nil {
                        missing.set(load.pointer.address.number, true)
                        loads.append(load)
                    }
                }
            }
            result.append(
                DirectoryEntry(
                    name: item.name, node: item.node, kind: kind, next: DirectoryPosition(rawValue: item.key &+ 1)))
        }
        guard loads.isEmpty else { throw .load(loads) }
        return result
    }

    /// Gathers the lists that may hold entries from the position on, until there are enough. Whether to go on.
    private mutating func gather(
        _ pointer: BlockPointer, _ level: Int, _ owner: UInt32, _ position: UInt64, _ wanted: Int, _ bound: UInt32,
        _ batch: inout EntryBatch
    ) throws(Fault) -> Bool {
        let slot = try block(pointer, Self.directoryKind(level), owner: owner)
        let buffer = blocks.buffer(slot)
        if level == 0 {
            do {
                var items: [EntryBatch.Item] = []
                try DirectoryList.forEach(buffer.bytes) { entry in
                    let name = DirectoryList.name(buffer.bytes, entry)
                    let key = DirectoryKey.of(name)
                    if key | DirectoryKey.maximumOrdinal >= position {
                        items.append(EntryBatch.Item(key: key, name: name.copyToArray(), node: entry.node))
                    }
                    return true
                }
                batch.held += items
            } catch {
                throw .failed(.corrupt(error, block: pointer.address.number))
            }
            // Names with the list's largest hash may go on in the next list.
            if bound != .max { batch.finish(below: bound, from: position) }
            return batch.finished.count < wanted
        }
        let hash = DirectoryKey.treeHash(position)
        for index in HashTreeBlock.lowerBound(buffer.bytes, hash)..<HashTreeBlock.entryCount {
            let child = HashTreeBlock.pointer(buffer.bytes, index)
            if child.isNull { break }
            let childBound = HashTreeBlock.hash(buffer.bytes, index)
            guard try gather(child, level &- 1, owner, position, wanted, childBound, &batch) else { return false }
        }
        return true
    }
}
