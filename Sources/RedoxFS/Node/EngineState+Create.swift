import DiskFormat
import Platform

/// What a new node is like.
struct NodeTemplate: Sendable {
    var kind: NodeKind
    var mode: UInt16
    var device: UInt32 = 0
    /// Content of a symbolic link.
    var target: [UInt8] = []
}

extension EngineState {
    /// The set-group-id bit: on a directory, its group is passed on.
    private static let setGroupID: UInt16 = 0o2000

    /// Makes sure that a name can be given to something.
    func checkName(_ name: RawSpan) throws(Fault) {
        guard let fault = FileName.fault(name) else { return }
        throw .failed(fault == .tooLong ? .nameTooLong : fault == .dots ? .exists : .invalidName)
    }

    /// Makes sure that a directory has a name itself: in a removed one nothing can be created.
    private func checkLinked(_ directory: Slot) throws(Fault) {
        guard NodeBlock.links(blocks.buffer(directory).bytes) > 0 else { throw .failed(.notFound) }
    }

    /// Creates a node and gives it a name.
    mutating func create(
        _ parent: NodeID, _ name: RawSpan, _ template: NodeTemplate, _ context: inout RequestContext
    ) throws(Fault) -> Attributes {
        let existing = try directory(parent)
        try checkName(name)
        try checkLinked(existing)
        if try lookup(existing, name) != nil { throw .failed(.exists) }
        let inherited = try inheritedAttributes(parent)
        let directory = try touchNode(parent)
        let place = try planNode()
        let insertion = try planInsertion(directory, name)
        plan.addBlocks(1)
        try planContent(template)
        if inherited != nil, template.kind == .directory { plan.addBlocks(1) }
        try secure()
        applyPlan()

        let slot = createNode(place)
        fill(slot, template, directory, inherited, &context, links: 1)
        insertEntry(directory, insertion, name, place.node)
        setTimes(directory, modification: context.time, change: context.time)
        if template.kind == .directory {
            rememberSubdirectories(place.node, 0)
            rememberParent(of: place.node, parent)
            adjustSubdirectories(parent, by: 1)
            if let inherited { inherit(place.node, inherited) }
        }
        noteChange(&context)
        return describe(place.node, slot, template.kind, template.kind == .directory ? 2 : nil)
    }

    /// Creates a file without a name, which is deleted when it is closed unless it got a name before.
    mutating func createUnnamed(
        _ parent: NodeID, mode: UInt16, _ context: inout RequestContext
    ) throws(Fault) -> Attributes {
        let directory = try directory(parent)
        try checkLinked(directory)
        let inherited = try inheritedAttributes(parent)
        let place = try planNode()
        plan.addBlocks(2)
        try secure()
        applyPlan()
        let slot = createNode(place)
        fill(slot, NodeTemplate(kind: .file, mode: mode), directory, inherited, &context, links: 0)
        addOrphan(place.node)
        inodes.update(UInt64(place.node.rawValue), initial: InodeState()) { $0.opens = 1 }
        noteChange(&context)
        return describe(place.node, slot, .file, nil)
    }

    /// Plans what a symbolic link's target needs beyond the node.
    private mutating func planContent(_ template: NodeTemplate) throws(Fault) {
        guard template.target.count >= Limits.inlineCapacity else { return }
        for _ in 0..<(template.target.count &+ Limits.blockSize &- 1) / Limits.blockSize { plan.addRecord(level: 0) }
    }

