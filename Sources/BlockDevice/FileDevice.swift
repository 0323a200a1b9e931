import Glibc
import Platform
import Synchronization
import SystemPackage

/// A disk image in a file, or a block device.
///
/// Open for writing it holds an exclusive lock (open file description lock, and O_EXCL on a block device), open for
/// reading a shared one: who comes second gets `BlockDeviceError.busy` with the holder's name.
public final class FileDevice: BlockDevice {
    /// What is locked while the device is open.
    public enum Locking: Sendable {
        /// Exclusive for writing, shared for reading.
        case automatic
        /// Nothing: for looking at an image that another program has mounted.
        case none
    }

    /// The path as given.
    public let path: String
    /// Whether the device was opened for writing.
    public let isWritable: Bool
    /// Whether it is a block device rather than a regular file.
    public let isBlockSpecial: Bool
    private let descriptor: OwnedDescriptor
    private let size: Atomic<UInt64>
    /// Whether the lock ends with this object: not if somebody else took it, or holds it, too.
    private let ownsLock: Atomic<Bool>

    /// Opens an existing file or block device.
    public convenience init(
        path: String, writable: Bool, locking: Locking = .automatic
    ) throws(BlockDeviceError) {
        try self.init(path: path, writable: writable, locking: locking, create: nil)
    }

    /// Creates a file of the given size in bytes, or opens what exists and gives it that size (a block device has
    /// its own). The contents of an existing file are kept.
    ///
    /// - Parameter mustBeNew: EEXIST for a file that exists.
    public convenience init(
        creating path: String, byteCount: UInt64, mustBeNew: Bool = false
    ) throws(BlockDeviceError) {
        try self.init(path: path, writable: true, locking: .automatic, create: 0o644, mustBeNew: mustBeNew)
        if !isBlockSpecial && byteCount != self.byteCount { try resize(to: byteCount) }
    }

    /// Takes over a descriptor that somebody else opened and locked: a process that can't open anything itself.
    ///
    /// - Parameter name: for messages.
    public init(
        adopting opened: consuming OwnedDescriptor, name: String, writable: Bool
    ) throws(BlockDeviceError) {
        let type: mode_t
        let count: UInt64
        do {
            let status = try SystemCall.status(opened.rawValue)
            type = status.st_mode & S_IFMT
            count =
                type == S_IFBLK
                ? try SystemCall.blockDeviceByteCount(opened.rawValue) : UInt64(clamping: status.st_size)
        } catch {
            throw .cannotOpen(error, path: name)
        }
        guard type == S_IFREG || type == S_IFBLK else { throw .notADevice(path: name) }
        path = name
        isWritable = writable
        isBlockSpecial = type == S_IFBLK
        descriptor = opened
        size = Atomic(count)
        ownsLock = Atomic(false)
    }

    private init(
        path: String, writable: Bool, locking: Locking, create: mode_t?, mustBeNew: Bool = false
    ) throws(BlockDeviceError) {
        // What it is decides how to open it, and opening a pipe would wait.
        let kind = (try? SystemCall.statusAt(AT_FDCWD, path)).map { $0.st_mode & S_IFMT }
        if let kind, kind != S_IFREG, kind != S_IFBLK { throw .notADevice(path: path) }
        let isBlock = kind == S_IFBLK
        var flags = writable ? O_RDWR : O_RDONLY
        if create != nil && !isBlock { flags |= mustBeNew ? O_CREAT | O_EXCL : O_CREAT }
        if writable && isBlock && locking == .automatic { flags |= O_EXCL }
        let opened: OwnedDescriptor
        do {
            opened = try SystemCall.open(path, flags | O_NONBLOCK, mode: create ?? 0)
        } catch .resourceBusy {
            throw .busy(holder: LockHolder.describe(path: path))
        } catch {
            throw .cannotOpen(error, path: path)
        }
        let type: mode_t
        let count: UInt64
        do {
            let status = try SystemCall.status(opened.rawValue)
            type = status.st_mode & S_IFMT
            count =
                type == S_IFBLK
                ? try SystemCall.blockDeviceByteCount(opened.rawValue) : UInt64(clamping: status.st_size)
        } catch {
            throw .cannotOpen(error, path: path)
        }
        guard type == S_IFREG || type == S_IFBLK else { throw .notADevice(path: path) }
        if locking == .automatic {
            do {
                try SystemCall.lock(opened.rawValue, writable ? .exclusive : .shared)
            } catch {
                guard error == .resourceTemporarilyUnavailable || error == .permissionDenied else {
                    throw .cannotOpen(error, path: path)
                }
                throw .busy(holder: LockHolder.describe(path: path))
            }
        }
        self.path = path
        isWritable = writable
        isBlockSpecial = type == S_IFBLK
        descriptor = opened
        size = Atomic(count)
        ownsLock = Atomic(locking == .automatic)
    }

