import Glibc
import Platform
import Synchronization
import SystemPackage
import TestSupport

/// What an application does: files written, synced, renamed, linked, appended to, cut, mapped, removed while open, read back with
/// every byte checked.
final class Workload: @unchecked Sendable {
    let root: String
    let failures = Locked<[String]>([])
    private(set) var rounds = 0
    private var random: SplitMix
    private var files: [String: [UInt8]] = [:]

    init(_ root: String, seed: UInt64) {
        self.root = root
        random = SplitMix(seed: seed ^ 0x5555)
    }

    private func fail(_ what: String) {
        let reason = Errno(rawValue: errno)
        failures.withLock { $0.append("round \(rounds): \(what): \(reason)") }
    }

    private func contents(_ count: Int) -> [UInt8] {
        var random = SplitMix(seed: random.next())
        var result: [UInt8] = []
        result.reserveCapacity(count + 8)
        while result.count < count {
            let word = random.next()
            for shift in 0..<8 { result.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * shift))) }
        }
        return Array(result.prefix(count))
    }

    /// One round of everything.
    func round() {
        rounds += 1
        let name = "file \(random.next() % 40)"
        let path = "\(root)/\(name)"
        switch random.next() % 11 {
        case 0, 1: replace(name, path)
        case 2: check(name, path)
        case 3: remove(name, path)
        case 4: directories()
        case 5: append(name, path)
        case 6: cut(name, path)
        case 7: map(name, path)
        case 8: large()
        case 9: unnamedFromTheStart()
        default: unnamed()
        }
    }

    private func writeAll(_ file: Int32, _ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let part = min(bytes.count - done, 50_000)
            let written = unsafe bytes.withUnsafeBytes { unsafe write(file, $0.baseAddress?.advanced(by: done), part) }
            guard written > 0 else { return false }
            done += written
        }
        return true
    }

    private func replace(_ name: String, _ path: String) {
        let bytes = contents(Int(random.next() % (random.next() % 12 == 0 ? 3_000_000 : 300_000)))
        let temporary = "\(root)/new"
        let file = unsafe open(temporary, O_RDWR | O_CREAT | O_TRUNC, 0o644)
        guard file >= 0 else { return fail("open \(temporary)") }
        defer { close(file) }
        guard writeAll(file, bytes) else { return fail("write") }
        if random.next() & 1 == 0, fsync(file) != 0 { return fail("fsync") }
        guard unsafe rename(temporary, path) == 0 else { return fail("rename") }
        files[name] = bytes
    }

    private func check(_ name: String, _ path: String) {
        guard let known = files[name] else {
            if unsafe access(path, F_OK) == 0 { failures.withLock { $0.append("\(name) should not exist") } }
            return
        }
        let file = unsafe open(path, O_RDONLY)
        guard file >= 0 else { return fail("open \(name)") }
        defer { close(file) }
        // Not from the kernel's cache.
        if random.next() & 1 == 0 { posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) }
        var bytes = [UInt8](repeating: 0, count: known.count + 1)
        var done = 0
        while true {
            let count = unsafe bytes.withUnsafeMutableBytes {
                unsafe pread(file, $0.baseAddress?.advanced(by: done), $0.count - done, done)
            }
            guard count >= 0 else { return fail("read \(name)") }
            if count == 0 { break }
            done += count
        }
        if done != known.count || bytes.prefix(done) != known[...] {
            failures.withLock { $0.append("\(name): wrong contents (\(done) of \(known.count) bytes)") }
        }
    }

    private func remove(_ name: String, _ path: String) {
        guard files[name] != nil else { return }
        guard unsafe unlink(path) == 0 else { return fail("unlink \(name)") }
        files[name] = nil
    }

    private func append(_ name: String, _ path: String) {
        guard let known = files[name] else { return }
        let bytes = contents(Int(random.next() % 60_000))
        let file = unsafe open(path, O_WRONLY | O_APPEND)
        guard file >= 0 else { return fail("open \(name) for appending") }
        defer { close(file) }
        guard writeAll(file, bytes) else { return fail("append") }
        files[name] = known + bytes
    }

    private func cut(_ name: String, _ path: String) {
        guard let known = files[name] else { return }
        let count = Int(random.next() % 400_000)
        guard unsafe truncate(path, count) == 0 else { return fail("truncate \(name)") }
        files[name] = Array((known + [UInt8](repeating: 0, count: max(0, count - known.count))).prefix(count))
    }

    private func map(_ name: String, _ path: String) {
        guard var known = files[name], !known.isEmpty else { return }
        let file = unsafe open(path, O_RDWR)
        guard file >= 0 else { return fail("open \(name) to be mapped") }
        defer { close(file) }
        let size = known.count
        guard let pages = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
            unsafe pages != MAP_FAILED
        else { return fail("mmap \(name)") }
        let start = Int(random.next() % UInt64(size))
        let bytes = contents(min(size - start, 20_000))
        unsafe (pages + start).copyMemory(from: bytes, byteCount: bytes.count)
        known.replaceSubrange(start..<(start + bytes.count), with: bytes)
        files[name] = known
        if random.next() & 1 == 0, unsafe msync(pages, size, MS_SYNC) != 0 { fail("msync") }
        unsafe munmap(pages, size)
    }

    private func directories() {
        let path = "\(root)/directory"
        guard unsafe mkdir(path, 0o755) == 0 else { return fail("mkdir") }
        for index in 0..<5 where unsafe symlink("target", "\(path)/\(index)") != 0 { return fail("symlink") }
        guard unsafe link("\(path)/0", "\(path)/other") == 0 else { return fail("link") }
        for name in ["0", "1", "2", "3", "4", "other"] where unsafe unlink("\(path)/\(name)") != 0 {
            return fail("unlink")
        }
        guard unsafe rmdir(path) == 0 else { return fail("rmdir") }
    }

    /// A file that isn't freed in one step when its name goes.
    private func large() {
        let path = "\(root)/large"
        let file = unsafe open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        guard file >= 0 else { return fail("open \(path)") }
        let bytes = contents(5000)
        let count = unsafe pwrite(file, bytes, bytes.count, 40 << 20)
        close(file)
        guard count == bytes.count else { return fail("write large") }
        guard unsafe unlink(path) == 0 else { return fail("unlink large") }
    }

    private func unnamed() {
        let path = "\(root)/gone"
        let file = unsafe open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        guard file >= 0 else { return fail("open \(path)") }
        defer { close(file) }
        guard unsafe unlink(path) == 0 else { return fail("unlink \(path)") }
        checkUnnamed(file)
    }

    private func checkUnnamed(_ file: Int32) {
        let bytes = contents(20_000)
        guard unsafe write(file, bytes, bytes.count) == bytes.count else { return fail("write unnamed") }
        var read = [UInt8](repeating: 0, count: bytes.count)
        guard unsafe pread(file, &read, read.count, 0) == bytes.count else { return fail("read unnamed") }
        if read != bytes { failures.withLock { $0.append("unnamed file: wrong contents") } }
    }

    /// A file that is made without a name, gets one, and loses it when nobody has it open any more.
    private func unnamedFromTheStart() {
        let file = unsafe open(root, O_RDWR | Int32(0o20000000 | O_DIRECTORY), 0o600)
        guard file >= 0 else { return fail("open O_TMPFILE") }
        checkUnnamed(file)
        let path = "\(root)/named"
        let isLinked = unsafe linkat(AT_FDCWD, "/proc/self/fd/\(file)", AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0
        if !isLinked { fail("linkat") }
        close(file)
        if isLinked, unsafe unlink(path) != 0 { fail("unlink named") }
    }

    /// Checks every file.
    func verify() {
        for name in files.keys.sorted() { check(name, "\(root)/\(name)") }
    }
}

extension MountedSystem {
    /// Works on the mount while some of its processes are killed at random moments, as long as nothing of that is noticed.
    func work(killing names: [String], times: Int) throws -> Workload {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        let workload = Workload(root, seed: seed)
        let isDone = Atomic<Bool>(false)
        var random = SplitMix(seed: seed)
        let thread = try spawnThread(name: "workload") {
            while !isDone.load(ordering: .relaxed), workload.failures.withLock({ $0.isEmpty }) { workload.round() }
        }
        defer {
            isDone.store(true, ordering: .relaxed)
            thread.join()
        }
        for _ in 0..<times where workload.failures.withLock({ $0.isEmpty }) {
            usleep(UInt32(random.next() % 60_000))
            let name = names[Int(random.next() % UInt64(names.count))]
            if let pid = try pid(name), pid > 1 { kill(pid, SIGKILL) }
        }
        return workload
    }
}
