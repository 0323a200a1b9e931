import DiskFormat
import Platform
import RedoxFS
import SchemeKit

// Open files. The client chooses handles and knows them when this process is gone; reads and writes go by the node alone. A handle
// keeps a file alive whose last name is removed, nothing else.
//
// When changes are repeated after a death, files are not opened by that: the client offers each handle that is open, or whose closing is
// itself repeated (`adopt`), as soon as its node is there.

/// The open files of a file system.
struct OpenFiles {
    var nodes: [UInt64: NodeID] = [:]
    /// Files without a name that a repetition made: open from the start, and offered later if they are still.
    var unclaimed: Set<UInt64> = []
    /// Handles that came with a file without a name: the number of the change that made it.
    var madeUnnamed: [UInt64: UInt64] = [:]
}

extension FileScheme {
    /// What the kernel may do with any file, and the node's generation in the upper half, by which a handle recognises its node again.
    private func opened(_ attributes: Attributes) -> OpenedFlags {
        let flags: OpenedFlags = [.keepCache, .noFlush, .parallelDirectWrites]
        return OpenedFlags(rawValue: flags.rawValue | UInt64(attributes.inodeGeneration) << 32)
    }

    /// Notes a handle.
    private func note(_ handle: UInt64, _ node: NodeID) throws(FileSystemError) {
        if open.withLock({ $0.nodes[handle] != nil }) { return }
        try fileSystem.open(node)
        open.withLock { $0.nodes[handle] = node }
    }

    /// Opens a file.
    public func open(
        _ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) {
        let id = try id(node)
        let isReplay = context.isReplay
        let attributes: Attributes
        if flags & OpenFlags.truncate != 0 {
            let kill = context.killPrivileges
            attributes = try changeSeveral(&context) { (request) throws(FileSystemError) in
                let result = try fileSystem.setAttributes(
                    id, AttributeChanges(size: 0, killSuidgid: kill), &request)
                if !isReplay { try note(handle, id) }
                return result
            }
        } else {
            if !isReplay {
                context.willChangeHandles()
                context.openedAfter = fileSystem.statistics().sequence
            }
            attributes = try inspect { () throws(FileSystemError) in
                if !isReplay { try note(handle, id) }
                return try fileSystem.attributes(id)
            }
        }
        context.opened = opened(attributes)
    }

    /// Makes a file and opens it, or opens the one that is there.
    public func create(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let mayOpen = flags & OpenFlags.exclusive == 0
        // A repetition that tried to make the file first would have reached its number before it empties the file.
        if context.isReplay, mayOpen, let found = try existing(parent, name) {
            return try openExisting(found, handle: handle, flags: flags, &context)
        }
        let attributes: Attributes
        do throws(Errno) {
            attributes = try make(parent, name, .file, mode, umask, 0, &context)
        } catch .fileExists where mayOpen {
            guard let found = try existing(parent, name) else { throw .noSuchFileOrDirectory }
            return try openExisting(found, handle: handle, flags: flags, &context)
        }
        if !context.isReplay {
            try inspect { () throws(FileSystemError) in try note(handle, attributes.node) }
        }
        context.opened = opened(attributes)
        return NodeAttributes(attributes)
    }

    /// What has a name; nil if there is nothing.
    private func existing(_ parent: UInt64, _ name: RawSpan) throws(Errno) -> Attributes? {
        let parent = try id(parent)
        do throws(FileSystemError) {
            return try fileSystem.lookup(parent, name)
        } catch {
            if error == .notFound { return nil }
            throw error.errno
        }
    }

    private func openExisting(
        _ found: Attributes, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        guard found.kind == .file else { throw found.kind == .directory ? .isDirectory : .fileExists }
        try open(UInt64(found.node.rawValue), handle: handle, flags: flags, &context)
        return try attributes(UInt64(found.node.rawValue), handle: handle, &context)
    }

    /// Makes a file without a name. It is open from the start.
    public func createUnnamed(
        _ parent: UInt64, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let parent = try id(parent)
        let list = try accessList(parent, AccessControlList.defaultName)
        let bits = UInt16(truncatingIfNeeded: mode & 0o7777)
        let inherited = list?.inherited(mode: bits)
        let mode = inherited?.mode ?? bits & ~UInt16(truncatingIfNeeded: umask)
        let isReplay = context.isReplay
        let attributes = try changeSeveral(&context) { (request) throws(FileSystemError) in
            let new = try fileSystem.createUnnamed(parent, mode: mode, &request)
            open.withLock { open in
                open.nodes[handle] = new.node
                if isReplay { open.unclaimed.insert(handle) }
            }
            if let list = inherited?.list, !list.isMinimal {
                unsafe try fileSystem.setExtendedAttribute(
                    new.node, AccessControlList.accessName, list.encoded.span.bytes, &request)
            }
            return new
        }
        let number = max(context.sequence, context.replaySequence)
        open.withLock { $0.madeUnnamed[handle] = number }
        context.opened = opened(attributes)
        return NodeAttributes(attributes)
    }

    /// Closes. The node goes with its last handle if it has no name.
    public func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let (node, madeBy) = open.withLock { open -> (NodeID?, UInt64) in
            open.unclaimed.remove(handle)
            return (open.nodes.removeValue(forKey: handle), open.madeUnnamed.removeValue(forKey: handle) ?? 0)
        }
        var request = engineContext(context)
        defer { ended(request, &context) }
        guard let node else {
            // Closing it was a change, so it was open.
            if context.isReplay { throw .badFileDescriptor }
            return
        }
        try gate.single { () throws(Errno) in
            context.willChangeHandles()
            let mustRelease = fileSystem.noteClosed(node)
            // A repetition opens a file that it makes without a name. It must come past the close, too, whatever became of the file.
            guard mustRelease || (madeBy > fileSystem.statistics().durableSequence && !fileSystem.isReadOnly) else {
                return
            }
            context.handleChangeIsNumbered()
            do throws(FileSystemError) {
                if mustRelease {
                    try fileSystem.releaseClosed(node, &request)
                } else {
                    try fileSystem.mark(&request)
                }
            } catch { throw error.errno }
        }
    }

    /// A handle of the last incarnation.
    public func adopt(
        _ node: UInt64, generation: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) {
        let id = try id(node)
        try inspect { () throws(FileSystemError) in
            let attributes = try fileSystem.attributes(id)
            // Another file had this number when the changes began that are going to be repeated.
            guard generation == 0 || UInt64(attributes.inodeGeneration) == generation else { throw .notFound }
            try note(handle, id)
        }
        open.withLock { _ = $0.unclaimed.remove(handle) }
    }

    /// Everything was repeated and handed over: what nobody claimed may go.
    public func replayFinished(_ context: inout CallContext) throws(Errno) {
        // None of this has a number: it ends with a commit, so that no repetition begins before it.
        let closed = open.withLock { open -> [NodeID] in
            defer { open.unclaimed = [] }
            return open.unclaimed.compactMap { handle in
                open.madeUnnamed[handle] = nil
                return open.nodes.removeValue(forKey: handle)
            }
        }
        for node in closed { _ = fileSystem.noteClosed(node) }
        try inspect { () throws(FileSystemError) in try fileSystem.releaseUnnamed() }
    }
}
