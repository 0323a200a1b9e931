import DiskFormat
import RedoxFS

extension Driver {
    /// What stat(2) shows of a node against the model.
    func compare(_ attributes: Attributes, _ node: ModelNode) throws {
        try compareAttributes(attributes, node) { try hold($0, $1()) }
    }
}

/// Holds one node's attributes against the model's.
func compareAttributes(
    _ attributes: Attributes, _ node: ModelNode, _ hold: (Bool, @autoclosure () -> String) throws -> Void
) throws {
    let id = attributes.node
    try hold(attributes.kind == node.kind, "kind of \(id): \(attributes.kind), expected \(node.kind)")
    try hold(attributes.mode == node.mode, "mode of \(id): \(attributes.mode), expected \(node.mode)")
    try hold(attributes.uid == node.uid, "uid of \(id): \(attributes.uid), expected \(node.uid)")
    try hold(attributes.gid == node.gid, "gid of \(id): \(attributes.gid), expected \(node.gid)")
    try hold(attributes.device == node.device, "device of \(id): \(attributes.device), expected \(node.device)")
    try hold(attributes.mtime == node.mtime, "mtime of \(id): \(attributes.mtime), expected \(node.mtime)")
    try hold(attributes.ctime == node.ctime, "ctime of \(id): \(attributes.ctime), expected \(node.ctime)")
    try hold(attributes.atime == node.atime, "atime of \(id): \(attributes.atime), expected \(node.atime)")
    switch node.kind {
    case .file:
        try hold(attributes.size == node.file.size, "size of \(id): \(attributes.size), expected \(node.file.size)")
    case .symbolicLink:
        try hold(
            attributes.size == node.target.count, "size of \(id): \(attributes.size), expected \(node.target.count)")
    default: break
    }
    if node.kind != .directory {
        try hold(attributes.links == node.links, "links of \(id): \(attributes.links), expected \(node.links)")
    }
}

func readBytes(_ fileSystem: FileSystem, _ id: NodeID, _ offset: UInt64, _ count: Int) throws -> [UInt8] {
    try fileSystem.read(id, at: offset, count: count)
}

/// Compares everything below the root: names, attributes, all bytes, extended attributes.
func compareTree(_ fileSystem: FileSystem, _ model: Model) throws {
    func hold(_ condition: Bool, _ what: @autoclosure () -> String) throws {
        if !condition { throw Disagreement(description: what()) }
    }
    for (id, node) in model.nodes {
        let attributes = try fileSystem.attributes(id)
        try compareAttributes(attributes, node, hold)
        switch node.kind {
        case .directory:
            let names = try entries(of: id, in: fileSystem, atATime: 100)
            try hold(names == node.entries, "entries of \(id) differ: \(names.count), expected \(node.entries.count)")
            let subdirectories = UInt32(model.subdirectories(of: id))
            try hold(
                attributes.links == 1 || attributes.links == 2 + subdirectories, "links of \(id): \(attributes.links)")
        case .file: try compareContent(fileSystem, id, node.file)
        case .symbolicLink:
            try hold(try fileSystem.readSymbolicLink(id) == node.target, "target of \(id) differs")
        default: break
        }
        var names: Set<[UInt8]> = []
        for name in try fileSystem.listExtendedAttributes(id) { names.insert(name) }
        try hold(names == Set(node.attributes.keys), "extended attributes of \(id) differ")
        for (name, value) in node.attributes {
            let stored = try fileSystem.extendedAttribute(id, name)
            try hold(stored == value, "extended attribute \(Text(name)) of \(id) differs")
        }
    }
    let statistics = fileSystem.statistics()
    try hold(statistics.freeBlocks <= statistics.totalBlocks, "more blocks free than there are")
}

/// The bytes of a file: all of a small one; of a sparse one the written pages and some of what lies between.
private func compareContent(_ fileSystem: FileSystem, _ id: NodeID, _ file: ModelFile) throws {
    func check(_ offset: UInt64, _ count: Int) throws {
        guard try readBytes(fileSystem, id, offset, count) == file.read(at: offset, count: count) else {
            throw Disagreement(description: "bytes of \(id) from \(offset) differ, size \(file.size)")
        }
    }
    if file.size <= 4 << 20 {
        var offset: UInt64 = 0
        while offset < file.size {
            try check(offset, 1 << 20)
            offset += 1 << 20
        }
        return
    }
    for page in file.writtenPages {
        let start = page * ModelFile.pageSize
        try check(start >= 1000 ? start - 1000 : 0, 6000)
    }
    try check(file.size - 1, 100)
}
