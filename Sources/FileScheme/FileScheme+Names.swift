import DiskFormat
import RedoxFS
import SchemeKit

extension FileScheme {
    /// Makes a file, fifo, socket or device.
    public func makeNode(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, device: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let type = mode >> 12 & 0xf
        guard let kind = type == 0 ? NodeKind.file : NodeKind(rawValue: .init(truncatingIfNeeded: type)),
            kind != .directory, kind != .symbolicLink
        else {
            throw .invalidArgument
        }
        return NodeAttributes(try make(parent, name, kind, mode, umask, device, &context))
    }

    /// Makes a directory.
    public func makeDirectory(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        NodeAttributes(try make(parent, name, .directory, mode, umask, 0, &context))
    }

    /// Makes a node. In a directory with a default access list that list takes the umask's place (acl(5)).
    func make(
        _ parent: UInt64, _ name: RawSpan, _ kind: NodeKind, _ mode: UInt32, _ umask: UInt32, _ device: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Attributes {
        let parent = try id(parent)
        guard let list = try accessList(parent, AccessControlList.defaultName) else {
            let mode = UInt16(truncatingIfNeeded: mode & 0o7777 & ~umask)
            return try change(&context) { (request) throws(FileSystemError) in
                try fileSystem.create(parent, name, kind: kind, mode: mode, device: device, &request)
            }
        }
        let isAgain = context.isReplay || context.isResubmitted
        let inherited = list.inherited(mode: UInt16(truncatingIfNeeded: mode & 0o7777))
        return try changeSeveral(&context) { (request) throws(FileSystemError) in
            let new = try createOrFind(
                parent, name, kind, inherited.mode, device, isAgain: isAgain, &request)
            try give(new.node, kind, inherited.list, list, &request)
            return try fileSystem.attributes(new.node)
        }
    }

    /// Gives a new node its lists.
    private func give(
        _ node: NodeID, _ kind: NodeKind, _ list: AccessControlList, _ inheritable: AccessControlList,
        _ request: inout RequestContext
    ) throws(FileSystemError) {
        if !list.isMinimal {
            unsafe try fileSystem.setExtendedAttribute(
                node, AccessControlList.accessName, list.encoded.span.bytes, &request)
        }
        if kind == .directory {
            unsafe try fileSystem.setExtendedAttribute(
                node, AccessControlList.defaultName, inheritable.encoded.span.bytes, &request)
        }
    }

    /// Creates; a call that is made again may find what it made, if the first of its changes has become durable and not all.
    private func createOrFind(
        _ parent: NodeID, _ name: RawSpan, _ kind: NodeKind, _ mode: UInt16, _ device: UInt32, isAgain: Bool,
        _ request: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        do throws(FileSystemError) {
            return try fileSystem.create(parent, name, kind: kind, mode: mode, device: device, &request)
        } catch {
            guard error == .exists, isAgain else { throw error }
            let found = try fileSystem.lookup(parent, name)
            guard found.btime == request.time, found.kind == kind else { throw error }
            return found
        }
    }

    /// Makes a symbolic link.
    public func symbolicLink(
        _ parent: UInt64, _ name: RawSpan, target: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let parent = try id(parent)
        return try change(&context) { (request) throws(FileSystemError) in
            NodeAttributes(try fileSystem.createSymbolicLink(parent, name, target: target, &request))
        }
    }

    /// Gives a node another name.
    public func link(
        _ node: UInt64, _ newParent: UInt64, _ name: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let (node, parent) = (try id(node), try id(newParent))
        return try change(&context) { (request) throws(FileSystemError) in
            NodeAttributes(try fileSystem.link(node, parent, name, &request))
        }
    }

    /// Removes a name.
    public func unlink(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        let parent = try id(parent)
        let gone = try change(&context) { (request) throws(FileSystemError) in
            try fileSystem.unlink(parent, name, &request)
        }
        if let gone { context.removedNode = UInt64(gone.rawValue) }
    }

    /// Removes an empty directory.
    public func removeDirectory(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        let parent = try id(parent)
        let last = try inspect { () throws(FileSystemError) in try fileSystem.lookup(parent, name) }
        try change(&context) { (request) throws(FileSystemError) in
            try fileSystem.removeDirectory(parent, name, &request)
        }
        let time = Timespec(context.time)
        removed.withLock { $0.add(last, at: time) }
    }

    /// Renames.
    public func rename(
        _ parent: UInt64, _ name: RawSpan, to newParent: UInt64, _ newName: RawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) {
        let (from, to) = (try id(parent), try id(newParent))
        try change(&context) { (request) throws(FileSystemError) in
            try fileSystem.rename(from, name, to, newName, flags: RenameFlags(rawValue: flags), &request)
        }
    }
}
