import CLinux
import FuseBridge
import Glibc
import Platform
import SchemeProtocol
import SystemPackage

/// A file tree in memory: just enough of a file system to drive every FUSE request.
final class MemoryTree: FuseBackend {
    struct Node {
        var attributes: NodeAttributes
        var contents: [UInt8] = []
        var entries: [[UInt8]: UInt64] = [:]
        var extended: [[UInt8]: [UInt8]] = [:]
        var parent: UInt64 = 1
    }

    struct State {
        var nodes: [UInt64: Node] = [:]
        var next: UInt64 = 2
        var handles: [UInt64: UInt64] = [:]
    }

    let state: Locked<State>
    static let patient: UInt32 = 3_600_000

    init() {
        let now = WireTime(seconds: 1_700_000_000, nanoseconds: 5)
        var root = NodeAttributes(node: 1, mode: S_IFDIR | 0o755, links: 2)
        root.modificationTime = now
        state = Locked(State(nodes: [1: Node(attributes: root)]))
    }

    private func node<Result>(_ id: UInt64, _ body: (inout Node) throws(Errno) -> Result) throws(Errno) -> Result {
        try state.withLock { state throws(Errno) in
            guard var node = state.nodes[id] else { throw .noSuchFileOrDirectory }
            defer { state.nodes[id] = node }
            return try body(&node)
        }
    }

    func lookup(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno) -> NodeAttributes {
        let name = bytes(name)
        return try state.withLock { state throws(Errno) in
            guard let directory = state.nodes[parent] else { throw .noSuchFileOrDirectory }
            guard let id = directory.entries[name], let node = state.nodes[id] else {
                return .absent(nameValid: Self.patient)
            }
            return node.attributes
        }
    }

    func attributes(_ request: FuseRequest, node: UInt64, handle: UInt64?) throws(Errno) -> NodeAttributes {
        try self.node(node) { node in node.attributes }
    }

    func setAttributes(
        _ request: FuseRequest, node: UInt64, handle: UInt64?, _ changes: AttributeChangeSet
    ) throws(Errno) -> NodeAttributes {
        try self.node(node) { node in
            if let mode = changes.mode { node.attributes.mode = node.attributes.mode & S_IFMT | mode }
            if let user = changes.uid { node.attributes.uid = user }
            if let group = changes.gid { node.attributes.gid = group }
            if let size = changes.size {
                let missing = max(0, Int(size) - node.contents.count)
                node.contents = node.contents.prefix(Int(size)) + [UInt8](repeating: 0, count: missing)
                node.attributes.size = size
            }
            if let time = changes.accessTime { node.attributes.accessTime = time }
            if let time = changes.modificationTime { node.attributes.modificationTime = time }
            if changes.killPrivileges { node.attributes.mode &= ~0o4000 }
            node.attributes.changeTime = changes.changeTime ?? request.time
            return node.attributes
        }
    }

    func readSymbolicLink(
        _ request: FuseRequest, node: UInt64, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let target = try self.node(node) { node in node.contents }
        unsafe target.withUnsafeBytes { unsafe reply($0) }
    }

    private func make(
        _ request: FuseRequest, _ parent: UInt64, _ name: [UInt8]?, _ mode: UInt32, _ contents: [UInt8] = []
    ) throws(Errno) -> NodeAttributes {
        return try state.withLock { state throws(Errno) in
            if let name, state.nodes[parent]?.entries[name] != nil { throw .fileExists }
            let id = state.next
            state.next += 1
            var attributes = NodeAttributes(node: id, generation: id, mode: mode & ~request.mask)
            attributes.size = UInt64(contents.count)
            attributes.uid = request.user
            attributes.gid = request.group
            attributes.modificationTime = request.time
            attributes.changeTime = request.time
            attributes.nameValid = Self.patient
            attributes.attributesValid = Self.patient
            state.nodes[id] = Node(attributes: attributes, contents: contents, parent: parent)
            if let name { state.nodes[parent]?.entries[name] = id }
            return attributes
        }
    }

    func makeNode(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, mode: UInt32, device: UInt32
    ) throws(Errno) -> NodeAttributes {
        try make(request, parent, bytes(name), mode)
    }

