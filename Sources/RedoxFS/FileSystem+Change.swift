import DiskFormat
import Platform

extension FileSystem {
    /// Changes attributes, all at once. A size of a very large file is changed in several steps.
    ///
    /// - Throws: `.fileTooLarge`, `.isDirectory` and `.invalidArgument` for a size where it makes no sense, `.noSpace`.
    @discardableResult
    public func setAttributes(
        _ node: NodeID, _ changes: AttributeChanges, _ context: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        while true {
            let result = try change(&context) { (state, context) throws(Fault) in
                try state.setAttributes(node, changes, &context)
            }
            if let result { return result }
        }
    }

    /// Creates a file, directory, FIFO, socket or device node. The owner is the context's, the group too unless the
    /// directory has the set-group-id bit, which passes its group on, and to directories the bit.
    ///
    /// - Parameter device: the number of a device node, kept as it is.
    /// - Throws: `.exists`, `.notDirectory`, `.nameTooLong`, `.invalidName`, `.noSpace`; `.invalidArgument` for a link.
    public func create(
        _ parent: NodeID, _ name: RawSpan, kind: NodeKind, mode: UInt16, device: UInt32 = 0,
        _ context: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        guard kind != .symbolicLink else { throw .invalidArgument("symbolic links have a target") }
        let template = NodeTemplate(kind: kind, mode: mode, device: device)
        return try change(&context) { (state, context) throws(Fault) in
            try state.create(parent, name, template, &context)
        }
    }

    /// Creates a symbolic link.
    ///
    /// - Parameter target: 1 to 4095 bytes.
    public func createSymbolicLink(
        _ parent: NodeID, _ name: RawSpan, target: RawSpan, _ context: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        guard target.byteCount > 0 else { throw .notFound }
        guard target.byteCount < 4096 else { throw .nameTooLong }
        let template = NodeTemplate(kind: .symbolicLink, mode: 0o777, target: target.copyToArray())
        return try change(&context) { (state, context) throws(Fault) in
            try state.create(parent, name, template, &context)
        }
    }

    /// Creates a file without a name (O_TMPFILE). It is open once; the last close deletes it unless it was linked.
    public func createUnnamed(
        _ parent: NodeID, mode: UInt16, _ context: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        try change(&context) { (state, context) throws(Fault) in
            try state.createUnnamed(parent, mode: mode, &context)
        }
    }

    /// Gives a node another name.
    ///
    /// - Throws: `.notPermitted` for directories, `.exists`, `.tooManyLinks`.
    @discardableResult
    public func link(
        _ node: NodeID, _ parent: NodeID, _ name: RawSpan, _ context: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        try change(&context) { (state, context) throws(Fault) in try state.link(node, parent, name, &context) }
    }

    /// Removes a name of anything but a directory; the node too if it was the last and nobody has it open.
    ///
    /// - Returns: the node if it goes with the name.
    /// - Throws: `.notFound`, `.isDirectory`.
    @discardableResult
    public func unlink(
        _ parent: NodeID, _ name: RawSpan, _ context: inout RequestContext
    ) throws(FileSystemError) -> NodeID? {
        let (node, farewell, isAbandoned) = try change(&context) { (state, context) throws(Fault) in
            let (node, farewell) = try state.unlink(parent, name, &context)
            let isAbandoned = state.abandoned(node, farewell) != nil
            state.isReleasing = isAbandoned
            return (node, farewell, isAbandoned)
        }
        if isAbandoned { releaseAlone(node, &context) }
        return switch farewell {
        case .keepsNames: nil
        case .waits: isAbandoned ? node : nil
        case .ends, .departs: node
        }
    }

    /// Removes an empty directory.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.notEmpty`.
    public func removeDirectory(
        _ parent: NodeID, _ name: RawSpan, _ context: inout RequestContext
    ) throws(FileSystemError) {
        try change(&context) { (state, context) throws(Fault) in
            try state.removeDirectory(parent, name, &context)
        }
    }

