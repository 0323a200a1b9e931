import DiskFormat
import Platform
import RedoxFS

/// Lists everything in an image, one JSON object per entry, sorted by path.
///
/// Members: path, type (dir, file, symlink, fifo, socket, char, block), mode (octal), uid, gid, links (as stored: 1 for a
/// directory), size, mtime, ctime (as stored: the time of creation), atime (each "seconds.nanoseconds"), node, and sha256
/// of a file's content or target of a symbolic link. The digest of a file of more than 16 GiB that is mostly holes is null.
public struct Manifest {
    /// Sparse files beyond this size get no digest: it would take hours of hashing zeros.
    private static let maximumSparseSize: UInt64 = 16 << 30

    /// A line to come: an entry, or what is below a directory.
    private struct Item {
        let path: [UInt8]
        let node: NodeID
        let isSubtree: Bool

        // "a", "a.txt", "a/b": what is below "a" comes where "a/" stands.
        var key: [UInt8] { isSubtree && path.last != 0x2F ? path + [0x2F] : path }
    }

    private let volume: ImageVolume
    private let buffer = AlignedBuffer(byteCount: 1 << 20)

    /// Of an open image.
    public init(_ volume: ImageVolume) {
        self.volume = volume
    }

    /// Lists a node and what is below it.
    ///
    /// - Parameter path: the path that the node has in the listing.
    public func write(
        _ top: Attributes, path: String, _ body: (JSONValue) throws(ToolFailure) -> Void
    ) throws(ToolFailure) {
        let absolute = [0x2F] + Array(ImageVolume.components(path).joined(separator: [0x2F]))
        try body(try line(absolute, top))
        guard top.kind == .directory else { return }
        var stack = [Item(path: absolute, node: top.node, isSubtree: true)]
        var ancestors: [(path: [UInt8], node: NodeID)] = []
        while let item = stack.popLast() {
            let attributes: Attributes
            do throws(FileSystemError) {
                if item.isSubtree {
                    while let last = ancestors.last, !item.key.starts(with: last.path) { ancestors.removeLast() }
                    guard !ancestors.contains(where: { $0.node == item.node }) else {
                        throw .invalidArgument("the directory contains itself")
                    }
                    ancestors.append((item.key, item.node))
                    stack += try children(item)
                    continue
                }
                attributes = try volume.fileSystem.attributes(item.node)
            } catch {
                throw .fileSystem(error, "read", ToolFailure.display(item.path))
            }
            try body(try line(item.path, attributes))
        }
    }

    /// The entries of a directory and the subtrees below them, the first in order last.
    private func children(_ item: Item) throws(FileSystemError) -> [Item] {
        var items: [Item] = []
        for entry in try volume.entries(item.node) {
            let path = item.key + entry.name
            items.append(Item(path: path, node: entry.node, isSubtree: false))
            if entry.kind == .directory { items.append(Item(path: path, node: entry.node, isSubtree: true)) }
        }
        return items.sorted { $1.key.lexicographicallyPrecedes($0.key) }
    }

    private func line(_ path: [UInt8], _ attributes: Attributes) throws(ToolFailure) -> JSONValue {
        var members: [(String, JSONValue)] = [
            ("path", .text(path)), ("type", .string(Self.type(attributes.kind))),
            ("mode", .string(String(attributes.mode, radix: 8))), ("uid", .unsigned(UInt64(attributes.uid))),
            ("gid", .unsigned(UInt64(attributes.gid))), ("links", .unsigned(UInt64(attributes.storedLinks))),
            ("size", .unsigned(attributes.size)), ("mtime", .string(Self.time(attributes.mtime))),
            ("ctime", .string(Self.time(attributes.btime))), ("atime", .string(Self.time(attributes.atime))),
            ("node", .unsigned(UInt64(attributes.node.rawValue))),
        ]
        do throws(FileSystemError) {
            switch attributes.kind {
            case .file: members.append(("sha256", try digest(attributes)))
            case .symbolicLink:
                members.append(("target", .text(try volume.fileSystem.readSymbolicLink(attributes.node))))
            default: break
            }
        } catch {
            throw .fileSystem(error, "read", ToolFailure.display(path))
        }
        return .object(members)
    }

    private func digest(_ attributes: Attributes) throws(FileSystemError) -> JSONValue {
        let extents = try volume.extents(attributes.node, size: attributes.size)
        if attributes.size > Self.maximumSparseSize && SparseMap.byteCount(extents) < attributes.size / 2 {
            return .null
        }
        let digest = SHA256()
        let buffer = buffer
        var position: UInt64 = 0
        for extent in extents {
            digest.updateZeros(extent.lowerBound - position)
            position = extent.lowerBound
            while position < extent.upperBound {
                let wanted = Int(min(UInt64(buffer.byteCount), extent.upperBound - position))
                var bytes = buffer.mutableBytes(0..<wanted)
                let count = try volume.fileSystem.read(attributes.node, at: position, into: &bytes)
                if count == 0 { break }
                digest.update(buffer.bytes(0..<count))
                position += UInt64(count)
            }
        }
        digest.updateZeros(attributes.size - position)
        return .string(digest.finish())
    }

    /// The word for a kind of node.
    public static func type(_ kind: NodeKind) -> String {
        switch kind {
        case .file: "file"
        case .directory: "dir"
        case .symbolicLink: "symlink"
        case .fifo: "fifo"
        case .socket: "socket"
        case .characterDevice: "char"
        case .blockDevice: "block"
        }
    }

    /// Seconds, a point, nine digits. Nanoseconds count forward also before 1970.
    public static func time(_ time: Timespec) -> String {
        let digits = String(time.nanoseconds)
        return "\(time.seconds).\(String(repeating: "0", count: max(0, 9 - digits.count)) + digits)"
    }
}