    func makeSymbolicLink(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, target: RawSpan
    ) throws(Errno) -> NodeAttributes {
        try make(request, parent, bytes(name), S_IFLNK | 0o777, bytes(target))
    }

    func link(_ request: FuseRequest, node: UInt64, parent: UInt64, name: RawSpan) throws(Errno) -> NodeAttributes {
        let name = bytes(name)
        return try state.withLock { state throws(Errno) in
            state.nodes[parent]?.entries[name] = node
            state.nodes[node]?.attributes.links += 1
            guard let linked = state.nodes[node] else { throw .noSuchFileOrDirectory }
            return linked.attributes
        }
    }

    func unlink(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno) {
        let name = bytes(name)
        try state.withLock { state throws(Errno) in
            guard let id = state.nodes[parent]?.entries.removeValue(forKey: name) else { throw .noSuchFileOrDirectory }
            state.nodes[id]?.attributes.links -= 1
        }
    }

    func removeDirectory(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno) {
        let name = bytes(name)
        try state.withLock { state throws(Errno) in
            guard let id = state.nodes[parent]?.entries[name] else { throw .noSuchFileOrDirectory }
            guard state.nodes[id]?.entries.isEmpty ?? true else { throw .directoryNotEmpty }
            state.nodes[parent]?.entries.removeValue(forKey: name)
            state.nodes.removeValue(forKey: id)
        }
    }

    func rename(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, newParent: UInt64, newName: RawSpan, flags: UInt32
    ) throws(Errno) {
        let (name, newName) = (bytes(name), bytes(newName))
        try state.withLock { state throws(Errno) in
            guard let id = state.nodes[parent]?.entries.removeValue(forKey: name) else { throw .noSuchFileOrDirectory }
            state.nodes[newParent]?.entries[newName] = id
        }
    }

    private func open(_ node: UInt64) -> FuseOpenedFile {
        state.withLock { state in
            state.next += 1
            state.handles[state.next] = node
            return FuseOpenedFile(handle: state.next, flags: .keepCache)
        }
    }

    func open(
        _ request: FuseRequest, node: UInt64, flags: UInt32, clearsPrivileges: Bool
    ) throws(Errno) -> FuseOpenedFile {
        if Int32(bitPattern: flags) & O_TRUNC != 0 {
            var changes = AttributeChangeSet()
            changes.size = 0
            _ = try setAttributes(request, node: node, handle: nil, changes)
        }
        return open(node)
    }

    func create(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, mode: UInt32, flags: UInt32
    ) throws(Errno) -> (NodeAttributes, FuseOpenedFile) {
        let attributes = try make(request, parent, bytes(name), mode)
        return (attributes, open(attributes.node))
    }

    func createUnnamed(
        _ request: FuseRequest, parent: UInt64, mode: UInt32, flags: UInt32
    ) throws(Errno) -> (NodeAttributes, FuseOpenedFile) {
        var attributes = try make(request, parent, nil, mode)
        attributes.links = 0
        let new = attributes
        try node(new.node) { node in node.attributes = new }
        return (attributes, open(attributes.node))
    }

    func release(_ request: FuseRequest, node: UInt64, handle: UInt64, flags: UInt32) {
        state.withLock { state in _ = state.handles.removeValue(forKey: handle) }
    }

    func read(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, byteCount: Int, flags: UInt32,
        isCacheRead: Bool, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let part = try self.node(node) { node in Array(node.contents.dropFirst(Int(offset)).prefix(byteCount)) }
        unsafe part.withUnsafeBytes { unsafe reply($0) }
    }

    func write(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: UnsafeRawBufferPointer,
        in buffer: inout FuseReceiveBuffer?, flags: UInt32, isCacheWrite: Bool, clearsPrivileges: Bool
    ) throws(Errno) -> Int {
        let (start, end) = (Int(offset), Int(offset) + bytes.count)
        return try self.node(node) { node in
            if node.contents.count < end { node.contents += [UInt8](repeating: 0, count: end - node.contents.count) }
            unsafe node.contents.replaceSubrange(start..<end, with: bytes)
            node.attributes.size = UInt64(node.contents.count)
            node.attributes.blocks = node.attributes.size / 512
            if clearsPrivileges { node.attributes.mode &= ~0o4000 }
            return end - start
        }
    }

