import Platform
import SchemeKit

/// A file tree of names and sizes in memory: contents are thrown away, what is read is anything, nothing is durable. What a mount
/// of it costs is what kernel, router and channel cost.
final class HollowScheme: NodeScheme {
    private struct Node {
        var attributes: NodeAttributes
        /// By name: the place in `entries`.
        var places: [[UInt8]: Int] = [:]
        /// In the order in which they were made, nil where one was removed: positions stay.
        var entries: [(name: [UInt8], node: UInt64)?] = []
    }

    private struct State {
        var nodes: [UInt64: Node] = [:]
        var last: UInt64 = 1
    }

    /// For as long as the kernel likes: nobody else changes the tree.
    private static let lasting: UInt32 = 1_000_000_000
    private static let opened: OpenedFlags = [.keepCache, .noFlush, .parallelDirectWrites]

    private let state: Locked<State>

    init() {
        var state = State()
        state.nodes[1] = Node(attributes: Self.attributes(1, ModeBits.directory | 0o777, CallContext()))
        self.state = Locked(state)
    }

    private static func attributes(_ node: UInt64, _ mode: UInt32, _ context: CallContext) -> NodeAttributes {
        NodeAttributes(
            node: node, generation: node, mode: mode, links: mode & ModeBits.typeMask == ModeBits.directory ? 2 : 1,
            uid: context.uid, gid: context.gid, accessTime: context.time, modificationTime: context.time,
            changeTime: context.time, birthTime: context.time, attributesValid: lasting, nameValid: lasting)
    }

    private func bytes(_ name: RawSpan) -> [UInt8] { unsafe name.withUnsafeBytes { unsafe [UInt8]($0) } }

    private func change<Result>(_ node: UInt64, _ body: (inout Node) -> Result) throws(Errno) -> Result {
        try state.withLock { state throws(Errno) in
            guard let index = state.nodes.index(forKey: node) else { throw .staleNFSFileHandle }
            return body(&state.nodes.values[index])
        }
    }

    private func make(
        _ parent: UInt64, _ name: RawSpan, _ mode: UInt32, _ context: CallContext
    ) throws(Errno) -> NodeAttributes {
        let name = bytes(name)
        return try state.withLock { state throws(Errno) in
            guard let index = state.nodes.index(forKey: parent) else { throw .staleNFSFileHandle }
            guard state.nodes.values[index].places[name] == nil else { throw .fileExists }
            state.last += 1
            let number = state.last
            state.nodes.values[index].places[name] = state.nodes.values[index].entries.count
            state.nodes.values[index].entries.append((name, number))
            let attributes = Self.attributes(number, mode, context)
            state.nodes[number] = Node(attributes: attributes)
            return attributes
        }
    }

    private func remove(_ parent: UInt64, _ name: RawSpan) throws(Errno) {
        let name = bytes(name)
        try state.withLock { state throws(Errno) in
            guard let index = state.nodes.index(forKey: parent) else { throw .staleNFSFileHandle }
            guard let place = state.nodes.values[index].places[name],
                let entry = state.nodes.values[index].entries[place]
            else { throw .noSuchFileOrDirectory }
            if state.nodes[entry.node]?.places.isEmpty == false { throw .directoryNotEmpty }
            state.nodes.values[index].places[name] = nil
            state.nodes.values[index].entries[place] = nil
            state.nodes[entry.node] = nil
        }
    }

    // MARK: Names

    func lookup(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) -> NodeAttributes {
        let name = bytes(name)
        return try state.withLock { state throws(Errno) in
            guard let directory = state.nodes[parent], let place = directory.places[name],
                let entry = directory.entries[place], let node = state.nodes[entry.node]
            else { throw .noSuchFileOrDirectory }
            return node.attributes
        }
    }

    func attributes(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) -> NodeAttributes {
        try change(node) { $0.attributes }
    }

    func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        try change(node) { node in
            if let mode = changes.mode { node.attributes.mode = node.attributes.mode & ModeBits.typeMask | mode }
            if let user = changes.uid { node.attributes.uid = user }
            if let group = changes.gid { node.attributes.gid = group }
            if let size = changes.size { node.attributes.size = size }
            if let time = changes.accessTime { node.attributes.accessTime = time }
            if let time = changes.modificationTime { node.attributes.modificationTime = time }
            return node.attributes
        }
    }

    func makeDirectory(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        try make(parent, name, ModeBits.directory | mode & ~umask & 0o7777, context)
    }

    func unlink(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        try remove(parent, name)
    }

    func removeDirectory(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        try remove(parent, name)
    }

    func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing, _ context: inout CallContext
    ) throws(Errno) {
        let entries = try change(node) { $0.entries }
        var index = Int(clamping: position)
        while index < entries.count {
            defer { index += 1 }
            guard let entry = entries[index], let found = state.withLock({ $0.nodes[entry.node]?.attributes }) else {
                continue
            }
            let isListed = unsafe listing.append(
                entry.name.span.bytes, node: entry.node, kind: UInt8(truncatingIfNeeded: found.mode >> 12),
                nextPosition: UInt64(index) + 1, attributes: withAttributes ? found : nil)
            if !isListed { return }
        }
    }

    // MARK: Contents

    func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        if flags & OpenFlags.truncate != 0 { try change(node) { $0.attributes.size = 0 } }
        context.opened = Self.opened
    }

    func create(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        context.opened = Self.opened
        return try make(parent, name, ModeBits.regular | mode & ~umask & 0o7777, context)
    }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        let size = try change(node) { $0.attributes.size }
        // The channel's memory is given as it is: nobody may read it who must not, in a benchmark.
        return offset < size ? Int(min(UInt64(buffer.byteCount), size - offset)) : 0
    }

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let (end, overflows) = offset.addingReportingOverflow(UInt64(bytes.byteCount))
        if overflows { throw .fileTooLarge }
        try change(node) { $0.attributes.size = max($0.attributes.size, end) }
        return bytes.byteCount
    }

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ slice: BufferSlice, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let (end, overflows) = offset.addingReportingOverflow(UInt64(slice.byteCount))
        if overflows { throw .fileTooLarge }
        try change(node) { $0.attributes.size = max($0.attributes.size, end) }
        return slice.byteCount
    }

    func figures(_ node: UInt64, _ context: inout CallContext) throws(Errno) -> FileSystemFigures {
        FileSystemFigures(
            blocks: 1 << 30, freeBlocks: 1 << 30, availableBlocks: 1 << 30, files: 1 << 30, freeFiles: 1 << 30)
    }
}
