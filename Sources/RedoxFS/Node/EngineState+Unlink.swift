import DiskFormat
import Platform

/// What becomes of a node that loses a name.
enum Farewell: Sendable {
    /// It has other names.
    case keepsNames
    /// It is open, or too large to be deleted in one step: it goes on the release list.
    case waits
    /// It is deleted at once.
    case ends(lowestTree: Slot)
    /// It is deleted soon: see `DepartedNodes`.
    case departs(lowestTree: Slot)
}

extension EngineState {
    /// Plans what becomes of a node, not a directory, that loses a name.
    mutating func planFarewell(_ id: NodeID) throws(Fault) -> Farewell {
        let slot = try node(id)
        let buffer = blocks.buffer(slot)
        if NodeBlock.links(buffer.bytes) > 1 {
            _ = try touchNode(id)
            return .keepsNames
        }
        let isOpen = (inodes[UInt64(id.rawValue)]?.opens ?? 0) > 0
        let hasLists = !NodeBlock.isInline(buffer.bytes) && hasLists(buffer)
        if isOpen || hasLists {
            _ = try touchNode(id)
            plan.addBlocks(1)
            return .waits
        }
        if mayStay(id, slot) {
            _ = try touchNode(id)
            let lowestTree = try touchTree(id).slot
            return isLast(id, in: lowestTree) ? .ends(lowestTree: lowestTree) : .departs(lowestTree: lowestTree)
        }
        try requireAttributes(id, slot)
        return .ends(lowestTree: try touchTree(id).slot)
    }

    private func hasLists(_ buffer: AlignedBuffer) -> Bool {
        for slot in 128..<RecordLayout.nodePointerCount where !NodeBlock.pointer(buffer.bytes, slot).isNull {
            return true
        }
        return false
    }

    /// Takes a name from a node as planned.
    mutating func bidFarewell(_ id: NodeID, _ farewell: Farewell, _ time: Timespec) {
        guard let slot = blocks.findNode(id.rawValue) else { return }
        switch farewell {
        case .keepsNames:
            blocks.change(slot) { NodeBlock.setLinks(&$0, NodeBlock.links($0.bytes) &- 1) }
            setTimes(slot, change: time)
        case .waits:
            blocks.change(slot) { NodeBlock.setLinks(&$0, 0) }
            setTimes(slot, change: time)
            addOrphan(id)
        case .ends(let lowestTree):
            deleteNode(id, slot, lowestTree)
        case .departs(let lowestTree):
            blocks.change(slot) { NodeBlock.setLinks(&$0, 0) }
            setTimes(slot, change: time)
            depart(id, slot, lowestTree)
        }
    }

    /// Deletes a node without lists, with everything that belongs to it. The tree above is dirty, attributes are in memory.
    mutating func deleteNode(_ id: NodeID, _ slot: Slot, _ lowestTree: Slot) {
        let buffer = blocks.buffer(slot)
        if NodeBlock.kind(buffer.bytes) == .directory {
            dropDirectoryBlocks(slot)
        } else if !NodeBlock.isInline(buffer.bytes) {
            for index in 0..<128 {
                let pointer = NodeBlock.pointer(buffer.bytes, index)
                if !pointer.isNull { forgetRecord(id, UInt64(index), pointer) }
            }
        }
        dropAttributes(id)
        removeNode(id, from: lowestTree)
    }

    /// Frees a record of a node that goes with it.
    private mutating func forgetRecord(_ id: NodeID, _ record: UInt64, _ pointer: BlockPointer) {
        if let slot = records.find(RecordKey(index: record, node: id.rawValue)) {
            if records.slots[slot].isDirty { space.release(level: Int(records.slots[slot].reservedLevel)) }
            records.remove(slot)
        }
        space.free(pointer.address)
    }