    deinit {
        // Closing alone would leave the lock to a child process that has not yet called exec.
        if ownsLock.load(ordering: .relaxed) { try? SystemCall.lock(descriptor.rawValue, .none) }
    }

    /// A second descriptor of the same open file, to be handed to another process: the lock goes with it, and holds until the
    /// last descriptor is closed.
    public func duplicateDescriptor() throws(Errno) -> OwnedDescriptor {
        let result = try descriptor.duplicate()
        ownsLock.store(false, ordering: .relaxed)
        return result
    }

    /// The size in bytes.
    public var byteCount: UInt64 { size.load(ordering: .relaxed) }

    /// Fills the buffer; short reads are continued.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        let length = buffer.byteCount
        try checkRange(offset, UInt64(length), .read)
        let count: Int
        do {
            count = try SystemCall.readAll(descriptor.rawValue, at: offset, into: &buffer)
        } catch {
            throw .io(error, offset: offset, length: length, operation: .read)
        }
        if count < length {
            // The file has become shorter than it was when opened.
            throw .io(.ioError, offset: offset + UInt64(count), length: length - count, operation: .read)
        }
    }

    /// Writes the buffers with pwritev(2).
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try checkWritable()
        let length = try checkedLength(at: offset, buffers)
        try checkFile(.write)
        do {
            try SystemCall.writeAll(descriptor.rawValue, at: offset, buffers)
        } catch {
            throw .io(error, offset: offset, length: Int(clamping: length), operation: .write)
        }
    }

    /// Throws EIO if somebody has made the file shorter than it was when it was opened: what lay behind its end is gone, and to write
    /// there would only hide that.
    private func checkFile(_ operation: BlockDeviceError.Operation) throws(BlockDeviceError) {
        guard !isBlockSpecial else { return }
        let now: UInt64
        do {
            now = UInt64(clamping: try SystemCall.status(descriptor.rawValue).st_size)
        } catch {
            throw .io(error, offset: 0, length: 0, operation: operation)
        }
        guard now < byteCount else { return }
        throw .io(.ioError, offset: now, length: Int(clamping: byteCount - now), operation: operation)
    }

    /// fdatasync(2).
    public func flush() throws(BlockDeviceError) {
        if isWritable { try checkFile(.flush) }
        do {
            try SystemCall.synchronizeData(descriptor.rawValue)
        } catch {
            throw .io(error, offset: 0, length: 0, operation: .flush)
        }
    }

    /// Punches a hole, into a file or on a disk that can make zeros by itself.
    public func discard(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        try checkRange(offset, length, .discard)
        if length == 0 { return }
        do {
            try SystemCall.punchHole(descriptor.rawValue, at: offset, byteCount: length)
        } catch .notSupported {
            throw .unsupported(.discard)
        } catch {
            throw .io(error, offset: offset, length: Int(clamping: length), operation: .discard)
        }
    }

    /// Where data is stored at or after a position of a file: what lies between is holes. Nil: there is none.
    public func nextData(from offset: UInt64) throws(BlockDeviceError) -> Range<UInt64>? {
        if offset >= byteCount { return nil }
        do {
            let start = try SystemCall.seek(descriptor.rawValue, toDataFrom: offset)
            return start..<max(start, try SystemCall.seek(descriptor.rawValue, toHoleFrom: start))
        } catch .noSuchAddressOrDevice {
            return nil
        } catch {
            throw .io(error, offset: offset, length: 0, operation: .read)
        }
    }

    /// Changes the length of a file; a block device has the size it has.
    public func resize(to byteCount: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        if isBlockSpecial { throw .unsupported(.resize) }
        do {
            try SystemCall.truncate(descriptor.rawValue, to: byteCount)
            // The new size itself must survive a loss of power.
            try SystemCall.synchronize(descriptor.rawValue)
        } catch {
            throw .io(error, offset: byteCount, length: 0, operation: .resize)
        }
        size.store(byteCount, ordering: .relaxed)
    }
}
