// The tree from node numbers to nodes. Its four levels are found by position; a node's own slot is remembered, so that
// reading a node that is in memory needs no walk.

import DiskFormat
import Platform

extension EngineState {
    /// The slot of a node's block.
    mutating func node(_ id: NodeID) throws(Fault) -> Slot {
        if let slot = blocks.findNode(id.rawValue) { return slot }
        guard id.isValid else { throw .failed(.notFound) }
        var pointer = root
        for level in (0..<TreeBlock.levelCount).reversed() {
            let slot = try block(pointer, .tree(level: level), owner: 0)
            pointer = TreeBlock.pointer(blocks.buffer(slot).bytes, id.treeIndex(level: level))
            if pointer.isNull { throw .failed(.notFound) }
        }
        let slot = try block(pointer, .node, owner: id.rawValue)
        guard blocks.slots[slot].owner == id.rawValue else {
            throw .corrupt(.tree, .value, block: pointer.address.number, value: UInt64(id.rawValue))
        }
        return slot
    }

    /// The bytes of a node's block. (Not `blocks.buffer(try node(id))`: that would copy the arena, since the receiver is
    /// read before the argument changes it.)
    mutating func nodeBuffer(_ id: NodeID) throws(Fault) -> AlignedBuffer {
        let slot = try node(id)
        return blocks.buffer(slot)
    }

    /// The slot of a node's block, which is planned to become dirty with the tree above it.
    mutating func touchNode(_ id: NodeID) throws(Fault) -> Slot {
        let slot = try node(id)
        if blocks.slots[slot].isDirty || blocks.slots[slot].planStamp == plan.stamp { return slot }
        let (parent, index) = try touchTree(id)
        touch(slot, parent: parent, parentIndex: index)
        return slot
    }

    /// Plans the tree blocks above a node that exists to become dirty. The last one and the index there.
    mutating func touchTree(_ id: NodeID) throws(Fault) -> (slot: Slot, index: Int) {
        var pointer = root
        var parent = noSlot
        var parentIndex = 0
        for level in (0..<TreeBlock.levelCount).reversed() {
            let slot = try block(pointer, .tree(level: level), owner: 0)
            touch(slot, parent: parent, parentIndex: parentIndex)
            parent = slot
            parentIndex = id.treeIndex(level: level)
            pointer = TreeBlock.pointer(blocks.buffer(slot).bytes, parentIndex)
            if pointer.isNull { throw .failed(.notFound) }
        }
        return (parent, parentIndex)
    }

    /// A free node number and the way there, planned; new tree blocks are counted in the plan.
    mutating func planNode() throws(Fault) -> TreePlace {
        var place = TreePlace()
        place.node = try freeNode()
        deleteDeparted(with: place.node)
        var pointer = root
        for level in (0..<TreeBlock.levelCount).reversed() {
            if pointer.isNull {
                // Everything from here on is new.
                plan.addBlocks(1)
                place.newLevels &+= 1
                continue
            }
            let slot = try block(pointer, .tree(level: level), owner: 0)
            touch(slot, parent: place.parent, parentIndex: place.parentIndex)
            place.parent = slot
            place.parentIndex = place.node.treeIndex(level: level)
            pointer = TreeBlock.pointer(blocks.buffer(slot).bytes, place.parentIndex)
            if level == 0, !pointer.isNull {
                throw .corrupt(.tree, .value, block: blocks.slots[slot].number, at: place.parentIndex &* 16)
            }
        }
        return place
    }

    /// Puts a new node in its planned place. Its slot.
    mutating func createNode(_ place: TreePlace) -> Slot {
        var parent = place.parent
        var index = place.parentIndex
        for level in (0..<place.newLevels).reversed() {
            let slot = createBlock(.tree(level: level), owner: 0, parent: parent, parentIndex: index)
            setTreePointer(parent, index, blocks.pointer(slot))
            parent = slot
            index = place.node.treeIndex(level: level)
        }
        nextNode = place.node.rawValue &+ 1
        let slot = createBlock(.node, owner: place.node.rawValue, parent: parent, parentIndex: index)
        setTreePointer(parent, index, blocks.pointer(slot))
        setTaken(parent, index)
        return slot
    }

    private mutating func setTreePointer(_ slot: Slot, _ index: Int, _ pointer: BlockPointer) {
        blocks.change(slot) { TreeBlock.setPointer(&$0, index, pointer) }
    }

    /// Marks a slot of a lowest tree block as taken, and what is full because of it above.
    mutating func setTaken(_ lowest: Slot, _ lowestIndex: Int) {
        var slot = lowest
        var index = lowestIndex
        while slot != noSlot {
            let isFull = blocks.change(slot) { bytes in
                TreeBlock.setFull(&bytes, index, true)
                return TreeBlock.isFull(bytes.bytes)
            }
            guard isFull else { return }
            index = Int(blocks.slots[slot].parentIndex)
            slot = blocks.slots[slot].parent
        }
    }

    /// Marks a slot of a lowest tree block as free, with all above it.
    mutating func setFree(_ lowest: Slot, _ lowestIndex: Int) {
        var slot = lowest
        var index = lowestIndex
        while slot != noSlot {
            blocks.change(slot) { TreeBlock.setFull(&$0, index, false) }
            index = Int(blocks.slots[slot].parentIndex)
            slot = blocks.slots[slot].parent
        }
    }

    /// Takes a node, whose tree was planned and made dirty, out of it. Blocks without pointers go, all the way up.
    mutating func removeNode(_ id: NodeID, from lowest: Slot) {
        if let slot = blocks.findNode(id.rawValue) { dropBlock(slot) }
        inodes.remove(UInt64(id.rawValue))
        attributeSets.remove(id.rawValue)
        var slot = lowest
        var index = id.treeIndex(level: 0)
        var mayVanish = true
        while slot != noSlot {
            let child = slot
            let isEmpty = blocks.change(slot) { bytes in
                if mayVanish { TreeBlock.setPointer(&bytes, index, .null) }
                TreeBlock.setFull(&bytes, index, false)
                return TreeBlock.isEmpty(bytes.bytes)
            }
            index = Int(blocks.slots[slot].parentIndex)
            slot = blocks.slots[slot].parent
            // The top block and the first of the lowest stay: the root directory is there.
            mayVanish = mayVanish && isEmpty && slot != noSlot
            if mayVanish { dropBlock(child) }
        }
    }
}

/// Where a new node goes.
struct TreePlace: Sendable {
    /// The number.
    var node = NodeID(0)
    /// The last tree block that exists.
    var parent: Slot = noSlot
    /// The index there.
    var parentIndex = 0
    /// How many tree blocks are created below it.
    var newLevels = 0
}
