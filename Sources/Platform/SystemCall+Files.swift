import CLinux
import Glibc
import SystemPackage

/// Opening, reading, writing and sizing files. Descriptors are plain numbers here: who owns one passes `rawValue`.
extension SystemCall {
    /// open(2). `O_CLOEXEC` is always added.
    public static func open(_ path: String, _ flags: Int32, mode: mode_t = 0) throws(Errno) -> OwnedDescriptor {
        try openAt(AT_FDCWD, path, flags, mode: mode)
    }

    /// openat(2). `O_CLOEXEC` is always added.
    public static func openAt(
        _ directory: Int32, _ path: String, _ flags: Int32, mode: mode_t = 0
    ) throws(Errno) -> OwnedDescriptor {
        OwnedDescriptor(
            adopting: try retrying { unsafe clinux_openat(directory, path, flags | O_CLOEXEC, mode) })
    }

    /// pread(2): reads up to the buffer's length from `offset` on; returns the count read, 0 at the file's end.
    public static func read(
        _ descriptor: Int32, at offset: UInt64, into buffer: inout MutableRawSpan
    ) throws(Errno) -> Int {
        guard let position = off_t(exactly: offset) else { throw .invalidArgument }
        return try unsafe buffer.withUnsafeMutableBytes { (raw) throws(Errno) -> Int in
            try retrying { unsafe pread(descriptor, raw.baseAddress, raw.count, position) }
        }
    }

