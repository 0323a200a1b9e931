import DiskFormat
import Platform
import RedoxFS

/// A directory of an image as a source, in the order of names.
///
/// Entries that can't be read are reported and left out. Of a file's content what can be read is passed on, the rest is
/// reported with its place.
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
    private let warn: (String) -> Void
    private var stack: [Frame] = []
    private var isStarted = false
    private var links: [NodeID: [[UInt8]]] = [:]
    private var current: (node: NodeID, entry: TreeEntry)?
    private let buffer = AlignedBuffer(byteCount: 1 << 20)

    /// - Parameters:
    ///   - top: the directory whose contents are the tree. Anything else is a tree of one entry.
    ///   - name: the name of that one entry.
    ///   - salvages: whether damaged metadata concerns the entry only; without, it ends the copy.
    ///   - warn: called for what an entry has lost.
    public init(
        _ volume: ImageVolume, top: Attributes, name: [UInt8]? = nil, salvages: Bool = true,
        warn: @escaping (String) -> Void
    ) {
        self.salvages = salvages
        self.warn = warn
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

    /// Reads what isn't a hole and can be read.
    public func readContent(_ body: (UInt64, RawSpan) throws(ToolFailure) -> Void) throws(ToolFailure) {
        guard let (node, entry) = current else { return }
        var losses = LostContent()
        defer { for message in losses.messages(entry.displayPath) { warn(message) } }
        for extent in entry.extents ?? [] {
            do throws(ContentFailure) {
                try volume.readContent(node, extent, through: buffer) { (offset, bytes) throws(ContentFailure) in
                    do throws(ToolFailure) { try body(offset, bytes) } catch { throw .receiver(error) }
                } lost: { range, error in
                    losses.add(range, error)
                }
            } catch {
                switch error {
                case .receiver(let failure): throw failure
                case .fileSystem(let error):
                    throw .fileSystem(error, "read", entry.displayPath, concernsOneEntry: true)
                }
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
        }
        var losses = LostContent()
        do throws(FileSystemError) {
            entry.attributes = try extendedAttributes(attributes.node, entry.displayPath)
            switch attributes.kind {
            case .directory:
                guard !stack.contains(where: { $0.node == attributes.node }) else {
                    throw .invalidArgument("the directory contains itself")
                }
                let entries = try volume.entries(attributes.node)
                stack.append(Frame(node: attributes.node, path: path, entries: entries.reversed()))
            case .symbolicLink: entry.target = try volume.fileSystem.readSymbolicLink(attributes.node)
            case .file where salvages:
                entry.extents = try volume.extents(attributes.node, size: attributes.size) { losses.add($0, $1) }
            case .file: entry.extents = try volume.extents(attributes.node, size: attributes.size)
            default: break
            }
        } catch {
            throw .fileSystem(error, "read", entry.displayPath, concernsOneEntry: canSkip(error))
        }
        for message in losses.messages(entry.displayPath) { warn(message) }
        if attributes.kind != .directory && attributes.storedLinks > 1 { links[attributes.node] = path }
        current = (attributes.node, entry)
        return entry
    }

    private func extendedAttributes(
        _ node: NodeID, _ path: String
    ) throws(FileSystemError) -> [ExtendedAttribute] {
        var result: [ExtendedAttribute] = []
        do throws(FileSystemError) {
            for name in try volume.fileSystem.listExtendedAttributes(node) {
                let value = try volume.fileSystem.extendedAttribute(node, name)
                result.append(ExtendedAttribute(name: name, value: value))
            }
        } catch {
            guard salvages, error.isLoss else { throw error }
            warn("\(path): not all extended attributes can be read: \(error)")
        }
        return result
    }

    private func canSkip(_ error: FileSystemError) -> Bool {
        if salvages { return true }
        if case .corrupt = error { return false }
        return true
    }
}