    /// Fills a new node.
    private mutating func fill(
        _ slot: Slot, _ template: NodeTemplate, _ directory: Slot, _ inherited: InheritedAttributes?,
        _ context: inout RequestContext, links: UInt32
    ) {
        let parent = blocks.buffer(directory)
        let passesGroup = NodeBlock.permissions(parent.bytes) & Self.setGroupID != 0
        let gid = passesGroup ? NodeBlock.gid(parent.bytes) : context.gid
        var mode = template.mode & 0o7777
        if passesGroup, template.kind == .directory { mode |= Self.setGroupID }
        var header = NodeHeader(
            kind: template.kind, permissions: mode, uid: context.uid, gid: gid, time: context.time)
        header.creationTime = birth(context.time)
        header.links = links
        if template.kind == .file, let level = inherited?.recordLevel { header.recordLevel = level }
        header.size = UInt64(template.target.count)
        let isLong = template.target.count >= Limits.inlineCapacity
        if isLong { header.flags = header.flags.subtracting(.inlineData) }
        blocks.change(slot) { bytes in
            header.encode(into: &bytes)
            var fields = NodeExtension(bytes.bytes)
            fields.device = template.kind.isDevice ? template.device : 0
            fields.times = NodeTimes(access: context.time, modification: context.time, change: context.time)
            fields.encode(into: &bytes)
            if !isLong { bytes.copy(template.target.rawBytes, at: NodeBlock.Offset.content) }
        }
        guard isLong else { return }
        for record in 0..<(template.target.count &+ Limits.blockSize &- 1) / Limits.blockSize {
            let part = template.target[(record &* Limits.blockSize)...].prefix(Limits.blockSize)
            let buffer = AlignedBuffer(byteCount: Limits.blockSize)
            buffer.copyBytes(from: Array(part).rawBytes, at: 0)
            let key = RecordKey(index: UInt64(record), node: blocks.slots[slot].owner)
            makeRecordDirty(slot, records.create(key, pointer: .null, buffer: buffer), level: 0)
        }
    }

    /// A time of creation that no earlier node of the number has: clients tell the two apart by it (`Attributes.inodeGeneration`),
    /// and their clock may stand still for milliseconds. So the last digits count the changes; a repetition gives the same ones.
    private func birth(_ time: Timespec) -> Timespec {
        guard tellsBirthsApart else { return time }
        let millisecond: UInt32 = 1_000_000
        // The one before, as nothing is born in the future.
        let start = time.nanoseconds / millisecond * millisecond
        return Timespec(
            seconds: time.seconds,
            nanoseconds: (start >= millisecond ? start &- millisecond : start)
                &+ UInt32(truncatingIfNeeded: sequence % UInt64(millisecond)))
    }

    /// Gives a node that exists another name.
    mutating func link(
        _ id: NodeID, _ parent: NodeID, _ name: RawSpan, _ context: inout RequestContext
    ) throws(Fault) -> Attributes {
        let existing = try directory(parent)
        try checkName(name)
        try checkLinked(existing)
        if try lookup(existing, name) != nil { throw .failed(.exists) }
        let slot = try touchNode(id)
        guard let kind = NodeBlock.kind(blocks.buffer(slot).bytes), kind != .directory else {
            throw .failed(.notPermitted)
        }
        let links = NodeBlock.links(blocks.buffer(slot).bytes)
        guard links < .max else { throw .failed(.tooManyLinks) }
        if links == 0, inodes[UInt64(id.rawValue)]?.isOrphan != true { throw .failed(.notFound) }
        let directory = try touchNode(parent)
        let insertion = try planInsertion(directory, name)
        if links == 0 { plan.addBlocks(1) }
        try secure()
        applyPlan()
        insertEntry(directory, insertion, name, id)
        blocks.change(slot) { NodeBlock.setLinks(&$0, links &+ 1) }
        if links == 0 { removeOrphan(id) }
        setTimes(slot, change: context.time)
        setTimes(directory, modification: context.time, change: context.time)
        noteChange(&context)
        return describe(id, slot, kind, nil)
    }

    // MARK: Nodes without a name

    /// Notes that a node lost its last name and is still open.
    mutating func addOrphan(_ id: NodeID) {
        release.nodes.append(id.rawValue)
        release.isChanged = true
        space.listBlocks = release.newBlockCount
        inodes.update(UInt64(id.rawValue), initial: InodeState()) { $0.isOrphan = true }
    }

    /// Notes that a node has a name again, or is gone.
    mutating func removeOrphan(_ id: NodeID) {
        if let index = release.nodes.firstIndex(of: id.rawValue) {
            release.nodes.remove(at: index)
            release.isChanged = true
            space.listBlocks = release.newBlockCount
        }
        inodes.update(UInt64(id.rawValue), initial: InodeState()) { $0.isOrphan = false }
    }
}