    /// Removes a name of anything but a directory. The node, and what becomes of it.
    mutating func unlink(
        _ parent: NodeID, _ name: RawSpan, _ context: inout RequestContext
    ) throws(Fault) -> (node: NodeID, farewell: Farewell) {
        let existing = try directory(parent)
        guard name.byteCount <= Limits.maximumNameLength else { throw .failed(.nameTooLong) }
        guard let place = try find(existing, name) else { throw .failed(.notFound) }
        let buffer = try nodeBuffer(place.node)
        let kind = NodeBlock.kind(buffer.bytes)
        if kind == .directory { throw .failed(.isDirectory) }
        let directory = try touchNode(parent)
        touchPlace(directory, place)
        let farewell = try planFarewell(place.node)
        try secure(isFreeing: true)
        applyPlan()
        removeEntry(directory, place)
        bidFarewell(place.node, farewell, context.time)
        setTimes(directory, modification: context.time, change: context.time)
        noteChange(&context)
        return (place.node, farewell)
    }

    /// The node if nobody has it open but it couldn't be deleted at once.
    func abandoned(_ id: NodeID, _ farewell: Farewell) -> NodeID? {
        guard case .waits = farewell, (inodes[UInt64(id.rawValue)]?.opens ?? 0) == 0 else { return nil }
        return id
    }

    /// Removes an empty directory.
    mutating func removeDirectory(
        _ parent: NodeID, _ name: RawSpan, _ context: inout RequestContext
    ) throws(Fault) {
        let existing = try directory(parent)
        guard name.byteCount <= Limits.maximumNameLength else { throw .failed(.nameTooLong) }
        guard let place = try find(existing, name) else { throw .failed(.notFound) }
        let child = place.node
        let childSlot = try self.directory(child)
        guard try isEmptyDirectory(childSlot) else { throw .failed(.notEmpty) }
        let directory = try touchNode(parent)
        touchPlace(directory, place)
        let farewell = try planDirectoryFarewell(child)
        try secure(isFreeing: true)
        applyPlan()
        removeEntry(directory, place)
        bidFarewell(child, farewell, context.time)
        adjustSubdirectories(parent, by: -1)
        setTimes(directory, modification: context.time, change: context.time)
        noteChange(&context)
    }

    /// Plans what becomes of an empty directory that loses its name.
    mutating func planDirectoryFarewell(_ id: NodeID) throws(Fault) -> Farewell {
        let slot = try node(id)
        if (inodes[UInt64(id.rawValue)]?.opens ?? 0) > 0 {
            _ = try touchNode(id)
            plan.addBlocks(1)
            return .waits
        }
        try requireAttributes(id, slot)
        return .ends(lowestTree: try touchTree(id).slot)
    }

    /// One step of deleting a node without a name: frees content, the node with the last. Returns false if more is left.
    mutating func releaseStep(_ id: NodeID) throws(Fault) -> Bool {
        let slot: Slot
        do throws(Fault) {
            slot = try node(id)
        } catch {
            // A number on the release list that leads nowhere.
            guard case .failed(.notFound) = error else { throw error }
            plan.addBlocks(1)
            try secure(isFreeing: true)
            applyPlan()
            removeOrphan(id)
            inodes.remove(UInt64(id.rawValue))
            changes &+= 1
            return true
        }
        let buffer = blocks.buffer(slot)
        let isDirectory = NodeBlock.kind(buffer.bytes) == .directory
        if isDirectory, !(try isEmptyDirectory(slot)) { throw .failed(.notEmpty) }
        try requireAttributes(id, slot)
        let hasLists = !isDirectory && !NodeBlock.isInline(buffer.bytes) && hasLists(buffer)
        if hasLists {
            let nodeSlot = try touchNode(id)
            let step = try planFreeing(nodeSlot, from: 0, to: RecordLayout.capacity)
            try secure(isFreeing: true)
            applyPlan()
            freeRecords(nodeSlot, from: step.first, to: RecordLayout.capacity)
            changes &+= 1
            return false
        }
        let lowest = try touchTree(id).slot
        plan.addBlocks(1)
        try secure(isFreeing: true)
        applyPlan()
        removeOrphan(id)
        deleteNode(id, slot, lowest)
        changes &+= 1
        return true
    }
}