    func synchronize(_ request: FuseRequest, node: UInt64, handle: UInt64?, dataOnly: Bool) throws(Errno) {}
    func synchronizeAll(_ request: FuseRequest, node: UInt64) throws(Errno) {}

    func allocate(
        _ request: FuseRequest, node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, byteCount: UInt64
    ) throws(Errno) {
        throw .notSupported
    }

    func seek(
        _ request: FuseRequest, node: UInt64, handle: UInt64, from offset: UInt64, whence: Int32
    ) throws(Errno) -> UInt64 {
        try self.node(node) { node in whence == clinux_seek_data ? offset : UInt64(node.contents.count) }
    }

    func copyRange(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, to target: UInt64,
        targetHandle: UInt64, targetOffset: UInt64, byteCount: UInt64
    ) throws(Errno) -> Int {
        throw .improperLink
    }

    func poll(
        _ request: FuseRequest, node: UInt64, handle: UInt64, events: UInt32, wakeHandle: UInt64?
    ) throws(Errno) -> UInt32 {
        UInt32(POLLIN | POLLOUT)
    }

    func readDirectory(
        _ request: FuseRequest, node: UInt64, handle: UInt64, from position: UInt64, byteCount: Int,
        withAttributes: Bool, _ body: (borrowing FuseDirectoryEntry) -> Bool
    ) throws(Errno) {
        let list: [([UInt8], NodeAttributes)] = try state.withLock { state throws(Errno) in
            guard let directory = state.nodes[node] else { throw .noSuchFileOrDirectory }
            let own = [([UInt8](".".utf8), directory.attributes), ([UInt8]("..".utf8), directory.attributes)]
            let others = directory.entries.sorted { $0.value < $1.value }
            return own + others.compactMap { name, id in state.nodes[id].map { (name, $0.attributes) } }
        }
        for (index, (name, attributes)) in list.enumerated().dropFirst(Int(position)) {
            let entry = unsafe FuseDirectoryEntry(
                name: name.span.bytes, attributes: attributes, next: UInt64(index + 1))
            if !body(entry) { return }
        }
    }

    func statistics(_ request: FuseRequest, node: UInt64) throws(Errno) -> FileSystemFigures {
        FileSystemFigures(blocks: 1000, freeBlocks: 500, availableBlocks: 400, maximumName: 252)
    }

    func extendedAttribute(
        _ request: FuseRequest, node: UInt64, name: RawSpan, limit: Int, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let name = bytes(name)
        let value = try self.node(node) { node in node.extended[name] }
        guard let value else { throw .noData }
        unsafe value.withUnsafeBytes { unsafe reply($0) }
    }

    func setExtendedAttribute(
        _ request: FuseRequest, node: UInt64, name: RawSpan, value: RawSpan, flags: UInt32, clearsGroupPrivilege: Bool
    ) throws(Errno) {
        let (name, value) = (bytes(name), bytes(value))
        try self.node(node) { node in node.extended[name] = value }
    }

    func listExtendedAttributes(
        _ request: FuseRequest, node: UInt64, limit: Int, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let names = try self.node(node) { node in node.extended.keys.reduce(into: []) { $0 += $1 + [0] } }
        unsafe names.withUnsafeBytes { unsafe reply($0) }
    }

    func removeExtendedAttribute(_ request: FuseRequest, node: UInt64, name: RawSpan) throws(Errno) {
        let name = bytes(name)
        let old = try self.node(node) { node in node.extended.removeValue(forKey: name) }
        if old == nil { throw .noData }
    }

    func control(
        _ request: FuseRequest, node: UInt64, handle: UInt64, command: UInt32, input: RawSpan, outputByteCount: Int,
        _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) -> Int32 {
        throw .inappropriateIOCTLForDevice
    }
}

/// A span's bytes.
func bytes(_ span: RawSpan) -> [UInt8] {
    unsafe span.withUnsafeBytes { unsafe [UInt8]($0) }
}
