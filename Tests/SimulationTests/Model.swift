import DiskFormat
import RedoxFS

/// A node of the model.
struct ModelNode: Equatable {
    var kind: NodeKind
    var mode: UInt16
    var uid: UInt32
    var gid: UInt32
    var device: UInt32 = 0
    var links = 1
    var opens = 0
    var file = ModelFile()
    var target: [UInt8] = []
    var entries: [[UInt8]: NodeID] = [:]
    var attributes: [[UInt8]: [UInt8]] = [:]
    var atime: Timespec
    var mtime: Timespec
    var ctime: Timespec
}

/// What a call must give: success, or one of the error numbers that POSIX allows where several apply.
enum Expectation {
    case success
    case failure(Set<Int32>)
}

/// A file system as a dictionary: what the engine is compared with. It knows no blocks and no commits; a snapshot is a
/// copy of the value.
struct Model: Equatable {
    var nodes: [NodeID: ModelNode]

    init(rootMode: UInt16, uid: UInt32, gid: UInt32, time: Timespec) {
        nodes = [
            .root: ModelNode(
                kind: .directory, mode: rootMode, uid: uid, gid: gid, atime: time, mtime: time, ctime: time)
        ]
    }

    /// What is left after an unmount or a crash: files without a name are gone, nothing is open.
    var settled: Model {
        var model = self
        model.nodes = model.nodes.filter { $0.value.links > 0 }
        for id in model.nodes.keys { model.nodes[id]?.opens = 0 }
        return model
    }

    func isDirectory(_ id: NodeID) -> Bool { nodes[id]?.kind == .directory }

    /// Whether `descendant` is `ancestor` or lies below it.
    func isWithin(_ descendant: NodeID, _ ancestor: NodeID) -> Bool {
        var todo = [ancestor]
        while let id = todo.popLast() {
            if id == descendant { return true }
            for child in nodes[id]?.entries.values ?? [:].values where isDirectory(child) { todo.append(child) }
        }
        return false
    }

    func subdirectories(of id: NodeID) -> Int {
        (nodes[id]?.entries.values ?? [:].values).count { isDirectory($0) }
    }

    // MARK: - Namespace

    mutating func add(_ id: NodeID, _ node: ModelNode, parent: NodeID, name: [UInt8], time: Timespec) {
        nodes[id] = node
        nodes[parent]?.entries[name] = id
        touch(parent, time)
    }

    mutating func link(_ id: NodeID, parent: NodeID, name: [UInt8], time: Timespec) {
        nodes[parent]?.entries[name] = id
        nodes[id]?.links += 1
        nodes[id]?.ctime = time
        touch(parent, time)
    }

    mutating func remove(parent: NodeID, name: [UInt8], time: Timespec) {
        guard let id = nodes[parent]?.entries.removeValue(forKey: name) else { return }
        touch(parent, time)
        drop(id, time: time)
    }

    mutating func rename(
        _ parent: NodeID, _ name: [UInt8], _ newParent: NodeID, _ newName: [UInt8], exchange: Bool, time: Timespec
    ) {
        guard let id = nodes[parent]?.entries[name] else { return }
        let replaced = nodes[newParent]?.entries[newName]
        if replaced == id { return }
        nodes[newParent]?.entries[newName] = id
        nodes[id]?.ctime = time
        touch(newParent, time)
        if exchange, let replaced {
            nodes[parent]?.entries[name] = replaced
            nodes[replaced]?.ctime = time
        } else {
            nodes[parent]?.entries[name] = nil
            if let replaced { drop(replaced, time: time) }
        }
        touch(parent, time)
    }

    mutating func close(_ id: NodeID) {
        nodes[id]?.opens -= 1
        forgetIfUnused(id)
    }

    private mutating func drop(_ id: NodeID, time: Timespec) {
        nodes[id]?.links -= 1
        nodes[id]?.ctime = time
        forgetIfUnused(id)
    }

    private mutating func forgetIfUnused(_ id: NodeID) {
        if let node = nodes[id], node.links == 0, node.opens == 0 { nodes[id] = nil }
    }

    mutating func touch(_ id: NodeID, _ time: Timespec) {
        nodes[id]?.mtime = time
        nodes[id]?.ctime = time
    }
}
