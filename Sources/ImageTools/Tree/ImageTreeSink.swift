import DiskFormat
import Platform
import RedoxFS

/// A directory of an image as a destination. Existing directories are kept and filled, anything else is replaced.
public final class ImageTreeSink: TreeSink {
    private struct Level {
        let name: [UInt8]
        let node: NodeID
    }

    private let fileSystem: FileSystem
    private let top: NodeID
    private let now: Timespec
    private let warn: (String) -> Void
    private var stack: [Level] = []
    private var directories: [(node: NodeID, entry: TreeEntry)] = []
    private var current: (node: NodeID, entry: TreeEntry)?
    private var writtenEnd: UInt64 = 0

    /// - Parameters:
    ///   - top: the directory that becomes the top of the tree.
    ///   - now: the time of creation and change where the source knows none.
    ///   - warn: called for what can't be kept.
    public init(_ volume: ImageVolume, top: NodeID, now: Timespec, warn: @escaping (String) -> Void) {
        fileSystem = volume.fileSystem
        self.top = top
        self.now = now
        self.warn = warn
    }

    /// Makes the entry.
    public func begin(_ entry: TreeEntry) throws(ToolFailure) {
        current = nil
        writtenEnd = 0
        do throws(FileSystemError) {
            try make(entry)
        } catch {
            throw .fileSystem(error, "make", entry.displayPath, concernsOneEntry: Self.concernsOneEntry(error))
        }
    }

    /// Writes at the position; holes stay holes.
    public func write(at offset: UInt64, _ bytes: RawSpan) throws(ToolFailure) {
        guard let (node, entry) = current else { return }
        do throws(FileSystemError) {
            var context = context(entry)
            var done = 0
            while done < bytes.byteCount {
                let count = try fileSystem.write(
                    node, at: offset + UInt64(done), bytes.extracting(droppingFirst: done), &context)
                if count == 0 { throw .noSpace }
                done += count
            }
            writtenEnd = max(writtenEnd, offset + UInt64(bytes.byteCount))
        } catch {
            throw .fileSystem(error, "write", entry.displayPath, concernsOneEntry: Self.concernsOneEntry(error))
        }
    }

    /// Sets size, attributes, owner, mode and times.
    public func end() throws(ToolFailure) {
        guard let (node, entry) = current else { return }
        current = nil
        do throws(FileSystemError) {
            var context = context(entry)
            if entry.kind == .file && writtenEnd < entry.size {
                _ = try fileSystem.setAttributes(node, AttributeChanges(size: entry.size), &context)
            }
            try setExtendedAttributes(node, entry)
            try setAttributes(node, entry)
        } catch {
            throw .fileSystem(
                error, "set the attributes of", entry.displayPath, concernsOneEntry: Self.concernsOneEntry(error))
        }
    }

    /// Sets the attributes of directories, after all that was made in them.
    public func finish() throws(ToolFailure) {
        for (node, entry) in directories.reversed() {
            do throws(FileSystemError) {
                try setAttributes(node, entry)
            } catch {
                throw .fileSystem(error, "set the attributes of", entry.displayPath)
            }
        }
        directories = []
    }

    private func make(_ entry: TreeEntry) throws(FileSystemError) {
        guard let name = entry.path.last else {
            if entry.kind != .directory { throw .notDirectory }
            try setExtendedAttributes(top, entry)
            directories.append((top, entry))
            return
        }
        let parent = try directory(entry.path.dropLast())
        var context = context(entry)
        let existing = try find(parent, name)
        if let first = entry.hardLink {
            guard let firstName = first.last else { throw .invalidName }
            guard let target = try find(try directory(first.dropLast()), firstName) else { throw .notFound }
            if existing?.node == target.node { return }
            if existing != nil { try fileSystem.unlink(parent, name.rawBytes, &context) }
            // The link changes nothing but the count: the time of change stays what it was.
            context.time = target.ctime
            _ = try fileSystem.link(target.node, parent, name.rawBytes, &context)
            return
        }
        if let existing {
            if entry.kind == .directory && existing.kind == .directory {
                try setExtendedAttributes(existing.node, entry)
                directories.append((existing.node, entry))
                return
            }
            if existing.kind == .directory { throw .isDirectory }
            try fileSystem.unlink(parent, name.rawBytes, &context)
        }
        context.time = entry.created ?? now
        let made: Attributes
        if entry.kind == .symbolicLink {
            made = try fileSystem.createSymbolicLink(parent, name.rawBytes, target: entry.target.rawBytes, &context)
        } else {
            made = try fileSystem.create(
                parent, name.rawBytes, kind: entry.kind, mode: entry.mode, device: entry.device.encoded, &context)
        }
        if entry.kind == .directory {
            // Now rather than at the end: some attributes are for what will be made inside.
            try setExtendedAttributes(made.node, entry)
            directories.append((made.node, entry))
        } else {
            current = (made.node, entry)
        }
    }

    private func setExtendedAttributes(_ node: NodeID, _ entry: TreeEntry) throws(FileSystemError) {
        for attribute in entry.attributes {
            var context = context(entry)
            do throws(FileSystemError) {
                try fileSystem.setExtendedAttribute(
                    node, attribute.name, attribute.value.rawBytes, &context)
            } catch {
                if error == .noSpace { throw error }
                warn("\(entry.displayPath): attribute \(ToolFailure.display(attribute.name)) not kept: \(error)")
            }
        }
    }

    private func setAttributes(_ node: NodeID, _ entry: TreeEntry) throws(FileSystemError) {
        var context = context(entry)
        let changes = AttributeChanges(
            mode: entry.mode, uid: entry.uid, gid: entry.gid, atime: entry.accessed ?? entry.modified,
            mtime: entry.modified)
        _ = try fileSystem.setAttributes(node, changes, &context)
    }

    private func context(_ entry: TreeEntry) -> RequestContext {
        RequestContext(time: entry.changed ?? now, uid: entry.uid, gid: entry.gid)
    }

    private func find(_ parent: NodeID, _ name: [UInt8]) throws(FileSystemError) -> Attributes? {
        do throws(FileSystemError) {
            return try fileSystem.lookup(parent, name.rawBytes)
        } catch {
            if error == .notFound { return nil }
            throw error
        }
    }

    /// The directory of a path below the top. Archives may leave directories out: those are made.
    private func directory(_ path: ArraySlice<[UInt8]>) throws(FileSystemError) -> NodeID {
        let path = Array(path)
        var common = 0
        while common < min(stack.count, path.count), stack[common].name == path[common] { common += 1 }
        stack.removeLast(stack.count - common)
        for name in path[common...] {
            let parent = stack.last?.node ?? top
            var context = RequestContext(time: now)
            let child: Attributes
            if let found = try find(parent, name) {
                child = found
            } else {
                child = try fileSystem.create(
                    parent, name.rawBytes, kind: .directory, mode: 0o755, device: 0, &context)
            }
            if child.kind != .directory { throw .notDirectory }
            stack.append(Level(name: name, node: child.node))
        }
        return stack.last?.node ?? top
    }

    private static func concernsOneEntry(_ error: FileSystemError) -> Bool {
        switch error {
        case .noSpace, .device, .corrupt, .readOnly, .closed, .cipher, .system: false
        default: true
        }
    }
}
