import DiskFormat
import Platform
import RedoxFS
import SystemPackage

/// Bytes of a name as text, for messages.
struct Text: CustomStringConvertible {
    let description: String
    init(_ bytes: [UInt8]) { description = "'\(String(decoding: bytes, as: UTF8.self))'" }
}

/// Names, links and directories.
extension Driver {
    /// What looking for `name` in `parent` to act on an existing entry must give.
    private func expectParent(_ parent: NodeID, _ name: [UInt8]) -> Expectation {
        guard let node = model.nodes[parent] else {
            return .failure([Errno.noSuchFileOrDirectory.rawValue, Errno.staleNFSFileHandle.rawValue])
        }
        guard node.kind == .directory else { return .failure([Errno.notDirectory.rawValue]) }
        if name.count > 252 { return .failure([Errno.fileNameTooLong.rawValue]) }
        return .success
    }

    func expectNew(_ parent: NodeID, _ name: [UInt8]) -> Expectation {
        if case .failure(let numbers) = expectParent(parent, name) { return .failure(numbers) }
        return model.nodes[parent]?.entries[name] == nil ? .success : .failure([Errno.fileExists.rawValue])
    }

    private func expectExisting(_ parent: NodeID, _ name: [UInt8]) -> Expectation {
        if case .failure(let numbers) = expectParent(parent, name) { return .failure(numbers) }
        return model.nodes[parent]?.entries[name] != nil ? .success : .failure([Errno.noSuchFileOrDirectory.rawValue])
    }

    mutating func add(
        _ made: Attributes, _ parent: NodeID, _ name: [UInt8], _ kind: NodeKind, _ mode: UInt16, device: UInt32,
        target: [UInt8], _ context: RequestContext
    ) throws {
        var node = newNode(parent, kind, mode, context)
        node.target = target
        if kind == .characterDevice || kind == .blockDevice { node.device = device }
        try hold(model.nodes[made.node] == nil, "node \(made.node) was handed out twice")
        model.add(made.node, node, parent: parent, name: name, time: context.time)
        try compare(made, node)
    }

    /// POSIX: the caller's ids, but the directory's group (and for directories the bit itself) if that has set-group-id.
    private func newNode(_ parent: NodeID, _ kind: NodeKind, _ mode: UInt16, _ context: RequestContext) -> ModelNode {
        let directory = model.nodes[parent]
        let inherits = (directory?.mode ?? 0) & 0o2000 != 0
        return ModelNode(
            kind: kind, mode: mode | (inherits && kind == .directory ? 0o2000 : 0), uid: context.uid,
            gid: inherits ? directory?.gid ?? 0 : context.gid, atime: context.time, mtime: context.time,
            ctime: context.time)
    }

    mutating func unnamed(_ parent: NodeID, _ mode: UInt16, _ context: inout RequestContext) throws {
        let expectation = model.isDirectory(parent) ? Expectation.success : .failure([Errno.notDirectory.rawValue])
        let made = try call("unnamed in \(parent)", expectation) {
            let made = try $0.createUnnamed(parent, mode: mode, &context)
            try $0.open(made.node)
            return made
        }
        guard let made else { return }
        var node = newNode(parent, .file, mode, context)
        node.links = 0
        node.opens = 1
        model.nodes[made.node] = node
        try compare(made, node)
    }

    mutating func link(_ id: NodeID, _ parent: NodeID, _ name: [UInt8], _ context: inout RequestContext) throws {
        var expectation = expectNew(parent, name)
        if model.isDirectory(id) {
            var numbers: Set = [Errno.notPermitted.rawValue]
            if case .failure(let others) = expectation { numbers.formUnion(others) }
            expectation = .failure(numbers)
        }
        let linked = try call("link \(id) as \(Text(name)) in \(parent)", expectation) {
            try $0.link(id, parent, name.rawBytes, &context)
        }
        guard let linked else { return }
        model.link(id, parent: parent, name: name, time: context.time)
        if let node = model.nodes[id] { try compare(linked, node) }
    }

    mutating func remove(_ parent: NodeID, _ name: [UInt8], directory: Bool, _ context: inout RequestContext) throws {
        var expectation = expectExisting(parent, name)
        if case .success = expectation, let id = model.nodes[parent]?.entries[name], let node = model.nodes[id] {
            if directory != (node.kind == .directory) {
                expectation = .failure([(directory ? Errno.notDirectory : Errno.isDirectory).rawValue])
            } else if directory, !node.entries.isEmpty {
                expectation = .failure([Errno.directoryNotEmpty.rawValue])
            }
        }
        let done: Void? = try call("remove \(Text(name)) in \(parent)", expectation) {
            if directory {
                try $0.removeDirectory(parent, name.rawBytes, &context)
            } else {
                try $0.unlink(parent, name.rawBytes, &context)
            }
        }
        if done != nil { model.remove(parent: parent, name: name, time: context.time) }
    }

