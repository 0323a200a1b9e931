import Platform
import SchemeProtocol
import SystemPackage

/// Serves a `Scheme` (paths) as a `NodeScheme` (nodes and handles).
///
/// A node's number is the scheme's own if it gives one (`NodeAttributes.node`), else computed from the path: so it is the same in the
/// next incarnation, which finds the path again by listing the scheme.
public final class PathScheme: NodeScheme {
    private struct Open {
        let file: any OpenFile
        let node: UInt64
    }

    /// A handle: its number is only unique within its channel.
    private struct Key: Hashable {
        let channel: UInt32
        let handle: UInt64

        init(_ context: CallContext, _ handle: UInt64) {
            channel = context.channel
            self.handle = handle
        }
    }

    private struct Table {
        var paths: [UInt64: String] = [1: ""]
        var files: [Key: Open] = [:]
    }

    private let scheme: any Scheme
    private let table: SerialState<Table>

    /// Serves the scheme. All calls come one at a time, so the tables need no lock.
    public init(_ scheme: any Scheme) {
        self.scheme = scheme
        table = SerialState(Table())
    }

    // MARK: Paths and nodes

    /// A number for a path: FNV-1a over its bytes, folded to the 48 bits that the router has room for; never 0 or 1 but for the root.
    static func number(_ path: String) -> UInt64 {
        guard !path.isEmpty else { return 1 }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in path.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return (hash ^ hash >> 47) & (1 << 47 - 1) | 1 << 47
    }

