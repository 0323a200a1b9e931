import CPosix
import Glibc

/// A check's folder and the calls that checks are made of: each throws with what it did and which errno came.
struct Scratch {
    let path: String

    subscript(_ name: String) -> String { "\(path)/\(name)" }

    // MARK: - Outcomes

    func hold(_ condition: Bool, _ what: @autoclosure () throws -> String) throws {
        if !condition { throw Broken(description: try what()) }
    }

    /// The call must return 0 or more.
    @discardableResult
    func ok(_ what: String, _ call: () -> Int32) throws -> Int32 {
        let result = call()
        if result < 0 { throw Broken(description: "\(what): errno \(errno), expected success") }
        return result
    }

    /// The call must return 0 or more.
    @discardableResult
    func ok(_ what: String, _ call: () -> Int) throws -> Int {
        let result = call()
        if result < 0 { throw Broken(description: "\(what): errno \(errno), expected success") }
        return result
    }

    /// The call must fail with one of the numbers.
    func fails(_ what: String, _ codes: Int32..., call: () -> Int) throws {
        errno = 0
        let result = call()
        let code = errno
        guard result < 0 else { throw Broken(description: "\(what): succeeded, expected errno \(codes)") }
        if !codes.contains(code) { throw Broken(description: "\(what): errno \(code), expected \(codes)") }
    }

    // MARK: - Making things

    func file(_ name: String, _ bytes: [UInt8] = [], mode: mode_t = 0o644) throws {
        let descriptor = try open(name, O_CREAT | O_EXCL | O_WRONLY, mode)
        defer { close(descriptor) }
        if !bytes.isEmpty { try write(descriptor, bytes, at: 0) }
    }

    func folder(_ name: String, mode: mode_t = 0o755) throws {
        try ok("mkdir \(name)") { mkdir(self[name], mode) }
        try ok("chmod \(name)") { chmod(self[name], mode) }
    }

    func open(_ name: String, _ flags: Int32, _ mode: mode_t = 0o644) throws -> Int32 {
        try ok("open \(name) with flags \(flags)") { Glibc.open(self[name], flags, mode) }
    }

    func write(_ descriptor: Int32, _ bytes: [UInt8], at offset: Int) throws {
        let written = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, offset) }
        guard written == bytes.count else {
            throw Broken(description: "pwrite of \(bytes.count) bytes at \(offset) gave \(written), errno \(errno)")
        }
    }

    func read(_ descriptor: Int32, _ count: Int, at offset: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, offset) }
        guard got >= 0 else { throw Broken(description: "pread of \(count) bytes at \(offset): errno \(errno)") }
        return Array(bytes.prefix(got))
    }

    func contents(_ name: String) throws -> [UInt8] {
        let descriptor = try open(name, O_RDONLY)
        defer { close(descriptor) }
        var result: [UInt8] = []
        while true {
            let next = try read(descriptor, 65_536, at: result.count)
            if next.isEmpty { return result }
            result += next
        }
    }

    // MARK: - Looking

    func status(_ name: String) throws -> stat {
        var status = stat()
        guard lstat(name.isEmpty ? path : self[name], &status) == 0 else {
            throw Broken(description: "lstat \(name): errno \(errno)")
        }
        return status
    }

    func status(_ descriptor: Int32) throws -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Broken(description: "fstat: errno \(errno)") }
        return status
    }

    func exists(_ name: String) -> Bool {
        var status = stat()
        return lstat(self[name], &status) == 0
    }

    func names(_ name: String = "") throws -> [String] {
        guard let folder = opendir(name.isEmpty ? path : self[name]) else {
            throw Broken(description: "opendir \(name): errno \(errno)")
        }
        defer { closedir(folder) }
        var result: [String] = []
        while let entry = readdir(folder) {
            let text = withUnsafePointer(to: entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if text != ".", text != ".." { result.append(text) }
        }
        return result.sorted()
    }

    /// Whether `later` is after `earlier`.
    func isLater(_ later: timespec, than earlier: timespec) -> Bool {
        (later.tv_sec, later.tv_nsec) > (earlier.tv_sec, earlier.tv_nsec)
    }

    /// Waits until the clock that stamps files has moved on, so that a change can be told from none.
    func tick() {
        var pause = timespec(tv_sec: 0, tv_nsec: 15_000_000)
        _ = nanosleep(&pause, nil)
    }

    /// Checks which of the three times a change moves.
    func moves(
        _ name: String, mtime: Bool, ctime: Bool, _ what: String, _ change: () throws -> Void
    ) throws {
        let before = try status(name)
        tick()
        try change()
        let after = try status(name)
        try hold(
            isLater(after.st_mtim, than: before.st_mtim) == mtime, "\(what): mtime \(mtime ? "did not move" : "moved")")
        try hold(
            isLater(after.st_ctim, than: before.st_ctim) == ctime, "\(what): ctime \(ctime ? "did not move" : "moved")")
    }

    // MARK: - Other users

    /// Runs the body as an ordinary user: the ids of this thread alone are changed, by the system calls themselves.
    func asUser(_ uid: UInt32 = 65_534, _ gid: UInt32 = 65_534, _ body: () throws -> Void) throws {
        guard posix_become_user(uid, gid) == 0 else {
            throw Broken(description: "can't become user \(uid): errno \(errno)")
        }
        defer { _ = posix_become_user(0, 0) }
        try body()
    }
}

/// A sequence of bytes that differ.
func pattern(_ count: Int, _ start: Int = 0) -> [UInt8] {
    (start..<start + count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
}
