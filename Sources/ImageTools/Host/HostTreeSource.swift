import DiskFormat
import Glibc
import Platform
import SystemPackage

/// A directory of the host as a source. Names are visited in sorted order: the same directory gives the same stream.
/// Nothing is followed: a symbolic link is copied as one.
public final class HostTreeSource: TreeSource {
    private struct FileIdentity: Hashable {
        let device: dev_t
        let number: ino_t
    }

    private struct Frame {
        let directory: OwnedFile
        let path: [[UInt8]]
        var names: [[UInt8]]
    }

    private let top: String
    private var stack: [Frame] = []
    private var isStarted = false
    private var links: [FileIdentity: [[UInt8]]] = [:]
    private var openFile: OwnedFile?
    private var current: TreeEntry?
    private let buffer = AlignedBuffer(byteCount: 1 << 18)

    /// - Parameter directory: the directory whose contents are the tree; its own attributes are the top's.
    public init(directory: String) {
        top = directory
    }

    /// Walks on.
    public func next() throws(ToolFailure) -> TreeEntry? {
        openFile = nil
        current = nil
        if !isStarted {
            isStarted = true
            return try start()
        }
        while let frame = stack.last {
            guard let name = frame.names.last else {
                stack.removeLast()
                continue
            }
            stack[stack.count - 1].names.removeLast()
            let entry = try visit(frame.directory, frame.path, name)
            current = entry
            return entry
        }
        return nil
    }

    /// Reads what isn't a hole.
    public func readContent(_ body: (UInt64, RawSpan) throws(ToolFailure) -> Void) throws(ToolFailure) {
        guard let entry = current, let file = openFile else { return }
        let buffer = buffer
        for extent in entry.extents ?? [0..<entry.size] {
            var offset = extent.lowerBound
            while offset < extent.upperBound {
                let wanted = Int(min(UInt64(buffer.byteCount), extent.upperBound - offset))
                let count: Int
                do {
                    var bytes = buffer.mutableBytes(0..<wanted)
                    count = try SystemCall.readAll(file.descriptor.rawValue, at: offset, into: &bytes)
                } catch {
                    throw .system(error, "read", entry.joinedPath, concernsOneEntry: true)
                }
                try body(offset, buffer.bytes(0..<count))
                // The file became shorter while it was read: what is missing reads as zeros.
                if count < wanted { return }
                offset += UInt64(count)
            }
        }
    }

    private func start() throws(ToolFailure) -> TreeEntry {
        do throws(Errno) {
            let directory = OwnedFile(try SystemCall.openUnnoticedAt(AT_FDCWD, Array(top.utf8), O_DIRECTORY))
            let status = try SystemCall.status(directory.descriptor.rawValue)
            var entry = Self.entry([], .directory, status)
            let number = directory.descriptor.rawValue
            entry.attributes = try attributes(number, Array(".".utf8))
            stack = [Frame(directory: directory, path: [], names: try names(number))]
            current = entry
            return entry
        } catch {
            throw .system(error, "read the directory", Array(top.utf8))
        }
    }

    private func visit(
        _ directory: OwnedFile, _ parent: [[UInt8]], _ name: [UInt8]
    ) throws(ToolFailure) -> TreeEntry {
        let number = directory.descriptor.rawValue
        let path = parent + [name]
        do throws(Errno) {
            let status = try SystemCall.statusAt(number, name)
            guard let kind = NodeKind(mode: UInt16(truncatingIfNeeded: status.st_mode)) else {
                throw .invalidArgument
            }
            var entry = Self.entry(path, kind, status)
            if kind != .directory && status.st_nlink > 1 {
                let identity = FileIdentity(device: status.st_dev, number: status.st_ino)
                if let first = links[identity] {
                    entry.hardLink = first
                    return entry
                }
                links[identity] = path
            }
            entry.attributes = try attributes(number, name)
            switch kind {
            case .directory:
                let child = OwnedFile(try SystemCall.openUnnoticedAt(number, name, O_DIRECTORY | O_NOFOLLOW))
                stack.append(
                    Frame(directory: child, path: path, names: try names(child.descriptor.rawValue)))
            case .symbolicLink: entry.target = try SystemCall.readLinkAt(number, name)
            case .file:
                let file = OwnedFile(try SystemCall.openUnnoticedAt(number, name, O_NOFOLLOW | O_NONBLOCK))
                openFile = file
                if UInt64(clamping: status.st_blocks) < entry.size / 512 {
                    entry.extents = try extents(file.descriptor.rawValue, size: entry.size)
                }
            default: break
            }
            return entry
        } catch {
            throw .system(error, "read", Array(path.joined(separator: [0x2F])), concernsOneEntry: true)
        }
    }

    /// The names in reverse order: the next one is the last.
    private func names(_ directory: Int32) throws(Errno) -> [[UInt8]] {
        let names = try SystemCall.directoryNames(consuming: SystemCall.openUnnoticedAt(directory, [0x2E], O_DIRECTORY))
        return names.sorted { $1.lexicographicallyPrecedes($0) }
    }

    private func attributes(_ directory: Int32, _ name: [UInt8]) throws(Errno) -> [ExtendedAttribute] {
        var result: [ExtendedAttribute] = []
        for attribute in try SystemCall.attributeNamesAt(directory, name).sorted(by: {
            $0.lexicographicallyPrecedes($1)
        }) {
            do throws(Errno) {
                let value = try SystemCall.attributeAt(directory, name, attribute)
                result.append(ExtendedAttribute(name: attribute, value: value))
            } catch {
                // Removed meanwhile, or for others' eyes only (trusted.*).
                guard error == .noData || error == .permissionDenied || error == .notPermitted else { throw error }
            }
        }
        return result
    }

    private func extents(_ file: Int32, size: UInt64) throws(Errno) -> [Range<UInt64>]? {
        var result: [Range<UInt64>] = []
        var position: UInt64 = 0
        while position < size {
            do throws(Errno) {
                let data = try SystemCall.seek(file, toDataFrom: position)
                let hole = try SystemCall.seek(file, toHoleFrom: data)
                if data >= size || hole <= data { break }
                result.append(data..<min(hole, size))
                position = hole
            } catch {
                if error == .noSuchAddressOrDevice { break }
                // A file system that knows no holes.
                if error == .invalidArgument { return nil }
                throw error
            }
        }
        return result
    }

    private static func entry(_ path: [[UInt8]], _ kind: NodeKind, _ status: stat) -> TreeEntry {
        var entry = TreeEntry(path: path, kind: kind, mode: UInt16(truncatingIfNeeded: status.st_mode) & 0o7777)
        entry.uid = status.st_uid
        entry.gid = status.st_gid
        entry.size = kind == .file ? UInt64(clamping: status.st_size) : 0
        entry.modified = time(status.st_mtim)
        entry.accessed = time(status.st_atim)
        if kind.isDevice {
            entry.device = DeviceNumber(
                major: SystemCall.major(status.st_rdev), minor: SystemCall.minor(status.st_rdev))
        }
        return entry
    }

    private static func time(_ time: timespec) -> Timespec {
        Timespec(seconds: Int64(time.tv_sec), nanoseconds: UInt32(clamping: time.tv_nsec))
    }
}
