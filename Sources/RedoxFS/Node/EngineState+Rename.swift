import DiskFormat
import Platform

extension EngineState {
    /// Renames as renameat2(2) does. The node that must be freed step by step, if one was replaced.
    mutating func rename(
        _ parent: NodeID, _ name: RawSpan, _ newParent: NodeID, _ newName: RawSpan, _ flags: RenameFlags,
        _ context: inout RequestContext
    ) throws(Fault) -> NodeID? {
        let from = try directory(parent)
        let to = try directory(newParent)
        guard name.byteCount <= Limits.maximumNameLength else { throw .failed(.nameTooLong) }
        try checkTarget(newName)
        guard let source = try find(from, name) else { throw .failed(.notFound) }
        guard NodeBlock.links(blocks.buffer(to).bytes) > 0 else { throw .failed(.notFound) }
        let moved = source.node
        let buffer = try nodeBuffer(moved)
        let isDirectory = NodeBlock.kind(buffer.bytes) == .directory
        if isDirectory, parent != newParent { try checkLoop(moved, newParent) }
        let target = try find(to, newName)
        if flags.contains(.exchange) {
            guard let target else { throw .failed(.notFound) }
            try exchange(parent, source, newParent, target, isDirectory, &context)
            return nil
        }
        if let target {
            if flags.contains(.noReplace) { throw .failed(.exists) }
            if target.node == moved { return nil }
            return try replace(parent, source, newParent, target, isDirectory, &context)
        }
        try checkName(newName)
        let fromSlot = try touchNode(parent)
        let toSlot = try touchNode(newParent)
        let nodeSlot = try touchNode(moved)
        touchPlace(fromSlot, source)
        let insertion = try planInsertion(toSlot, newName)
        try secure()
        applyPlan()
        insertEntry(toSlot, insertion, newName, moved)
        // The new name may have moved the old one; its way is in memory and dirty either way.
        if let place = try? find(fromSlot, name) { removeEntry(fromSlot, place) }
        finish(moved, nodeSlot, isDirectory, parent, fromSlot, newParent, toSlot, &context)
        return nil
    }

    private func checkTarget(_ name: RawSpan) throws(Fault) {
        if let fault = FileName.fault(name), fault != .notUnicode {
            throw .failed(fault == .tooLong ? .nameTooLong : fault == .dots ? .notEmpty : .invalidName)
        }
    }

    /// Makes sure that a directory isn't moved below itself.
    private mutating func checkLoop(_ moved: NodeID, _ newParent: NodeID) throws(Fault) {
        var current = newParent
        while current != .root {
            if current == moved { throw .failed(.invalidArgument("a directory can't be moved below itself")) }
            guard let parent = knownParent(of: current) else { throw .parent(current) }
            current = parent
        }
        if moved == .root { throw .failed(.invalidArgument("the root directory can't be moved")) }
    }

    /// Puts a node in the place of another one.
    private mutating func replace(
        _ parent: NodeID, _ source: DirectoryPlace, _ newParent: NodeID, _ target: DirectoryPlace,
        _ isDirectory: Bool, _ context: inout RequestContext
    ) throws(Fault) -> NodeID? {
        let victim = target.node
        let victimSlot = try node(victim)
        let replacesDirectory = NodeBlock.kind(blocks.buffer(victimSlot).bytes) == .directory
        if isDirectory, !replacesDirectory { throw .failed(.notDirectory) }
        if !isDirectory, replacesDirectory { throw .failed(.isDirectory) }
        if replacesDirectory, !(try isEmptyDirectory(victimSlot)) { throw .failed(.notEmpty) }
        let fromSlot = try touchNode(parent)
        let toSlot = try touchNode(newParent)
        let nodeSlot = try touchNode(source.node)
        touchPlace(fromSlot, source)
        touchPlace(toSlot, target)
        let farewell = replacesDirectory ? try planDirectoryFarewell(victim) : try planFarewell(victim)
        try secure(isFreeing: true)
        applyPlan()
        redirectEntry(target, to: source.node)
        removeEntry(fromSlot, source)
        bidFarewell(victim, farewell, context.time)
        if replacesDirectory { adjustSubdirectories(newParent, by: -1) }
        finish(source.node, nodeSlot, isDirectory, parent, fromSlot, newParent, toSlot, &context)
        return abandoned(victim, farewell)
    }

    /// Swaps two nodes.
    private mutating func exchange(
        _ parent: NodeID, _ source: DirectoryPlace, _ newParent: NodeID, _ target: DirectoryPlace,
        _ isDirectory: Bool, _ context: inout RequestContext
    ) throws(Fault) {
        let other = target.node
        let otherBuffer = try nodeBuffer(other)
        let otherIsDirectory = NodeBlock.kind(otherBuffer.bytes) == .directory
        if otherIsDirectory, parent != newParent { try checkLoop(other, parent) }
        let fromSlot = try touchNode(parent)
        let toSlot = try touchNode(newParent)
        let nodeSlot = try touchNode(source.node)
        let otherSlot = try touchNode(other)
        touchPlace(fromSlot, source)
        touchPlace(toSlot, target)
        try secure(isFreeing: true)
        applyPlan()
        redirectEntry(source, to: other)
        redirectEntry(target, to: source.node)
        setTimes(otherSlot, change: context.time)
        if otherIsDirectory {
            adjustSubdirectories(newParent, by: -1)
            adjustSubdirectories(parent, by: 1)
            rememberParent(of: other, parent)
        }
        finish(source.node, nodeSlot, isDirectory, parent, fromSlot, newParent, toSlot, &context)
    }

    /// What all renames end with.
    private mutating func finish(
        _ moved: NodeID, _ nodeSlot: Slot, _ isDirectory: Bool, _ parent: NodeID, _ fromSlot: Slot,
        _ newParent: NodeID, _ toSlot: Slot, _ context: inout RequestContext
    ) {
        setTimes(nodeSlot, change: context.time)
        setTimes(fromSlot, modification: context.time, change: context.time)
        if toSlot != fromSlot { setTimes(toSlot, modification: context.time, change: context.time) }
        if isDirectory {
            adjustSubdirectories(parent, by: -1)
            adjustSubdirectories(newParent, by: 1)
            rememberParent(of: moved, newParent)
        }
        noteChange(&context)
    }
}
