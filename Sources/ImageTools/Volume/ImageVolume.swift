import BlockDevice
import DiskFormat
import Platform
import RedoxFS

/// A file system in an image, open through the engine.
public final class ImageVolume {
    /// The engine.
    public let fileSystem: FileSystem
    /// How messages call the image.
    public let name: String
    private static let maximumLinkDepth = 40

    /// A volume that is open already.
    public init(_ fileSystem: FileSystem, name: String) {
        self.fileSystem = fileSystem
        self.name = name
    }

    /// Opens the file system on a device.
    public convenience init(
        _ device: any BlockDevice, name: String, options: OpenOptions
    ) throws(ToolFailure) {
        do throws(FileSystemError) {
            self.init(try FileSystem(opening: device, options: options), name: name)
        } catch {
            throw .fileSystem(error, "open", name)
        }
    }

    /// Writes what is not yet written and closes.
    public func close() throws(ToolFailure) {
        do throws(FileSystemError) {
            try fileSystem.close()
        } catch {
            throw .fileSystem(error, "write", name)
        }
    }

    /// The node that a path leads to. Links on the way are followed, inside the image; the last one only if wanted.
    public func resolve(_ path: String, followingLast: Bool = true) throws(ToolFailure) -> Attributes {
        do throws(FileSystemError) {
            return try walk(Self.components(path), followingLast: followingLast)
        } catch {
            throw .fileSystem(error, "find", "\(path) in \(name)")
        }
    }

    /// The directory that a path's last name lies in, and that name.
    public func resolveParent(_ path: String) throws(ToolFailure) -> (parent: NodeID, name: [UInt8]) {
        var components = Self.components(path)
        guard let last = components.popLast(), last != [0x2E], last != [0x2E, 0x2E] else {
            throw ToolFailure("\(path): not a name in a directory")
        }
        do throws(FileSystemError) {
            let parent = try walk(components, followingLast: true)
            guard parent.kind == .directory else { throw .notDirectory }
            return (parent.node, last)
        } catch {
            throw .fileSystem(error, "find the directory of", "\(path) in \(name)")
        }
    }

    /// The entries of a directory, sorted by name.
    public func entries(_ directory: NodeID) throws(FileSystemError) -> [DirectoryEntry] {
        var entries: [DirectoryEntry] = []
        try fileSystem.readDirectory(directory, from: .start) { entry in
            entries.append(entry)
            return true
        }
        return entries.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }

    /// The content of a node with a name, following links.
    private func walk(_ path: [[UInt8]], followingLast: Bool) throws(FileSystemError) -> Attributes {
        var rest = Array(path.reversed())
        var parents: [NodeID] = []
        var current = try fileSystem.attributes(.root)
        var followed = 0
        while let name = rest.popLast() {
            guard current.kind == .directory else { throw .notDirectory }
            if name == [0x2E] { continue }
            if name == [0x2E, 0x2E] {
                current = try fileSystem.attributes(parents.popLast() ?? .root)
                continue
            }
            let next = try fileSystem.lookup(current.node, name.rawBytes)
            if next.kind == .symbolicLink && (followingLast || !rest.isEmpty) {
                followed += 1
                guard followed <= Self.maximumLinkDepth else { throw .invalidArgument("too many symbolic links") }
                let target = try fileSystem.readSymbolicLink(next.node)
                if target.first == 0x2F {
                    parents = []
                    current = try fileSystem.attributes(.root)
                }
                rest += Self.components(target).reversed()
                continue
            }
            parents.append(current.node)
            current = next
        }
        return current
    }

    static func components(_ path: String) -> [[UInt8]] { components(Array(path.utf8)) }

    private static func components(_ path: [UInt8]) -> [[UInt8]] {
        path.split(separator: 0x2F).map { Array($0) }
    }
}

extension ToolFailure {
    /// The file system refused something.
    public static func fileSystem(
        _ error: FileSystemError, _ doing: String, _ what: String, concernsOneEntry: Bool = false
    ) -> ToolFailure {
        var advice: String?
        switch error {
        case .wrongPassword: advice = "Give the right one on the terminal or with --password-file."
        case .notEncrypted: advice = "Leave the password out."
        case .corrupt: advice = "`saltbridge fsck` says what else is damaged, and what can be saved."
        case .noSpace: advice = "`saltbridge resize` makes an image larger."
        case .noFileSystem:
            advice = "Is it the right file? `saltbridge mkfs` would make a new one and lose what is there."
        case .noGeneration: advice = "`saltbridge history` lists those that can be read in full."
        default: break
        }
        var isCorruption = false
        if case .corrupt = error { isCorruption = true }
        return ToolFailure(
            "cannot \(doing) \(what): \(error)", advice: advice, concernsOneEntry: concernsOneEntry,
            isCorruption: isCorruption)
    }
}
