import DiskFormat
import Platform
import RedoxFS

/// Lists everything in an image, one JSON object per entry, sorted by path.
///
/// Members: path, type (dir, file, symlink, fifo, socket, char, block), mode (octal), uid, gid, links (as stored: 1 for a
/// directory), size, mtime, ctime (as stored: the time of creation), atime (each "seconds.nanoseconds"), node, and sha256
/// of a file's content or target of a symbolic link. The digest of a file of more than 16 GiB that is mostly holes is null, and
/// so is what can't be read.
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
    private let salvages: Bool
    private let warn: (String) -> Void
    private let buffer = AlignedBuffer(byteCount: 1 << 20)

    /// Of an open image.
    ///
    /// - Parameters:
    ///   - salvages: whether entries with damaged metadata are left out with a warning; without, they end the listing.
    ///   - warn: called for what can't be read. Lost content is a warning either way.
    public init(_ volume: ImageVolume, salvages: Bool = false, warn: @escaping (String) -> Void = { _ in }) {
        self.volume = volume
        self.salvages = salvages
        self.warn = warn
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
                let failure = ToolFailure.fileSystem(error, "read", ToolFailure.display(item.path))
                guard salvages else { throw failure }
                warn(failure.message)
                continue
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
            ("path", .text(path)), ("type", .string(attributes.kind.word)),
            ("mode", .string(String(attributes.mode, radix: 8))), ("uid", .unsigned(UInt64(attributes.uid))),
            ("gid", .unsigned(UInt64(attributes.gid))), ("links", .unsigned(UInt64(attributes.storedLinks))),
            ("size", .unsigned(attributes.size)), ("mtime", .string(Self.time(attributes.mtime))),
            ("ctime", .string(Self.time(attributes.btime))), ("atime", .string(Self.time(attributes.atime))),
            ("node", .unsigned(UInt64(attributes.node.rawValue))),
        ]
        do throws(FileSystemError) {
            switch attributes.kind {
            case .file:
                let extents = try volume.extents(attributes.node, size: attributes.size)
                members.append(("sha256", try digest(path, attributes, extents)))
            case .symbolicLink:
                members.append(("target", .text(try volume.fileSystem.readSymbolicLink(attributes.node))))
            default: break
            }
        } catch {
            let failure = ToolFailure.fileSystem(error, "read", ToolFailure.display(path))
            guard salvages else { throw failure }
            warn(failure.message)
            members.append((attributes.kind == .file ? "sha256" : "target", .null))
        }
        return .object(members)
    }

    private func digest(
        _ path: [UInt8], _ attributes: Attributes, _ extents: [Range<UInt64>]
    ) throws(FileSystemError) -> JSONValue {
        if attributes.size > Self.maximumSparseSize && SparseMap.byteCount(extents) < attributes.size / 2 {
            return .null
        }
        let digest = SHA256()
        var position: UInt64 = 0
        var losses = LostContent()
        for extent in extents {
            do throws(ContentFailure) {
                try volume.readContent(attributes.node, extent, through: buffer) { offset, bytes in
                    digest.updateZeros(offset - position)
                    digest.update(bytes)
                    position = offset + UInt64(bytes.byteCount)
                } lost: { range, error in
                    losses.add(range, error)
                }
            } catch {
                if case .fileSystem(let error) = error { throw error }
            }
        }
        guard losses.ranges.isEmpty else {
            for message in losses.messages(ToolFailure.display(path)) { warn(message) }
            return .null
        }
        digest.updateZeros(attributes.size - position)
        return .string(digest.finish())
    }

    /// Seconds, a point, nine digits. Nanoseconds count forward also before 1970.
    public static func time(_ time: Timespec) -> String {
        let digits = String(time.nanoseconds)
        return "\(time.seconds).\(String(repeating: "0", count: max(0, 9 - digits.count)) + digits)"
    }
}
