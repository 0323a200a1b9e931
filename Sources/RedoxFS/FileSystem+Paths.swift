import DiskFormat

// Names and paths as strings: for command line tools and tests. Servers use the calls with raw names.
extension FileSystem {
    /// The node of a path from the root, or from another directory. Empty parts and "." are skipped, ".." is the parent;
    /// symbolic links are not followed.
    public func resolve(_ path: String, from start: NodeID = .root) throws(FileSystemError) -> Attributes {
        var current = try attributes(start)
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            let name = Array(part)
            if name == Array(".".utf8) { continue }
            if name == Array("..".utf8) {
                current = try attributes(try parent(of: current.node))
            } else {
                current = try lookup(current.node, name.rawBytes)
            }
        }
        return current
    }

    /// The directory and the last name of a path.
    public func resolveParent(
        _ path: String, from start: NodeID = .root
    ) throws(FileSystemError) -> (parent: NodeID, name: String) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true)
        guard let last = parts.last else { throw .invalidName }
        let parent = try resolve(parts.dropLast().joined(separator: "/"), from: start)
        return (parent.node, String(last))
    }

    /// As `lookup`, with a name as a string.
    public func lookup(_ parent: NodeID, _ name: String) throws(FileSystemError) -> Attributes {
        try lookup(parent, Array(name.utf8).rawBytes)
    }

    /// As `create`, with a name as a string.
    @discardableResult
    public func create(
        _ parent: NodeID, _ name: String, kind: NodeKind = .file, mode: UInt16 = 0o644, device: UInt32 = 0,
        _ context: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        try create(parent, Array(name.utf8).rawBytes, kind: kind, mode: mode, device: device, &context)
    }

    /// As `createSymbolicLink`, with strings.
    @discardableResult
    public func createSymbolicLink(
        _ parent: NodeID, _ name: String, target: String, _ context: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        try createSymbolicLink(parent, Array(name.utf8).rawBytes, target: Array(target.utf8).rawBytes, &context)
    }

    /// As `link`, with a name as a string.
    @discardableResult
    public func link(
        _ node: NodeID, _ parent: NodeID, _ name: String, _ context: inout RequestContext
    ) throws(FileSystemError) -> Attributes {
        try link(node, parent, Array(name.utf8).rawBytes, &context)
    }

    /// As `unlink`, with a name as a string.
    public func unlink(
        _ parent: NodeID, _ name: String, _ context: inout RequestContext
    ) throws(FileSystemError) {
        try unlink(parent, Array(name.utf8).rawBytes, &context)
    }

    /// As `removeDirectory`, with a name as a string.
    public func removeDirectory(
        _ parent: NodeID, _ name: String, _ context: inout RequestContext
    ) throws(FileSystemError) {
        try removeDirectory(parent, Array(name.utf8).rawBytes, &context)
    }

    /// As `rename`, with names as strings.
    public func rename(
        _ parent: NodeID, _ name: String, _ newParent: NodeID, _ newName: String, flags: RenameFlags = [],
        _ context: inout RequestContext
    ) throws(FileSystemError) {
        try rename(
            parent, Array(name.utf8).rawBytes, newParent, Array(newName.utf8).rawBytes, flags: flags, &context)
    }

    /// Part of a file as an array; shorter than `count` at the end of the file.
    public func read(_ node: NodeID, at offset: UInt64 = 0, count: Int) throws(FileSystemError) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        let done = try result.withMutableRawBytes { (bytes) throws(FileSystemError) -> Int in
            try read(node, at: offset, into: &bytes)
        }
        result.removeLast(count - done)
        return result
    }

    /// As `write`, with an array.
    @discardableResult
    public func write(
        _ node: NodeID, at offset: UInt64 = 0, _ bytes: [UInt8], _ context: inout RequestContext
    ) throws(FileSystemError) -> Int {
        try write(node, at: offset, bytes.rawBytes, &context)
    }

    /// All entries of a directory, in its order.
    public func entries(of directory: NodeID) throws(FileSystemError) -> [DirectoryEntry] {
        var result: [DirectoryEntry] = []
        try readDirectory(directory, from: .start) { entry in
            result.append(entry)
            return true
        }
        return result
    }
}