    private func text(_ bytes: RawSpan) throws(Errno) -> String {
        var units: [UInt8] = []
        units.reserveCapacity(bytes.byteCount)
        for index in 0..<bytes.byteCount {
            units.append(unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self))
        }
        guard let text = String(validating: units, as: UTF8.self) else { throw .illegalByteSequence }
        return text
    }

    private func join(_ parent: String, _ name: String) -> String { parent.isEmpty ? name : "\(parent)/\(name)" }

    private func path(_ node: UInt64) throws(Errno) -> String {
        if let path = table.value.paths[node] { return path }
        // Not known to this incarnation: look for it.
        var directories = [""]
        var budget = 100_000
        while let directory = directories.popLast() {
            for name in try scheme.entries(directory) {
                budget -= 1
                guard budget > 0 else { throw .staleNFSFileHandle }
                let path = join(directory, name)
                let attributes = try numbered(path)
                if attributes.mode & ModeBits.typeMask == ModeBits.directory { directories.append(path) }
            }
        }
        guard let path = table.value.paths[node] else { throw .staleNFSFileHandle }
        return path
    }

    private func numbered(_ path: String) throws(Errno) -> NodeAttributes {
        var attributes = try scheme.attributes(path)
        if path.isEmpty { attributes.node = 1 }
        if attributes.node == 0 { attributes.node = Self.number(path) }
        table.value.paths[attributes.node] = path
        return attributes
    }

    private func file(_ handle: UInt64, _ context: CallContext) throws(Errno) -> any OpenFile {
        guard let open = table.value.files[Key(context, handle)] else { throw .badFileDescriptor }
        return open.file
    }

    // MARK: NodeScheme. Documented there.

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func lookup(
        _ parent: UInt64, _ name: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        try numbered(join(try path(parent), try text(name)))
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func attributes(
        _ node: UInt64, handle: UInt64, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        if handle != 0, let open = table.value.files[Key(context, handle)], var attributes = try open.file.attributes()
        {
            attributes.node = open.node
            return attributes
        }
        return try numbered(try path(node))
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        var changes = changes
        if let size = changes.size, let open = table.value.files[Key(context, handle)] {
            try open.file.truncate(to: size, &context)
            changes.size = nil
        }
        if changes != AttributeChangeSet() { try scheme.setAttributes(try path(node), changes, &context) }
        return try attributes(node, handle: handle, &context)
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func makeNode(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, device: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        guard mode & ModeBits.typeMask == ModeBits.regular || mode & ModeBits.typeMask == 0 else { throw .notPermitted }
        let path = join(try path(parent), try text(name))
        let flags = OpenFlags.create | OpenFlags.exclusive | OpenFlags.readWrite | OpenFlags.nonBlocking
        let file = try scheme.open(path, flags: flags, mode: mode & 0o7777, &context)
        file.close(&context)
        return try numbered(path)
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func makeDirectory(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let path = join(try path(parent), try text(name))
        try scheme.makeDirectory(path, mode: mode & 0o7777, &context)
        return try numbered(path)
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func unlink(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        try scheme.unlink(join(try path(parent), try text(name)), &context)
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func removeDirectory(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        try scheme.removeDirectory(join(try path(parent), try text(name)), &context)
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func rename(
        _ parent: UInt64, _ name: RawSpan, to newParent: UInt64, _ newName: RawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) {
        let old = join(try path(parent), try text(name))
        let new = join(try path(newParent), try text(newName))
        try scheme.rename(old, to: new, flags: flags, &context)
        // The kernel keeps the node's number: it now stands for the new path.
        for (node, path) in table.value.paths where path == old || path.hasPrefix("\(old)/") {
            table.value.paths[node] = new + path.dropFirst(old.count)
        }
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let file = try scheme.open(try path(node), flags: flags, mode: 0, &context)
        context.opened = file.opened
        table.value.files[Key(context, handle)] = Open(file: file, node: node)
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func create(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let path = join(try path(parent), try text(name))
        let file = try scheme.open(path, flags: flags | OpenFlags.create, mode: mode & 0o7777, &context)
        let attributes = try numbered(path)
        context.opened = file.opened
        table.value.files[Key(context, handle)] = Open(file: file, node: attributes.node)
        return attributes
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func adopt(
        _ node: UInt64, generation: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) {
        let once = OpenFlags.create | OpenFlags.exclusive | OpenFlags.truncate
        try open(node, handle: handle, flags: flags & ~once | OpenFlags.nonBlocking, &context)
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func open(
        path: RawSpan, handle: UInt64, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let name = try text(path)
        let file = try scheme.open(name, flags: flags, mode: mode & 0o7777, &context)
        let node = name.isEmpty ? 1 : (try? numbered(name))?.node ?? Self.number(name)
        context.opened = file.opened
        table.value.files[Key(context, handle)] = Open(file: file, node: node)
        return node
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func duplicate(
        _ node: UInt64, handle: UInt64, as newHandle: UInt64, kind: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let file = try file(handle, context).duplicate(kind: try text(kind), &context)
        context.opened = file.opened
        table.value.files[Key(context, newHandle)] = Open(file: file, node: node)
        return node
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int { try file(handle, context).read(into: &buffer, at: offset, &context) }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int { try file(handle, context).write(bytes, at: offset, &context) }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func close(
        _ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) { table.value.files.removeValue(forKey: Key(context, handle))?.file.close(&context) }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func synchronize(
        _ node: UInt64, handle: UInt64, dataOnly: Bool, _ context: inout CallContext
    ) throws(Errno) {
        guard handle != 0, let open = table.value.files[Key(context, handle)] else { return }
        try open.file.synchronize(dataOnly: dataOnly, &context)
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func allocate(
        _ node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) { try file(handle, context).allocate(mode: mode, at: offset, count: count, &context) }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func poll(
        _ node: UInt64, handle: UInt64, events: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt32 { try file(handle, context).poll(events: events, &context) }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func openDirectory(
        _ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) { _ = try scheme.entries(try path(node)) }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing,
        _ context: inout CallContext
    ) throws(Errno) {
        let directory = try path(node)
        let names = try scheme.entries(directory)
        guard let start = Int(exactly: position), start < names.count else { return }
        for index in start..<names.count {
            // A name that went away since it was listed isn't an entry.
            guard let attributes = try? numbered(join(directory, names[index])) else { continue }
            guard listing.append(names[index], at: index, attributes, isShown: withAttributes) else { return }
        }
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func figures(_ node: UInt64, _ context: inout CallContext) throws(Errno) -> FileSystemFigures {
        scheme.figures()
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func channelEnded(_ channel: UInt32) {
        for (key, open) in table.value.files where key.channel == channel {
            var context = CallContext(node: open.node)
            open.file.close(&context)
            table.value.files[key] = nil
        }
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func finish() throws(Errno) { try scheme.finish() }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func set(_ fields: [ControlMessage.Field]) throws(Errno) { try scheme.set(fields) }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func report() -> [ControlMessage.Field] { scheme.report() }
}

/// State that only calls under the dispatcher's lock touch: the lock's holder changes from thread to thread.
final class SerialState<Value>: @unchecked Sendable {
    var value: Value

    init(_ value: Value) { self.value = value }
}
