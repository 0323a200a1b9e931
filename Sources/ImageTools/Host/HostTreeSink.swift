import DiskFormat
import Glibc
import Platform
import SystemPackage

/// A directory of the host as a destination. Existing directories are kept and filled, anything else is replaced.
///
/// Names come from images and archives that nobody has checked: each directory on the way is opened by itself, without
/// following links, so nothing is ever written outside.
public final class HostTreeSink: TreeSink {
    private struct Level {
        let name: [UInt8]
        let directory: OwnedFile
    }

    private let top: OwnedFile
    private let isPrivileged = geteuid() == 0
    private var stack: [Level] = []
    private var directories: [TreeEntry] = []
    private var entry: TreeEntry?
    private var file: OwnedFile?
    private let warn: (String) -> Void

    /// - Parameters:
    ///   - directory: made if it doesn't exist.
    ///   - warn: called for attributes that the host doesn't take.
    public init(directory: String, warn: @escaping (String) -> Void) throws(ToolFailure) {
        self.warn = warn
        do throws(Errno) {
            do throws(Errno) {
                try SystemCall.makeDirectoryAt(AT_FDCWD, Array(directory.utf8), mode: 0o755)
            } catch {
                if error != .fileExists { throw error }
            }
            top = OwnedFile(try SystemCall.open(directory, O_RDONLY | O_DIRECTORY))
        } catch {
            throw .system(error, "use the directory", Array(directory.utf8))
        }
    }

    /// Makes the entry with the least permissions; the rest follows at the end.
    public func begin(_ entry: TreeEntry) throws(ToolFailure) {
        self.entry = nil
        file = nil
        guard let name = entry.path.last else {
            directories.append(entry)
            return
        }
        do throws(Errno) {
            for part in entry.path where part.isEmpty || part == [0x2E] || part == [0x2E, 0x2E] || part.contains(0x2F) {
                throw .invalidArgument
            }
            let parent = try open(entry.path.dropLast())
            let number = parent.descriptor.rawValue
            if let first = entry.hardLink {
                guard let firstName = first.last else { throw .invalidArgument }
                let firstParent = try open(first.dropLast())
                try make(number, name) { () throws(Errno) in
                    try SystemCall.linkAt(firstParent.descriptor.rawValue, firstName, number, name)
                }
                return
            }
            switch entry.kind {
            case .directory:
                directories.append(entry)
                do throws(Errno) {
                    try SystemCall.makeDirectoryAt(number, name, mode: 0o700)
                } catch {
                    let existing = try SystemCall.statusAt(number, name)
                    if error != .fileExists || existing.st_mode & S_IFMT != S_IFDIR { throw error }
                }
                return
            case .file:
                try make(number, name) { () throws(Errno) in
                    self.file = OwnedFile(
                        try SystemCall.openAt(
                            number, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600))
                }
            case .symbolicLink:
                try make(number, name) { () throws(Errno) in
                    try SystemCall.makeSymbolicLinkAt(number, name, target: entry.target)
                }
            case .fifo, .socket, .characterDevice, .blockDevice:
                let device = SystemCall.deviceNumber(major: entry.device.major, minor: entry.device.minor)
                try make(number, name) { () throws(Errno) in
                    try SystemCall.makeNodeAt(
                        number, name, mode: mode_t(entry.kind.modeBits) | 0o600, device: device)
                }
            }
            self.entry = entry
        } catch {
            throw .system(error, "make", entry.joinedPath, concernsOneEntry: error != .noSpace)
        }
    }

    /// Writes at the position; holes stay holes.
    public func write(at offset: UInt64, _ bytes: RawSpan) throws(ToolFailure) {
        guard let file, let entry else { return }
        do throws(Errno) {
            var done = 0
            while done < bytes.byteCount {
                done += try SystemCall.write(
                    file.descriptor.rawValue, at: offset + UInt64(done), bytes.extracting(droppingFirst: done))
            }
        } catch {
            throw .system(error, "write", entry.joinedPath)
        }
    }

    /// Sets size, attributes, owner, mode and times.
    public func end() throws(ToolFailure) {
        guard let entry, let name = entry.path.last else { return }
        do throws(Errno) {
            if let file { try SystemCall.truncate(file.descriptor.rawValue, to: entry.size) }
            file = nil
            try apply(entry, try open(entry.path.dropLast()).descriptor.rawValue, name)
        } catch {
            throw .system(error, "set the attributes of", entry.joinedPath, concernsOneEntry: error != .noSpace)
        }
    }

    /// Sets the attributes of directories, the deepest first.
    public func finish() throws(ToolFailure) {
        for entry in directories.sorted(by: { $0.path.count > $1.path.count }) {
            do throws(Errno) {
                let parent = try open(entry.path.dropLast())
                try apply(entry, parent.descriptor.rawValue, entry.path.last ?? [0x2E])
            } catch {
                throw .system(error, "set the attributes of", entry.joinedPath)
            }
        }
        directories = []
    }

    private func apply(_ entry: TreeEntry, _ directory: Int32, _ name: [UInt8]) throws(Errno) {
        // The owner first: changing it drops set-user-id. An ordinary user keeps what is theirs.
        if isPrivileged {
            try SystemCall.changeOwnerAt(directory, name, uid: entry.uid, gid: entry.gid)
        }
        for attribute in entry.attributes {
            do throws(Errno) {
                try SystemCall.setAttributeAt(directory, name, attribute.name, attribute.value)
            } catch {
                warn("\(entry.displayPath): attribute \(ToolFailure.display(attribute.name)) not kept: \(error)")
            }
        }
        if entry.kind != .symbolicLink {
            try SystemCall.changeModeAt(directory, name, mode_t(entry.mode))
        }
        try SystemCall.changeTimesAt(
            directory, name, access: Self.time(entry.accessed ?? entry.modified),
            modification: Self.time(entry.modified))
    }

    /// Makes something; what is in the way is removed, unless it is a directory.
    private func make(
        _ directory: Int32, _ name: [UInt8], _ body: () throws(Errno) -> Void
    ) throws(Errno) {
        do throws(Errno) {
            try body()
        } catch {
            if error != .fileExists { throw error }
            try SystemCall.unlinkAt(directory, name)
            try body()
        }
    }

    /// The directory of a path below the top; the ones on the way stay open for the next entry.
    private func open(_ path: ArraySlice<[UInt8]>) throws(Errno) -> OwnedFile {
        let path = Array(path)
        var common = 0
        while common < min(stack.count, path.count), stack[common].name == path[common] { common += 1 }
        stack.removeLast(stack.count - common)
        for name in path[common...] {
            let parent = stack.last?.directory ?? top
            let child = try SystemCall.openAt(
                parent.descriptor.rawValue, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            stack.append(Level(name: name, directory: OwnedFile(child)))
        }
        return stack.last?.directory ?? top
    }

    private static func time(_ time: Timespec) -> timespec {
        timespec(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
    }
}