    /// Renames, replaces or exchanges, as renameat2(2) does.
    ///
    /// - Throws: `.notFound`, `.exists`, `.notDirectory`, `.isDirectory`, `.notEmpty`, `.invalidArgument` for a directory that
    ///   would come to lie below itself or for flags that exclude each other.
    public func rename(
        _ parent: NodeID, _ name: RawSpan, _ newParent: NodeID, _ newName: RawSpan, flags: RenameFlags = [],
        _ context: inout RequestContext
    ) throws(FileSystemError) {
        guard flags != [.noReplace, .exchange], flags.isSubset(of: [.noReplace, .exchange]) else {
            throw .invalidArgument("flags of rename")
        }
        let abandoned = try change(&context) { (state, context) throws(Fault) in
            let abandoned = try state.rename(parent, name, newParent, newName, flags, &context)
            state.isReleasing = abandoned != nil
            return abandoned
        }
        if let abandoned { releaseAlone(abandoned, &context) }
    }

    /// Notes that a node is open: it stays when it loses its last name. Throws `.notFound` if there is no such node.
    public func open(_ node: NodeID) throws(FileSystemError) {
        let isOpen = try inspect { (state) throws(Fault) in try state.open(node) }
        if isOpen { return }
        // Not the request's change, and it must not wait for a commit: the request may have changed something already.
        var context = RequestContext(time: Timespec())
        try change(&context, .afterwards) { (state, _) throws(Fault) in try state.openUnlisted(node) }
    }

    /// Notes that a node is closed; deletes it if that was the last time and it has no name.
    public func close(_ node: NodeID, _ context: inout RequestContext) throws(FileSystemError) {
        if noteClosed(node) { try releaseClosed(node, &context) }
    }

    /// Notes that a node is closed. True if that was the last time and it has no name: `releaseClosed` or, later,
    /// `releaseUnnamed` deletes it.
    public func noteClosed(_ node: NodeID) -> Bool {
        let mustRelease = state.withLock { state -> Bool in
            guard var inode = state.inodes[UInt64(node.rawValue)], inode.opens > 0 else { return false }
            inode.opens -= 1
            let isLast = inode.opens == 0
            if isLast { inode.readEnd = .max }
            state.inodes[UInt64(node.rawValue)] = inode.isIdle ? nil : inode
            return isLast && inode.isOrphan
        }
        return mustRelease && !isReadOnly
    }

    /// Deletes a node that has no name and was closed for the last time.
    public func releaseClosed(_ node: NodeID, _ context: inout RequestContext) throws(FileSystemError) {
        // With the last step the node's number is free for others. That step and the change's number are one, so that a
        // repetition in the order of the numbers frees it before the same ones get it.
        var isDone = false
        while !isDone {
            isDone = try change(&context) { (state, context) throws(Fault) in
                let isLast = try state.releaseStep(node)
                if isLast { state.noteChange(&context) }
                return isLast
            }
        }
    }

    /// Deletes a node that the operation before has left without a name, step by step and with nothing in between.
    ///
    /// That operation is done, whatever becomes of this: a node that can't be freed (a list of its blocks can't be read) is on the
    /// release list, and the next opening frees it.
    private func releaseAlone(_ node: NodeID, _ context: inout RequestContext) {
        defer {
            state.withLock { $0.isReleasing = false }
            changed.broadcast()
        }
        try? release(node, .release, &context)
    }

    /// Deletes a node without a name, step by step.
    private func release(
        _ node: NodeID, _ kind: ChangeKind, _ context: inout RequestContext
    ) throws(FileSystemError) {
        var isDone = false
        while !isDone {
            isDone = try change(&context, kind) { (state, _) throws(Fault) in try state.releaseStep(node) }
        }
    }

