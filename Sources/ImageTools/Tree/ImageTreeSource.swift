import DiskFormat
import Platform
import RedoxFS

/// A directory of an image as a source, in the order of names. Unreadable entries are reported and left out.
public final class ImageTreeSource: TreeSource {
    private struct Frame {
        let node: NodeID
        let path: [[UInt8]]
        var entries: [DirectoryEntry]
    }

    private let volume: ImageVolume
    private let top: Attributes
    private let topName: [UInt8]?
    private let salvages: Bool
    private var stack: [Frame] = []
    private var isStarted = false
    private var links: [NodeID: [[UInt8]]] = [:]
    private var current: (node: NodeID, entry: TreeEntry)?
    private let buffer = AlignedBuffer(byteCount: 1 << 20)

    /// - Parameters:
    ///   - top: the directory whose contents are the tree. Anything else is a tree of one entry.
    ///   - name: the name of that one entry.
    ///   - salvages: whether damaged metadata concerns the entry only; without, it ends the copy.
    public init(_ volume: ImageVolume, top: Attributes, name: [UInt8]? = nil, salvages: Bool = true) {
        self.salvages = salvages
        self.volume = volume
        self.top = top
        topName = top.kind == .directory ? nil : name
    }

    /// Walks on.
    public func next() throws(ToolFailure) -> TreeEntry? {
        current = nil
        if !isStarted {
            isStarted = true
            return try visit(top, topName.map { [$0] } ?? [])
        }
        while let frame = stack.last {
            guard let entry = frame.entries.last else {
                stack.removeLast()
                continue
            }
            stack[stack.count - 1].entries.removeLast()
            let path = frame.path + [entry.name]
            let attributes: Attributes
            do throws(FileSystemError) {
                attributes = try volume.fileSystem.attributes(entry.node)
            } catch {
                throw .fileSystem(
                    error, "read", ToolFailure.display(Array(path.joined(separator: [0x2F]))),
                    concernsOneEntry: canSkip(error))
            }
            return try visit(attributes, path)
        }
        return nil
    }

    /// Reads what isn't a hole.
    public func readContent(_ body: (UInt64, RawSpan) throws(ToolFailure) -> Void) throws(ToolFailure) {
        guard let (node, entry) = current else { return }
        let buffer = buffer
        for extent in entry.extents ?? [] {
            var offset = extent.lowerBound
            while offset < extent.upperBound {
                let wanted = Int(min(UInt64(buffer.byteCount), extent.upperBound - offset))
                let count: Int
                do throws(FileSystemError) {
                    var bytes = buffer.mutableBytes(0..<wanted)
                    count = try volume.fileSystem.read(node, at: offset, into: &bytes)
                } catch {
                    throw .fileSystem(error, "read", entry.displayPath, concernsOneEntry: true)
                }
                if count == 0 { return }
                try body(offset, buffer.bytes(0..<count))
                offset += UInt64(count)
            }
        }
    }

    private func visit(_ attributes: Attributes, _ path: [[UInt8]]) throws(ToolFailure) -> TreeEntry {
        var entry = TreeEntry(path: path, kind: attributes.kind, mode: attributes.mode)
        entry.uid = attributes.uid
        entry.gid = attributes.gid
        entry.size = attributes.kind == .file ? attributes.size : 0
        entry.modified = attributes.mtime
        entry.accessed = attributes.atime
        entry.changed = attributes.ctime
        entry.created = attributes.btime
        entry.device = DeviceNumber(encoded: attributes.device)
        if attributes.kind != .directory && attributes.storedLinks > 1 {
            if let first = links[attributes.node] {
                entry.hardLink = first
                return entry
            }
            links[attributes.node] = path
        }
        do throws(FileSystemError) {
            for name in try volume.fileSystem.listExtendedAttributes(attributes.node) {
                let value = try volume.fileSystem.extendedAttribute(attributes.node, name)
                entry.attributes.append(ExtendedAttribute(name: name, value: value))
            }
            switch attributes.kind {
            case .directory:
                guard !stack.contains(where: { $0.node == attributes.node }) else {
                    throw .invalidArgument("the directory contains itself")
                }
                let entries = try volume.entries(attributes.node)
                stack.append(Frame(node: attributes.node, path: path, entries: entries.reversed()))
            case .symbolicLink: entry.target = try volume.fileSystem.readSymbolicLink(attributes.node)
            case .file: entry.extents = try volume.extents(attributes.node, size: attributes.size)
            default: break
            }
        } catch {
            throw .fileSystem(error, "read", entry.displayPath, concernsOneEntry: canSkip(error))
        }
        current = (attributes.node, entry)
        return entry
    }

    private func canSkip(_ error: FileSystemError) -> Bool {
        if salvages { return true }
        if case .corrupt = error { return false }
        return true
    }
}

extension ImageVolume {
    /// Where a file's data lies, in order; the rest of its size is holes.
    public func extents(_ node: NodeID, size: UInt64) throws(FileSystemError) -> [Range<UInt64>] {
        var result: [Range<UInt64>] = []
        var position: UInt64 = 0
        while position < size {
            do throws(FileSystemError) {
                let data = try fileSystem.seek(node, from: position, .data)
                let hole = try fileSystem.seek(node, from: data, .hole)
                guard data < size, hole > data else { break }
                result.append(data..<min(hole, size))
                position = hole
            } catch {
                if error == .noData { break }
                throw error
            }
        }
        return result
    }
}
