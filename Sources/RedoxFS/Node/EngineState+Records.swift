// Where the pointers of a node's records are: in the node, or behind up to four levels of lists. A pointer that is null
// anywhere on the way is a hole. A record that waits for its place has a virtual pointer.

import DiskFormat
import Platform

extension EngineState {
    /// A record's pointer; null for a hole.
    mutating func recordPointer(_ nodeSlot: Slot, _ record: UInt64) throws(Fault) -> BlockPointer {
        guard let path = RecordLayout.path(to: record) else { throw .failed(.fileTooLarge) }
        let owner = blocks.slots[nodeSlot].owner
        var pointer = NodeBlock.pointer(blocks.buffer(nodeSlot).bytes, path.slot)
        for list in 0..<path.depth {
            if pointer.isNull { return .null }
            let slot = try block(pointer, .list(levels: path.depth &- list), owner: owner)
            pointer = ListBlock.pointer(blocks.buffer(slot).bytes, path.index(inList: list))
        }
        return pointer.isNull ? .null : pointer
    }

    /// Plans the lists above a record to become dirty, and the ones that are missing to be created. The pointer.
    ///
    /// - Parameter isFirst: the record is the first of a row; for the others, missing lists that they share with the one
    ///   before aren't counted again.
    mutating func touchRecord(
        _ nodeSlot: Slot, _ record: UInt64, isFirst: Bool
    ) throws(Fault) -> BlockPointer {
        guard let path = RecordLayout.path(to: record) else { throw .failed(.fileTooLarge) }
        let owner = blocks.slots[nodeSlot].owner
        var pointer = NodeBlock.pointer(blocks.buffer(nodeSlot).bytes, path.slot)
        var parent = nodeSlot
        var parentIndex = path.slot
        for list in 0..<path.depth {
            if pointer.isNull {
                if isFirst || path.index(inList: path.depth &- 1) == 0 { plan.addBlocks(path.depth &- list) }
                return .null
            }
            let slot = try block(pointer, .list(levels: path.depth &- list), owner: owner)
            touch(slot, parent: parent, parentIndex: parentIndex)
            parent = slot
            parentIndex = path.index(inList: list)
            pointer = ListBlock.pointer(blocks.buffer(slot).bytes, parentIndex)
        }
        return pointer.isNull ? .null : pointer
    }

    /// The block with a record's pointer and the index there; missing lists are created. After the plan was applied.
    mutating func recordPlace(_ nodeSlot: Slot, _ record: UInt64) -> (slot: Slot, index: Int) {
        guard let path = RecordLayout.path(to: record) else { return (nodeSlot, 0) }
        let owner = blocks.slots[nodeSlot].owner
        var parent = nodeSlot
        var parentIndex = path.slot
        for list in 0..<path.depth {
            let pointer = childPointer(parent, parentIndex)
            if let slot = pointer.isNull ? nil : blocks.find(pointer) {
                parent = slot
            } else {
                let kind = BlockKind.list(levels: path.depth &- list)
                let slot = createBlock(kind, owner: owner, parent: parent, parentIndex: parentIndex)
                setChildPointer(parent, parentIndex, blocks.pointer(slot))
                addBlocks(nodeSlot, 1)
                parent = slot
            }
            parentIndex = path.index(inList: list)
        }
        return (parent, parentIndex)
    }

    /// The pointer at an index of a node or a list.
    @inline(__always)
    func childPointer(_ slot: Slot, _ index: Int) -> BlockPointer {
        blocks.slots[slot].kind == .node
            ? NodeBlock.pointer(blocks.buffer(slot).bytes, index) : ListBlock.pointer(blocks.buffer(slot).bytes, index)
    }

    /// Stores a pointer at an index of a node or a list.
    @inline(__always)
    mutating func setChildPointer(_ slot: Slot, _ index: Int, _ pointer: BlockPointer) {
        if blocks.slots[slot].kind == .node {
            blocks.change(slot) { NodeBlock.setPointer(&$0, index, pointer) }
        } else {
            blocks.change(slot) { ListBlock.setPointer(&$0, index, pointer) }
        }
    }

    /// Adds to the number of blocks that a node says it uses; stays in bounds whatever an old image says.
    mutating func addBlocks(_ nodeSlot: Slot, _ difference: Int) {
        blocks.change(nodeSlot) { bytes in
            let old = NodeBlock.blocks(bytes.bytes)
            let (sum, overflow) = old.addingReportingOverflow(UInt64(difference.magnitude))
            let new = difference < 0 ? (old > difference.magnitude ? old &- UInt64(difference.magnitude) : 1) : sum
            NodeBlock.setBlocks(&bytes, overflow && difference > 0 ? .max : new)
        }
    }

    /// The layout of a node's content.
    func layout(_ nodeSlot: Slot) throws(Fault) -> RecordLayout {
        do {
            return try RecordLayout(recordLevel: NodeBlock.recordLevel(blocks.buffer(nodeSlot).bytes))
        } catch {
            throw .failed(.corrupt(error, block: blocks.slots[nodeSlot].number))
        }
    }

    /// Makes a record dirty that is in memory, with the block that its content needs.
    mutating func makeRecordDirty(_ nodeSlot: Slot, _ slot: Slot, level: Int) {
        // A record that was a tail may have to hold more zeros than it did.
        records.grow(slot, level: level)
        let record = records.slots[slot]
        if record.isDirty {
            let old = Int(record.reservedLevel)
            if old != level {
                space.release(level: old)
                space.reserve(level: level)
                addBlocks(nodeSlot, 1 &<< level &- 1 &<< old)
                records.markDirty(
                    slot, parent: record.parent, parentIndex: Int(record.parentIndex), reservedLevel: level)
            }
            return
        }
        let (parent, index) = recordPlace(nodeSlot, record.key.index)
        let stored = record.pointer.isNull ? 0 : 1 &<< record.pointer.address.level
        records.markDirty(slot, parent: parent, parentIndex: index, reservedLevel: level)
        if record.pointer.isNull {
            let pointer = BlockPointer(address: blocks.nextVirtualAddress(level: level), hash: 0)
            records.setPointer(slot, pointer)
            setChildPointer(parent, index, pointer)
        }
        space.reserve(level: level)
        addBlocks(nodeSlot, 1 &<< level &- stored)
    }

    /// Forgets a record and frees what it occupies. The pointer itself is the caller's.
    mutating func dropRecord(_ nodeSlot: Slot, _ record: UInt64, _ pointer: BlockPointer) {
        let key = RecordKey(index: record, node: blocks.slots[nodeSlot].owner)
        var used = pointer.address.isVirtual ? 0 : 1 &<< pointer.address.level
        if let slot = records.find(key) {
            if records.slots[slot].isDirty {
                used = 1 &<< Int(records.slots[slot].reservedLevel)
                space.release(level: Int(records.slots[slot].reservedLevel))
            }
            records.remove(slot)
        }
        space.free(pointer.address)
        addBlocks(nodeSlot, -used)
    }
}