    /// Gives the context a number for something that isn't in the image, but has its place in the sequence of changes.
    public func mark(_ context: inout RequestContext) throws(FileSystemError) {
        try change(&context) { (state, context) throws(Fault) in state.noteChange(&context) }
    }

    /// Says that what had a number is repeated, whatever came of it: all that follows has a higher one.
    public func endRepetition(of sequence: UInt64) {
        state.withLock { state in
            guard state.sequence < sequence else { return }
            state.sequence = sequence
            state.changes &+= 1
        }
    }

    /// Deletes nodes without a name that nobody has opened since: the end of `OpenOptions.keepsUnnamed`.
    public func releaseUnnamed() throws(FileSystemError) {
        guard !isReadOnly else { return }
        let used = state.withLock { state in state.release.nodes.filter { state.inodes[UInt64($0)]?.opens ?? 0 > 0 } }
        try recover(except: Set(used))
    }

    /// Deletes what lost its last name while it was open and the file system wasn't closed properly.
    func recover(except used: Set<UInt32> = []) throws(FileSystemError) {
        let orphans = state.withLock { $0.release.nodes }.filter { !used.contains($0) }
        guard !orphans.isEmpty else { return }
        var context = RequestContext(time: header.headerExtension?.commitTime ?? Timespec())
        for orphan in orphans {
            do {
                try release(NodeID(orphan), .usual, &context)
            } catch {
                switch error {
                case .corrupt, .notEmpty: continue  // What can't be deleted stays listed, for a check to repair.
                default: throw error
                }
            }
        }
        try commit()
    }

    /// Notes an access, if the rules of relatime want it.
    func noteAccess(_ node: NodeID, _ context: inout RequestContext) throws(FileSystemError) {
        let time = context.time
        let isNeeded = try inspect { (state) throws(Fault) in
            let buffer = try state.nodeBuffer(node)
            let times = NodeExtension.times(buffer.bytes)
            guard times.access < time else { return false }
            return times.access <= times.modification || times.access <= times.change
                || time.seconds &- times.access.seconds >= 86_400
        }
        guard isNeeded else { return }
        do {
            try change(&context) { (state, context) throws(Fault) in
                let slot = try state.touchNode(node)
                try state.secure()
                state.applyPlan()
                state.setTimes(slot, access: time)
                state.noteChange(&context)
            }
        } catch {
            // A full disk is no reason not to read.
            if error != .noSpace { throw error }
        }
    }
}

extension EngineState {
    /// Changes attributes; nil if another step is needed.
    mutating func setAttributes(
        _ id: NodeID, _ changes: AttributeChanges, _ context: inout RequestContext
    ) throws(Fault) -> Attributes? {
        let existing = try node(id)
        guard let kind = NodeBlock.kind(blocks.buffer(existing).bytes) else { throw .failed(.notSupported) }
        let links = kind == .directory ? try directoryLinks(id, existing) : nil
        if let size = changes.size {
            guard try setSize(id, size, context.time) else {
                noteChange(&context)
                return nil
            }
        } else {
            _ = try touchNode(id)
            try secure(isFreeing: true)
            applyPlan()
        }
        guard let slot = blocks.findNode(id.rawValue) else { throw .failed(.notFound) }
        blocks.change(slot) { bytes in
            var mode = NodeBlock.mode(bytes.bytes)
            if let new = changes.mode { mode = mode & 0xF000 | new & 0o7777 }
            if changes.killSuidgid {
                mode &= ~0o4000
                if mode & 0o010 != 0 { mode &= ~0o2000 }
            }
            NodeBlock.setMode(&bytes, mode)
            if let uid = changes.uid { NodeBlock.setUID(&bytes, uid) }
            if let gid = changes.gid { NodeBlock.setGID(&bytes, gid) }
        }
        let sizeTime = changes.size == nil ? nil : context.time
        setTimes(slot, access: changes.atime, modification: changes.mtime ?? sizeTime, change: context.time)
        noteChange(&context)
        return describe(id, slot, kind, links)
    }
}