    mutating func rename(
        _ parent: NodeID, _ name: [UInt8], _ newParent: NodeID, _ newName: [UInt8], _ flags: RenameFlags,
        _ context: inout RequestContext
    ) throws {
        let expectation = expectRename(parent, name, newParent, newName, flags)
        let what = "rename \(Text(name)) in \(parent) to \(Text(newName)) in \(newParent) \(flags)"
        let done: Void? = try call(what, expectation) {
            try $0.rename(parent, name.rawBytes, newParent, newName.rawBytes, flags: flags, &context)
        }
        guard done != nil else { return }
        model.rename(parent, name, newParent, newName, exchange: flags.contains(.exchange), time: context.time)
    }

    /// Every errno that rename(2) may give here: where several faults meet, POSIX leaves the order open.
    private func expectRename(
        _ parent: NodeID, _ name: [UInt8], _ newParent: NodeID, _ newName: [UInt8], _ flags: RenameFlags
    ) -> Expectation {
        var faults: Set<Int32> = []
        if case .failure(let numbers) = expectExisting(parent, name) { faults.formUnion(numbers) }
        if case .failure(let numbers) = expectParent(newParent, newName) { faults.formUnion(numbers) }
        guard faults.isEmpty, let id = model.nodes[parent]?.entries[name], let node = model.nodes[id] else {
            return .failure(faults)
        }
        let replacedID = model.nodes[newParent]?.entries[newName]
        let replaced = replacedID.flatMap { model.nodes[$0] }
        if flags.contains(.noReplace), replaced != nil { faults.insert(Errno.fileExists.rawValue) }
        if flags.contains(.exchange), replaced == nil { faults.insert(Errno.noSuchFileOrDirectory.rawValue) }
        if node.kind == .directory, model.isWithin(newParent, id) { faults.insert(Errno.invalidArgument.rawValue) }
        if let replacedID, let replaced {
            if flags.contains(.exchange) {
                if replaced.kind == .directory, model.isWithin(parent, replacedID) {
                    faults.insert(Errno.invalidArgument.rawValue)
                }
            } else if replacedID != id {
                if replaced.kind == .directory {
                    if node.kind != .directory { faults.insert(Errno.isDirectory.rawValue) }
                    if !replaced.entries.isEmpty {
                        faults.insert(Errno.directoryNotEmpty.rawValue)
                        faults.insert(Errno.fileExists.rawValue)
                    }
                } else if node.kind == .directory {
                    faults.insert(Errno.notDirectory.rawValue)
                }
            }
        }
        return faults.isEmpty ? .success : .failure(faults)
    }

    mutating func lookup(_ parent: NodeID, _ name: [UInt8]) throws {
        let found = try call("lookup \(Text(name)) in \(parent)", expectExisting(parent, name)) {
            try $0.lookup(parent, name.rawBytes)
        }
        guard let found, let id = model.nodes[parent]?.entries[name], let node = model.nodes[id] else { return }
        try hold(found.node == id, "lookup \(Text(name)) gave node \(found.node), expected \(id)")
        try compare(found, node)
    }

    mutating func open(_ id: NodeID) throws {
        let done: Void? = try call("open \(id)", .success) { try $0.open(id) }
        if done != nil { model.nodes[id]?.opens += 1 }
    }

    mutating func close(_ id: NodeID, _ context: inout RequestContext) throws {
        let done: Void? = try call("close \(id)", .success) { try $0.close(id, &context) }
        if done != nil { model.close(id) }
    }

    mutating func list(_ id: NodeID) throws {
        let expectation = model.isDirectory(id) ? Expectation.success : .failure([Errno.notDirectory.rawValue])
        let names = try call("readdir \(id)", expectation) { try entries(of: id, in: $0, atATime: 3) }
        guard let names, let node = model.nodes[id] else { return }
        try hold(
            names == node.entries, "readdir of \(id) differs: \(names.count) entries, expected \(node.entries.count)")
    }
}

/// All entries of a directory, taken a few at a time, each next call going on at the position of the last.
func entries(of directory: NodeID, in fileSystem: FileSystem, atATime: Int) throws -> [[UInt8]: NodeID] {
    var result: [[UInt8]: NodeID] = [:]
    var position = DirectoryPosition.start
    var isComplete = false
    while !isComplete {
        var taken: [DirectoryEntry] = []
        try fileSystem.readDirectory(directory, from: position) { entry in
            taken.append(entry)
            return taken.count < atATime
        }
        for entry in taken where result.updateValue(entry.node, forKey: entry.name) != nil {
            throw Disagreement(description: "readdir of \(directory) gave \(Text(entry.name)) twice")
        }
        isComplete = taken.count < atATime
        if let last = taken.last { position = last.next }
    }
    return result
}
