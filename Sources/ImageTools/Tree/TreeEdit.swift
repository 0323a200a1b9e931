import DiskFormat
import RedoxFS

/// Small changes of the tree in an image: mkdir, rm, mv.
public struct TreeEdit {
    private let volume: ImageVolume
    private let now: Timespec

    /// - Parameter now: the time that is noted.
    public init(_ volume: ImageVolume, now: Timespec) {
        self.volume = volume
        self.now = now
    }

    /// Makes a directory.
    ///
    /// - Parameter withParents: make missing directories on the way, and accept one that exists.
    /// - Returns: the directory.
    @discardableResult
    public func makeDirectory(_ path: String, mode: UInt16, withParents: Bool) throws(ToolFailure) -> NodeID {
        if withParents {
            var node = NodeID.root
            var shown = ""
            for name in ImageVolume.components(path) {
                shown += "/" + ToolFailure.display(name)
                if let existing = try find(shown) {
                    node = existing
                } else {
                    node = try make(node, name, mode, shown)
                }
            }
            return node
        }
        let (parent, name) = try volume.resolveParent(path)
        return try make(parent, name, mode, path)
    }

    /// Removes a file, or a directory.
    ///
    /// - Parameters:
    ///   - recursively: with all that is in it.
    ///   - ignoringMissing: what doesn't exist is no error.
    ///   - progress: called with the number of entries that are gone.
    /// - Returns: how many entries were removed.
    public func remove(
        _ path: String, recursively: Bool, ignoringMissing: Bool, progress: (Int) -> Void = { _ in }
    ) throws(ToolFailure) -> Int {
        if path.isEmpty { throw ToolFailure("an empty path names nothing in \(volume.name)") }
        if ImageVolume.components(path).isEmpty {
            throw ToolFailure("\(path) in \(volume.name) can't be removed: it is the root")
        }
        do throws(FileSystemError) {
            let (parent, name) = try located(path)
            let attributes = try volume.fileSystem.lookup(parent, name.rawBytes)
            if attributes.kind != .directory {
                try unlink(parent, name)
                return 1
            }
            guard recursively else { throw .isDirectory }
            return try removeTree(parent, name, attributes.node, progress)
        } catch {
            if ignoringMissing && error == .notFound { return 0 }
            var failure = ToolFailure.fileSystem(error, "remove", "\(path) in \(volume.name)")
            if error == .isDirectory { failure.advice = "-r removes it with all that is in it." }
            throw failure
        }
    }

    /// Moves an entry.
    ///
    /// - Parameter destination: the new path; if it is a directory, the entry goes into it under its old name.
    /// - Returns: the new path.
    public func move(_ source: String, to destination: String, replacing: Bool) throws(ToolFailure) -> String {
        let (parent, name) = try volume.resolveParent(source)
        var place = destination
        if ImageVolume.components(destination).isEmpty || (try? volume.resolve(destination))?.kind == .directory {
            place += (place.hasSuffix("/") ? "" : "/") + String(decoding: name, as: UTF8.self)
        }
        let (newParent, newName) = try volume.resolveParent(place)
        do throws(FileSystemError) {
            var context = RequestContext(time: now)
            try volume.fileSystem.rename(
                parent, name.rawBytes, newParent, newName.rawBytes, flags: replacing ? [] : .noReplace, &context)
        } catch {
            throw .fileSystem(error, "move", "\(source) to \(place) in \(volume.name)")
        }
        return place
    }

    private func located(_ path: String) throws(FileSystemError) -> (NodeID, [UInt8]) {
        do throws(ToolFailure) {
            return try volume.resolveParent(path)
        } catch {
            throw .notFound
        }
    }

    private func find(_ path: String) throws(ToolFailure) -> NodeID? {
        guard let found = try? volume.resolve(path) else { return nil }
        guard found.kind == .directory else { throw ToolFailure("\(path) in \(volume.name) is not a directory") }
        return found.node
    }

    private func make(
        _ parent: NodeID, _ name: [UInt8], _ mode: UInt16, _ path: String
    ) throws(ToolFailure) -> NodeID {
        do throws(FileSystemError) {
            var context = RequestContext(time: now)
            return try volume.fileSystem.create(
                parent, name.rawBytes, kind: .directory, mode: mode, device: 0, &context
            ).node
        } catch {
            throw .fileSystem(error, "make the directory", "\(path) in \(volume.name)")
        }
    }

    private func unlink(_ parent: NodeID, _ name: [UInt8]) throws(FileSystemError) {
        var context = RequestContext(time: now)
        try volume.fileSystem.unlink(parent, name.rawBytes, &context)
    }

    /// Removes a directory from the deepest entries up. Not recursive: directories may be nested deeper than a stack.
    private func removeTree(
        _ parent: NodeID, _ name: [UInt8], _ node: NodeID, _ progress: (Int) -> Void
    ) throws(FileSystemError) -> Int {
        struct Frame {
            let parent: NodeID
            let name: [UInt8]
            let node: NodeID
            var entries: [DirectoryEntry]
        }
        var removed = 0
        var stack = [Frame(parent: parent, name: name, node: node, entries: try volume.entries(node))]
        while let frame = stack.last {
            guard let entry = frame.entries.last else {
                var context = RequestContext(time: now)
                try volume.fileSystem.removeDirectory(frame.parent, frame.name.rawBytes, &context)
                stack.removeLast()
                removed += 1
                continue
            }
            stack[stack.count - 1].entries.removeLast()
            if try volume.fileSystem.attributes(entry.node).kind == .directory {
                guard !stack.contains(where: { $0.node == entry.node }) else {
                    throw .invalidArgument("the directory contains itself")
                }
                stack.append(
                    Frame(
                        parent: frame.node, name: entry.name, node: entry.node,
                        entries: try volume.entries(entry.node)))
            } else {
                try unlink(frame.node, entry.name)
                removed += 1
                progress(removed)
            }
        }
        return removed
    }
}
