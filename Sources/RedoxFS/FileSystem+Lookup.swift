import DiskFormat
import Platform

extension FileSystem {
    /// The attributes of the node that a name in a directory leads to.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.nameTooLong`.
    public func lookup(_ parent: NodeID, _ name: RawSpan) throws(FileSystemError) -> Attributes {
        do throws(FileSystemError) {
            return try lookup(parent, name, countingLinks: true)
        } catch {
            switch error {
            // Something in a directory that can't be read is no reason not to show the directory.
            case .corrupt, .device: return try lookup(parent, name, countingLinks: false)
            default: throw error
            }
        }
    }

    private func lookup(
        _ parent: NodeID, _ name: RawSpan, countingLinks: Bool
    ) throws(FileSystemError) -> Attributes {
        // When only the node had to be read, and nothing changed meanwhile, the name isn't searched again.
        var found: (id: NodeID, changes: UInt64)?
        return try inspect { (state) throws(Fault) in
            let id: NodeID
            if let found, found.changes == state.changes {
                id = found.id
            } else {
                let directory = try state.directory(parent)
                guard let match = try state.lookup(directory, name) else { throw .failed(.notFound) }
                id = match
                found = (id, state.changes)
            }
            let attributes = try state.attributes(id, countingLinks: countingLinks)
            if attributes.kind == .directory { state.rememberParent(of: id, parent) }
            return attributes
        }
    }

    /// The number of the node that a name in a directory leads to: a lookup without reading the node.
    ///
    /// - Throws: `.notFound`, `.notDirectory`, `.nameTooLong`.
    public func lookupNode(_ parent: NodeID, _ name: RawSpan) throws(FileSystemError) -> NodeID {
        try inspect { (state) throws(Fault) in
            let directory = try state.directory(parent)
            guard let id = try state.lookup(directory, name) else { throw .failed(.notFound) }
            return id
        }
    }

    /// What stat(2) shows of a node. Throws `.notFound` if there is no such node.
    public func attributes(_ node: NodeID) throws(FileSystemError) -> Attributes {
        do throws(FileSystemError) {
            return try inspect { (state) throws(Fault) in try state.attributes(node) }
        } catch {
            switch error {
            case .corrupt, .device:
                return try inspect { (state) throws(Fault) in try state.attributes(node, countingLinks: false) }
            default: throw error
            }
        }
    }

    /// The target of a symbolic link.
    ///
    /// - Throws: `.invalidArgument` for other nodes.
    public func readSymbolicLink(_ node: NodeID) throws(FileSystemError) -> [UInt8] {
        let attributes = try attributes(node)
        guard attributes.kind == .symbolicLink else { throw .invalidArgument("not a symbolic link") }
        guard attributes.size <= 65_536 else { throw .fileTooLarge }
        var target = [UInt8](repeating: 0, count: Int(attributes.size))
        let count = try target.withMutableRawBytes { (bytes) throws(FileSystemError) in
            try copy(node, at: 0, into: &bytes)
        }
        target.removeLast(target.count - count)
        return target
    }

    /// Reads a directory from a position on. "." and ".." are the caller's.
    ///
    /// - Parameters:
    ///   - position: `.start`, or what came with an entry: the position behind it.
    ///   - count: about how many entries are wanted.
    ///   - body: gets one entry after another; false ends the reading.
    /// - Throws: `.notDirectory`.
    public func readDirectory(
        _ node: NodeID, from position: DirectoryPosition, count: Int = 128, _ body: (DirectoryEntry) -> Bool
    ) throws(FileSystemError) {
        var position = position
        while true {
            let from = position
            let entries = try entries(node, from, count)
            guard !entries.isEmpty else { return }
            for entry in entries {
                guard body(entry) else { return }
                position = entry.next
            }
        }
    }

    private func entries(
        _ node: NodeID, _ from: DirectoryPosition, _ count: Int
    ) throws(FileSystemError) -> [DirectoryEntry] {
        do throws(FileSystemError) {
            return try inspect { (state) throws(Fault) in
                try state.readDirectory(node, from: from.rawValue, wanted: count, withKinds: true)
            }
        } catch {
            switch error {
            case .corrupt, .device:
                // A node that can't be read is no reason not to show its name.
                return try inspect { (state) throws(Fault) in
                    try state.readDirectory(node, from: from.rawValue, wanted: count, withKinds: false)
                }
            default: throw error
            }
        }
    }

    /// The parent of a directory, for "..". Known while the directory is in use; searched from the root otherwise.
    ///
    /// - Throws: `.notDirectory`; `.notFound` for a directory that was removed.
    public func parent(of directory: NodeID) throws(FileSystemError) -> NodeID {
        if directory == .root { return .root }
        let known = try inspect { (state) throws(Fault) -> NodeID? in
            _ = try state.directory(directory)
            return state.knownParent(of: directory)
        }
        if let known { return known }
        // Breadth first, directory by directory: nothing is locked in between.
        var queue: [NodeID] = [.root]
        var next = 0
        while next < queue.count {
            let current = queue[next]
            next += 1
            var isFound = false
            try readDirectory(current, from: .start) { entry in
                if entry.kind == .directory {
                    queue.append(entry.node)
                    if entry.node == directory { isFound = true }
                }
                return !isFound
            }
            if isFound {
                state.withLock { $0.rememberParent(of: directory, current) }
                return current
            }
        }
        throw .notFound
    }

    /// Numbers for statvfs(3) and the curious.
    public func statistics() -> FileSystemStatistics {
        state.withLock { state in
            let departed = state.departed.blockCount
            return FileSystemStatistics(
                totalBlocks: state.blockCount, freeBlocks: state.space.freeBlocks &+ departed,
                availableBlocks: state.space.availableBlocks &+ departed,
                generation: Generation(state.durableGeneration),
                durableSequence: state.durableSequence, sequence: state.sequence,
                dirtyBytes: UInt64(state.dirtyBytes), logBlocks: state.log.blocks.count,
                isEncrypted: source.cipher != nil, uuid: header.uuid)
        }
    }
}

extension EngineState {
    /// How many nodes something is remembered of, at most about: what isn't open is forgotten then.
    private static let maximumRemembered = 1 << 18

    /// Notes where a directory is.
    mutating func rememberParent(of directory: NodeID, _ parent: NodeID) {
        if inodes.count >= Self.maximumRemembered { forgetIdleNodes() }
        inodes.update(UInt64(directory.rawValue), initial: InodeState()) { $0.parent = parent.rawValue }
    }

    private mutating func forgetIdleNodes() {
        var kept = FlatMap<UInt64, InodeState>(filler: InodeState())
        inodes.forEach { node, inode in
            if inode.opens > 0 || inode.isOrphan { kept.set(node, inode) }
        }
        inodes = kept
    }

    /// Where a directory is, if that is known.
    func knownParent(of directory: NodeID) -> NodeID? {
        if directory == .root { return .root }
        guard let parent = inodes[UInt64(directory.rawValue)]?.parent, parent != 0 else { return nil }
        return NodeID(parent)
    }
}
