// Nodes that lost their last name a moment ago.
//
// Whoever opens a file finds its name first and asks for the node then. If another client replaces the file in between, the node would be
// gone; looking again helps, but not where the name is replaced all the time. So a small file that nobody has open stays for
// some changes more, or until the next commit: it can still be looked at and opened, after which it is an orphan like any other file
// that lost its name while it was open. All that its deletion needs is planned with the loss of its name, so it can't fail.
//
// When it is deleted depends on commits and on how full the disk is, and a repetition after a death has those at other places. So its
// number is free from the moment when its name went, as if it had been deleted then: whoever gets the number deletes it first. For the
// same reason it doesn't stay if it is the last one of a tree block, which goes with it: that shows when numbers are looked for.
//
// Invariants: a departed node has no links, isn't open, is no orphan, and has no lists; it and the tree above it are dirty, and there its
// number is free. A commit begins with the deletion of all of them.

import DiskFormat

/// A node that is going to be deleted.
struct DepartedNode: Sendable {
    let id: NodeID
    /// The number of the last change before it lost its name.
    let sequence: UInt64
    /// The lowest tree block on the way to it.
    let lowestTree: Slot
    /// How many blocks on disk it gives back.
    let blockCount: UInt64
}

/// Nodes that lost their last name a moment ago, oldest first.
struct DepartedNodes: Sendable {
    /// How many changes such a node stays for; 0: none stays.
    var stay: UInt64 = 0
    private(set) var nodes: [DepartedNode] = []

    /// How many blocks their deletion gives back.
    var blockCount: UInt64 { nodes.reduce(0) { $0 &+ $1.blockCount } }

    /// Where a node is among them.
    func index(of id: NodeID) -> Int? { nodes.firstIndex { $0.id == id } }

    /// Adds a node.
    mutating func append(_ node: DepartedNode) { nodes.append(node) }

    /// Takes a node out.
    @discardableResult
    mutating func remove(at index: Int) -> DepartedNode { nodes.remove(at: index) }

    /// Takes those out whose time is over.
    mutating func takeDue(at sequence: UInt64) -> [DepartedNode] {
        guard let first = nodes.first, first.sequence &+ stay <= sequence else { return [] }
        let due = nodes.prefix { $0.sequence &+ stay <= sequence }
        nodes.removeFirst(due.count)
        return Array(due)
    }

    /// Takes all out.
    mutating func takeAll() -> [DepartedNode] {
        defer { nodes.removeAll(keepingCapacity: true) }
        return nodes
    }
}

extension NodeID {
    /// The last number of the first of the lowest tree blocks.
    fileprivate static let lastOfFirstBlock = UInt32(TreeBlock.pointerCount - 1)
}

extension EngineState {
    /// A file of more blocks is deleted at once: its space is wanted.
    private static let largestDeparted: UInt64 = 64

    /// Whether a node that is about to lose its last name, and that nobody has open, may stay for a while.
    func mayStay(_ id: NodeID, _ slot: Slot) -> Bool {
        guard departed.stay > 0, attributeSets[id.rawValue] == nil else { return false }
        let buffer = blocks.buffer(slot)
        guard NodeExtension.attributes(buffer.bytes).isNull else { return false }
        return blockCount(slot) <= Self.largestDeparted
    }

    /// How many blocks on disk a node without lists occupies.
    private func blockCount(_ slot: Slot) -> UInt64 {
        let buffer = blocks.buffer(slot)
        var count: UInt64 = BlockAddress(number: blocks.slots[slot].number, level: 0).isVirtual ? 0 : 1
        guard !NodeBlock.isInline(buffer.bytes) else { return count }
        for index in 0..<128 {
            let address = NodeBlock.pointer(buffer.bytes, index).address
            if !address.isNull, !address.isVirtual { count &+= address.blockCount }
        }
        return count
    }

    /// A node has just lost its last name and stays for a while.
    mutating func depart(_ id: NodeID, _ slot: Slot, _ lowestTree: Slot) {
        departed.append(
            DepartedNode(id: id, sequence: sequence, lowestTree: lowestTree, blockCount: blockCount(slot)))
        setFree(lowestTree, id.treeIndex(level: 0))
    }

    /// Whether a lowest tree block goes with a node, since nobody else has a number there but those who departed. Those are deleted.
    mutating func isLast(_ id: NodeID, in lowestTree: Slot) -> Bool {
        // The first block stays: the root directory is there.
        guard id.rawValue > NodeID.lastOfFirstBlock else { return false }
        let bytes = blocks.buffer(lowestTree).bytes
        var others = -1
        for index in 0..<TreeBlock.pointerCount where !TreeBlock.pointer(bytes, index).isNull { others &+= 1 }
        others &-= departed.nodes.count { $0.lowestTree == lowestTree }
        guard others == 0 else { return false }
        deleteDeparted()
        return true
    }

    /// A number was chosen for a new node: who departed with it goes now.
    mutating func deleteDeparted(with id: NodeID) {
        if let index = departed.index(of: id) { delete(departed.remove(at: index)) }
    }

    /// Whether a node has lost its last name and is going to be deleted.
    func isDeparted(_ id: NodeID, _ slot: Slot) -> Bool {
        NodeBlock.links(blocks.buffer(slot).bytes) == 0 && departed.index(of: id) != nil
    }

    /// Whether a file has no name and isn't among the orphans: it departed, or it was open when the file system was, as one of more than
    /// the release list on disk can hold.
    private func isUnlisted(_ id: NodeID, _ slot: Slot) -> Bool {
        let bytes = blocks.buffer(slot).bytes
        guard NodeBlock.links(bytes) == 0, NodeBlock.kind(bytes) != .directory else { return false }
        return inodes[UInt64(id.rawValue)]?.isOrphan != true
    }

    /// Notes that a node is open. False, and nothing is noted, if it must become an orphan for that.
    mutating func open(_ id: NodeID) throws(Fault) -> Bool {
        // Before the question, not within it: a change of the state while it is looked at would copy all of it.
        let slot = try node(id)
        if isUnlisted(id, slot) { return false }
        inodes.update(UInt64(id.rawValue), initial: InodeState()) { $0.opens &+= 1 }
        return true
    }

    /// Opens a node that has no name, which makes it an orphan.
    mutating func openUnlisted(_ id: NodeID) throws(Fault) {
        let slot = try node(id)
        if isUnlisted(id, slot) {
            plan.addBlocks(1)
            try secure(isFreeing: true)
            applyPlan()
            if let index = departed.index(of: id) {
                setTaken(departed.remove(at: index).lowestTree, id.treeIndex(level: 0))
            }
            addOrphan(id)
            changes &+= 1
        }
        inodes.update(UInt64(id.rawValue), initial: InodeState()) { $0.opens &+= 1 }
    }

    /// Deletes those whose time is over.
    mutating func deleteDue() {
        for node in departed.takeDue(at: sequence) { delete(node) }
    }

    /// Deletes all. False if there are none.
    @discardableResult
    mutating func deleteDeparted() -> Bool {
        let nodes = departed.takeAll()
        for node in nodes { delete(node) }
        return !nodes.isEmpty
    }

    private mutating func delete(_ node: DepartedNode) {
        guard let slot = blocks.findNode(node.id.rawValue) else { return }
        deleteNode(node.id, slot, node.lowestTree)
        changes &+= 1
    }
}
