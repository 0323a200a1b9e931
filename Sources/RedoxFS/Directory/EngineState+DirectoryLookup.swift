// A directory's names, found by hash. The walk follows the format: at each level the first entry whose hash is not below
// the name's, and the following ones as long as the one before had exactly that hash, since names with equal hashes may
// lie on both sides of a border.

import DiskFormat
import Platform

/// A step down through a hash tree: a block and which of its entries was taken.
struct DirectoryStep: Sendable {
    var slot: Slot
    var index: Int
}

/// Where a name is: the way down and the entry in its list.
struct DirectoryPlace: Sendable {
    /// Hash-tree blocks from the root down.
    var steps: [DirectoryStep] = []
    /// The directory list.
    var list: Slot = noSlot
    /// The entry in the list.
    var entry: DirectoryList.Entry?
    /// The node that the name leads to.
    var node: NodeID { entry?.node ?? NodeID(0) }
}

extension EngineState {
    /// The slot of a node that must be a directory.
    mutating func directory(_ id: NodeID) throws(Fault) -> Slot {
        let slot = try node(id)
        guard NodeBlock.kind(blocks.buffer(slot).bytes) == .directory else { throw .failed(.notDirectory) }
        return slot
    }

    /// What a directory's node says about its tree.
    func directoryContent(_ slot: Slot) throws(Fault) -> DirectoryRoot.Content {
        do {
            return try DirectoryRoot.content(blocks.buffer(slot).bytes)
        } catch {
            throw .failed(.corrupt(error, block: blocks.slots[slot].number))
        }
    }

    /// The kind of a directory's block so many levels above the lists.
    static func directoryKind(_ level: Int) -> BlockKind { level == 0 ? .directoryList : .hashTree(level: level) }

    /// Where a name is, or nil.
    mutating func find(_ directory: Slot, _ name: RawSpan) throws(Fault) -> DirectoryPlace? {
        guard case .tree(let depth, let root) = try directoryContent(directory) else { return nil }
        var place = DirectoryPlace()
        let owner = blocks.slots[directory].owner
        return try search(root, depth, owner, name, NameHash.of(name), &place) ? place : nil
    }

    private mutating func search(
        _ pointer: BlockPointer, _ level: Int, _ owner: UInt32, _ name: RawSpan, _ hash: UInt32,
        _ place: inout DirectoryPlace
    ) throws(Fault) -> Bool {
        let slot = try block(pointer, Self.directoryKind(level), owner: owner)
        let buffer = blocks.buffer(slot)
        if level == 0 {
            do {
                guard let entry = try DirectoryList.find(buffer.bytes, name) else { return false }
                place.list = slot
                place.entry = entry
                return true
            } catch {
                throw .failed(.corrupt(error, block: pointer.address.number))
            }
        }
        var index = HashTreeBlock.lowerBound(buffer.bytes, hash)
        while index < HashTreeBlock.entryCount {
            let child = HashTreeBlock.pointer(buffer.bytes, index)
            if child.isNull { return false }
            place.steps.append(DirectoryStep(slot: slot, index: index))
            if try search(child, level &- 1, owner, name, hash, &place) { return true }
            place.steps.removeLast()
            if HashTreeBlock.hash(buffer.bytes, index) != hash { return false }
            index &+= 1
        }
        return false
    }

    /// The node that a name leads to, or nil.
    mutating func lookup(_ directory: Slot, _ name: RawSpan) throws(Fault) -> NodeID? {
        guard name.byteCount <= Limits.maximumNameLength else { throw .failed(.nameTooLong) }
        guard case .tree(let depth, let root) = try directoryContent(directory) else { return nil }
        return try lookup(root, depth, blocks.slots[directory].owner, name, NameHash.of(name))
    }

    /// As `search`, without noting the way.
    private mutating func lookup(
        _ pointer: BlockPointer, _ level: Int, _ owner: UInt32, _ name: RawSpan, _ hash: UInt32
    ) throws(Fault) -> NodeID? {
        let slot = try block(pointer, Self.directoryKind(level), owner: owner)
        let buffer = blocks.buffer(slot)
        if level == 0 {
            do {
                return try DirectoryList.find(buffer.bytes, name)?.node
            } catch {
                throw .failed(.corrupt(error, block: pointer.address.number))
            }
        }
        var index = HashTreeBlock.lowerBound(buffer.bytes, hash)
        while index < HashTreeBlock.entryCount {
            let child = HashTreeBlock.pointer(buffer.bytes, index)
            if child.isNull { return nil }
            if let found = try lookup(child, level &- 1, owner, name, hash) { return found }
            if HashTreeBlock.hash(buffer.bytes, index) != hash { return nil }
            index &+= 1
        }
        return nil
    }

    /// All nodes that a directory's entries lead to.
    mutating func directoryNodes(_ directory: Slot) throws(Fault) -> [NodeID] {
        guard case .tree(let depth, let root) = try directoryContent(directory) else { return [] }
        var result: [NodeID] = []
        try collectNodes(root, depth, blocks.slots[directory].owner, &result)
        return result
    }

    private mutating func collectNodes(
        _ pointer: BlockPointer, _ level: Int, _ owner: UInt32, _ result: inout [NodeID]
    ) throws(Fault) {
        let slot = try block(pointer, Self.directoryKind(level), owner: owner)
        let buffer = blocks.buffer(slot)
        if level == 0 {
            do {
                try DirectoryList.forEach(buffer.bytes) { entry in
                    result.append(entry.node)
                    return true
                }
            } catch {
                throw .failed(.corrupt(error, block: pointer.address.number))
            }
            return
        }
        for index in 0..<HashTreeBlock.usedCount(buffer.bytes) {
            try collectNodes(HashTreeBlock.pointer(buffer.bytes, index), level &- 1, owner, &result)
        }
    }

    /// Whether a directory has no entry. Lists without entries, which the reference can leave, don't count.
    mutating func isEmptyDirectory(_ directory: Slot) throws(Fault) -> Bool {
        guard case .tree(let depth, let root) = try directoryContent(directory) else { return true }
        return try hasNoEntry(root, depth, blocks.slots[directory].owner)
    }

    private mutating func hasNoEntry(_ pointer: BlockPointer, _ level: Int, _ owner: UInt32) throws(Fault) -> Bool {
        let slot = try block(pointer, Self.directoryKind(level), owner: owner)
        let buffer = blocks.buffer(slot)
        if level == 0 { return DirectoryList.used(buffer.bytes) == 0 }
        for index in 0..<HashTreeBlock.usedCount(buffer.bytes) {
            guard try hasNoEntry(HashTreeBlock.pointer(buffer.bytes, index), level &- 1, owner) else { return false }
        }
        return true
    }
}