    /// Reads with pread(2) until the buffer is full or the file ends; returns the count read.
    public static func readAll(
        _ descriptor: Int32, at offset: UInt64, into buffer: inout MutableRawSpan
    ) throws(Errno) -> Int {
        guard let start = off_t(exactly: offset) else { throw .invalidArgument }
        return try unsafe buffer.withUnsafeMutableBytes { (raw) throws(Errno) -> Int in
            var done = 0
            while done < raw.count {
                let (position, overflow) = start.addingReportingOverflow(done)
                if overflow { throw .invalidArgument }
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: raw[done...])
                let count = try retrying { unsafe pread(descriptor, rest.baseAddress, rest.count, position) }
                if count == 0 { break }
                done += count
            }
            return done
        }
    }

    /// read(2): reads up to the buffer's length; returns the count read, 0 at the end.
    public static func read(_ descriptor: Int32, into buffer: inout MutableRawSpan) throws(Errno) -> Int {
        try unsafe buffer.withUnsafeMutableBytes { (raw) throws(Errno) -> Int in
            try retrying { unsafe Glibc.read(descriptor, raw.baseAddress, raw.count) }
        }
    }

    /// pwrite(2): returns the count written, which may be less than the length.
    public static func write(_ descriptor: Int32, at offset: UInt64, _ bytes: RawSpan) throws(Errno) -> Int {
        guard let position = off_t(exactly: offset) else { throw .invalidArgument }
        return try unsafe bytes.withUnsafeBytes { (raw) throws(Errno) -> Int in
            try retrying { unsafe pwrite(descriptor, raw.baseAddress, raw.count, position) }
        }
    }

    /// write(2): returns the count written, which may be less than the length.
    public static func write(_ descriptor: Int32, _ bytes: RawSpan) throws(Errno) -> Int {
        try unsafe bytes.withUnsafeBytes { (raw) throws(Errno) -> Int in
            try retrying { unsafe Glibc.write(descriptor, raw.baseAddress, raw.count) }
        }
    }

    /// Writes all bytes, however many calls that takes.
    public static func writeAll(_ descriptor: Int32, _ bytes: RawSpan) throws(Errno) {
        var done = 0
        while done < bytes.byteCount {
            let count = try write(descriptor, bytes.extracting(droppingFirst: done))
            if count == 0 { throw .ioError }
            done += count
        }
    }

    /// Reads to the end of a file, a pipe or a terminal. More than `limit` bytes is EFBIG.
    public static func readToEnd(_ descriptor: Int32, limit: Int) throws(Errno) -> [UInt8] {
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16384)
        while true {
            var span = chunk.mutableSpan
            var bytes = unsafe span.mutableBytes
            let count = try read(descriptor, into: &bytes)
            if count == 0 { return result }
            if result.count + count > limit { throw .fileTooLarge }
            result.append(contentsOf: chunk[..<count])
        }
    }

    /// ftruncate(2).
    public static func truncate(_ descriptor: Int32, to byteCount: UInt64) throws(Errno) {
        guard let length = off_t(exactly: byteCount) else { throw .fileTooLarge }
        try retrying { ftruncate(descriptor, length) }
    }

    /// fdatasync(2): data and what is needed to read it back.
    public static func synchronizeData(_ descriptor: Int32) throws(Errno) {
        try retrying { fdatasync(descriptor) }
    }

    /// fsync(2).
    public static func synchronize(_ descriptor: Int32) throws(Errno) {
        try retrying { fsync(descriptor) }
    }

    /// Makes a range of a file or block device a hole that reads as zeros (fallocate(2)); a file keeps its size.
    public static func punchHole(_ descriptor: Int32, at offset: UInt64, byteCount: UInt64) throws(Errno) {
        guard let position = off_t(exactly: offset), let length = off_t(exactly: byteCount) else {
            throw .invalidArgument
        }
        try retrying { clinux_punch_hole(descriptor, position, length) }
    }

    /// Where the next data begins at or after a position (lseek(2), SEEK_DATA); ENXIO: there is none.
    public static func seek(_ descriptor: Int32, toDataFrom offset: UInt64) throws(Errno) -> UInt64 {
        guard let position = off_t(exactly: offset) else { throw .invalidArgument }
        return UInt64(try retrying { clinux_lseek_data(descriptor, position) })
    }

    /// Where the next hole begins at or after a position, at the latest the file's end (lseek(2), SEEK_HOLE).
    public static func seek(_ descriptor: Int32, toHoleFrom offset: UInt64) throws(Errno) -> UInt64 {
        guard let position = off_t(exactly: offset) else { throw .invalidArgument }
        return UInt64(try retrying { clinux_lseek_hole(descriptor, position) })
    }

    /// fstat(2).
    public static func status(_ descriptor: Int32) throws(Errno) -> stat {
        var result = stat()
        try retrying { unsafe fstat(descriptor, &result) }
        return result
    }

    /// fstatat(2). With `AT_SYMLINK_NOFOLLOW` in the flags it is lstat.
    public static func statusAt(_ directory: Int32, _ path: String, flags: Int32 = 0) throws(Errno) -> stat {
        var result = stat()
        try retrying { unsafe fstatat(directory, path, &result, flags) }
        return result
    }

    /// Whether the descriptor is a terminal.
    public static func isTerminal(_ descriptor: Int32) -> Bool {
        isatty(descriptor) == 1
    }

    /// Kinds of a whole-file lock that belongs to the open file description (F_OFD_SETLK).
    public enum FileLock: Sendable {
        /// Others may hold shared locks too. The descriptor must be open for reading.
        case shared
        /// Nobody else may hold a lock. The descriptor must be open for writing.
        case exclusive
        /// Releases the lock.
        case none
    }

    /// Takes, changes or releases the whole file's lock without waiting; EAGAIN or EACCES: another has it.
    public static func lock(_ descriptor: Int32, _ kind: FileLock) throws(Errno) {
        let type =
            switch kind {
            case .shared: F_RDLCK
            case .exclusive: F_WRLCK
            case .none: F_UNLCK
            }
        try retrying { clinux_ofd_lock(descriptor, Int16(type)) }
    }

    /// The size of a block device in bytes (BLKGETSIZE64).
    public static func blockDeviceByteCount(_ descriptor: Int32) throws(Errno) -> UInt64 {
        var result: UInt64 = 0
        try retrying { unsafe clinux_block_device_size(descriptor, &result) }
        return result
    }

    /// Fills the buffer with random bytes of the kernel.
    public static func randomBytes(into buffer: inout MutableRawSpan) throws(Errno) {
        try unsafe buffer.withUnsafeMutableBytes { (raw) throws(Errno) -> Void in
            var done = 0
            while done < raw.count {
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: raw[done...])
                done += try retrying { unsafe clinux_getrandom(rest.baseAddress, rest.count) }
            }
        }
    }

    /// `count` random bytes of the kernel.
    public static func randomBytes(count: Int) throws(Errno) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        var span = result.mutableSpan
        var bytes = unsafe span.mutableBytes
        try randomBytes(into: &bytes)
        return result
    }
}

/// The numbers of devices, which C has only as macros.
extension SystemCall {
    /// The number of a device of its parts.
    public static func deviceNumber(major: UInt32, minor: UInt32) -> dev_t {
        dev_t(clinux_makedev(major, minor))
    }

    /// Which driver.
    public static func major(_ device: dev_t) -> UInt32 { clinux_major(UInt64(device)) }

    /// Which of the driver's devices.
    public static func minor(_ device: dev_t) -> UInt32 { clinux_minor(UInt64(device)) }
}
