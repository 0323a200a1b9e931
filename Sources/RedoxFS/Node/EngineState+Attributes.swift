import DiskFormat

extension EngineState {
    /// A directory of so many blocks is read to count its subdirectories; a larger one shows 1 link unless it is known.
    private static let countedDirectoryBytes: UInt64 = 16 << 12

    /// What stat(2) shows of a node.
    ///
    /// - Parameter countingLinks: without, a directory shows 1 link, and what is in it need not be read.
    mutating func attributes(_ id: NodeID, countingLinks: Bool = true) throws(Fault) -> Attributes {
        let slot = try node(id)
        guard let kind = NodeBlock.kind(blocks.buffer(slot).bytes) else { throw .corrupt(.node, .value, block: 0) }
        let posixLinks = kind == .directory && countingLinks ? try directoryLinks(id, slot) : nil
        return describe(id, slot, kind, posixLinks)
    }

    /// The attributes of a node whose directory links need no counting or are left open.
    func describe(_ id: NodeID, _ slot: Slot, _ kind: NodeKind, _ posixLinks: UInt32?) -> Attributes {
        let buffer = blocks.buffer(slot)
        let bytes = buffer.bytes
        let times = NodeExtension.times(bytes)
        let stored = NodeBlock.links(bytes)
        return Attributes(
            node: id, inodeGeneration: NodeExtension.stamp(bytes, at: NodeBlock.Offset.creationTime), kind: kind,
            mode: NodeBlock.permissions(bytes), uid: NodeBlock.uid(bytes), gid: NodeBlock.gid(bytes),
            links: posixLinks ?? stored, storedLinks: stored, size: NodeBlock.size(bytes),
            blocks: NodeBlock.blocks(bytes), atime: times.access, mtime: times.modification, ctime: times.change,
            btime: NodeBlock.creationTime(bytes), device: NodeExtension.device(bytes),
            recordLevel: NodeBlock.recordLevel(bytes))
    }

    /// The number of links of a directory as POSIX counts them.
    mutating func directoryLinks(_ id: NodeID, _ slot: Slot) throws(Fault) -> UInt32 {
        if NodeBlock.links(blocks.buffer(slot).bytes) == 0 { return 0 }
        if let known = inodes[UInt64(id.rawValue)]?.subdirectories, known >= 0 { return 2 &+ UInt32(known) }
        if NodeBlock.pointer(blocks.buffer(slot).bytes, 0).isNull {
            rememberSubdirectories(id, 0)
            return 2
        }
        guard NodeBlock.size(blocks.buffer(slot).bytes) <= Self.countedDirectoryBytes else { return 1 }
        var count: Int32 = 0
        var loads: [Load] = []
        let children = try directoryNodes(slot)
        guard children.count <= blocks.workingSet else { return 1 }
        for child in children {
            if let childSlot = blocks.findNode(child.rawValue) {
                if NodeBlock.kind(blocks.buffer(childSlot).bytes) == .directory { count &+= 1 }
            } else {
                do throws(Fault) {
                    _ = try node(child)
                } catch {
                    guard case .load(let more) = error else { continue }
                    if let first = more.first, first.kind != .node { throw error }
                    loads += more
                }
            }
        }
        guard loads.isEmpty else { throw .load(loads) }
        rememberSubdirectories(id, count)
        return 2 &+ UInt32(count)
    }

    /// Notes how many subdirectories a directory has.
    mutating func rememberSubdirectories(_ id: NodeID, _ count: Int32) {
        inodes.update(UInt64(id.rawValue), initial: InodeState()) { $0.subdirectories = count }
    }

    /// A directory got or lost a subdirectory.
    mutating func adjustSubdirectories(_ id: NodeID, by difference: Int32) {
        guard let known = inodes[UInt64(id.rawValue)]?.subdirectories, known >= 0 else { return }
        rememberSubdirectories(id, max(0, known &+ difference))
    }

    /// Sets times of a node that is dirty; nil leaves one as it is.
    mutating func setTimes(
        _ slot: Slot, access: Timespec? = nil, modification: Timespec? = nil, change: Timespec? = nil
    ) {
        blocks.change(slot) { bytes in
            var times = NodeExtension.times(bytes.bytes)
            if let access { times.access = access }
            if let modification { times.modification = modification }
            if let change { times.change = change }
            NodeExtension.setTimes(&bytes, times)
        }
    }
}
