import DiskFormat
import RedoxFS
import SchemeKit

extension FileScheme {
    /// Finds a name.
    public func lookup(
        _ parent: UInt64, _ name: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let parent = try id(parent)
        return NodeAttributes(try inspect { () throws(FileSystemError) in try fileSystem.lookup(parent, name) })
    }

    /// Attributes of a node.
    public func attributes(
        _ node: UInt64, handle: UInt64, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let id = try id(node)
        do throws(FileSystemError) {
            return NodeAttributes(try fileSystem.attributes(id))
        } catch {
            if error == .notFound, let last = removed.withLock({ $0.find(id) }) { return NodeAttributes(last) }
            throw error.errno
        }
    }

    /// Changes attributes. Permission bits and an access list say the same twice, so one changes the other.
    public func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let id = try id(node)
        let wanted = AttributeChanges(
            mode: changes.mode.map { UInt16(truncatingIfNeeded: $0 & 0o7777) }, uid: changes.uid, gid: changes.gid,
            size: changes.size, atime: changes.accessTime.map { Timespec($0) },
            mtime: changes.modificationTime.map { Timespec($0) },
            killSuidgid: changes.killPrivileges || context.killPrivileges)
        if let mode = wanted.mode, var list = try accessList(id, AccessControlList.accessName) {
            list.change(toMode: mode)
            return try changeSeveral(&context, time: changes.changeTime) { (request) throws(FileSystemError) in
                unsafe try fileSystem.setExtendedAttribute(
                    id, AccessControlList.accessName, list.encoded.span.bytes, &request)
                return NodeAttributes(try fileSystem.setAttributes(id, wanted, &request))
            }
        }
        // Shortening a large file takes several steps.
        if changes.size != nil {
            return try changeSeveral(&context, time: changes.changeTime) { (request) throws(FileSystemError) in
                NodeAttributes(try fileSystem.setAttributes(id, wanted, &request))
            }
        }
        return try change(&context, time: changes.changeTime) { (request) throws(FileSystemError) in
            NodeAttributes(try fileSystem.setAttributes(id, wanted, &request))
        }
    }

    /// A symbolic link's target.
    public func readLink(
        _ node: UInt64, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let id = try id(node)
        let target = try inspect { () throws(FileSystemError) in try fileSystem.readSymbolicLink(id) }
        let count = min(target.count, buffer.byteCount)
        unsafe buffer.copyBytes(from: target.span.bytes.extracting(first: count))
        return count
    }

    /// Lists a directory.
    public func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing, _ context: inout CallContext
    ) throws(Errno) {
        let id = try id(node)
        // A listing of 4 KiB, what getdents of a small directory asks for, has room for about a hundred names.
        var entries: [DirectoryEntry] = []
        var position = DirectoryPosition(rawValue: position)
        while true {
            entries.removeAll(keepingCapacity: true)
            try inspect { () throws(FileSystemError) in
                try fileSystem.readDirectory(id, from: position, count: Self.batch) { entry in
                    entries.append(entry)
                    return entries.count < Self.batch
                }
            }
            for entry in entries {
                var attributes: NodeAttributes?
                if withAttributes {
                    attributes = try? self.attributes(UInt64(entry.node.rawValue), handle: 0, &context)
                }
                guard
                    unsafe listing.append(
                        entry.name.span.bytes, node: UInt64(entry.node.rawValue),
                        kind: UInt8(truncatingIfNeeded: entry.kind?.rawValue ?? 0), nextPosition: entry.next.rawValue,
                        attributes: attributes)
                else { return }
                position = entry.next
            }
            if entries.count < Self.batch { return }
        }
    }

    private static var batch: Int { 64 }
}
