import CPosix
import Glibc
import Synchronization

/// What an application does while drivers die under it: copies with checksums, fsync, rename over, mappings, appends,
/// directories. Every call must succeed and every byte be right; a pause is all that may be seen.
public final class TortureWorkload: Workload {
    private let folder: String
    private let seed: UInt64
    private let isStopped = Atomic<Bool>(false)

    /// - Parameters:
    ///   - folder: an empty folder on the mount.
    ///   - seed: determines bytes and choices of every worker.
    public init(folder: String, seed: UInt64) {
        self.folder = folder
        self.seed = seed
    }

    /// Ends all workers after their present round.
    public func stop() { isStopped.store(true, ordering: .relaxed) }

    /// One worker's rounds, on the calling thread, until `stop` or a fault. Workers have folders of their own.
    public func run(worker: Int) -> WorkloadOutcome {
        var outcome = WorkloadOutcome()
        let round = Round(
            folder: "\(folder)/worker-\(worker)", random: RandomNumbers(seed: seed &+ UInt64(worker) &* 7919))
        do {
            try round.start()
            while !isStopped.load(ordering: .relaxed) {
                try round.run()
                outcome.rounds += 1
            }
            try round.verifyAll()
        } catch {
            outcome.faults.append("worker \(worker), seed \(seed), round \(outcome.rounds): \(error)")
        }
        outcome.calls = round.calls
        outcome.longestCall = round.longestCall
        return outcome
    }
}

/// One worker's state: what its files must hold.
private final class Round {
    let folder: String
    var random: RandomNumbers
    var files: [String: [UInt8]] = [:]
    var log: [UInt8] = []
    var calls = 0
    var longestCall: UInt64 = 0

    init(folder: String, random: RandomNumbers) {
        self.folder = folder
        self.random = random
    }

    private func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1000
    }

    /// Makes a call and measures it.
    private func call(_ what: String, _ body: () -> Int) throws -> Int {
        let start = now()
        let result = body()
        let code = errno
        longestCall = max(longestCall, now() - start)
        calls += 1
        if result < 0 { throw Broken(description: "\(what): errno \(code)") }
        return result
    }

    func start() throws {
        _ = try call("mkdir \(folder)") { Int(mkdir(folder, 0o755)) }
        _ = try call("mkdir") { Int(mkdir("\(folder)/a", 0o755)) }
        _ = try call("mkdir") { Int(mkdir("\(folder)/b", 0o755)) }
    }

    func run() throws {
        let name = "file-\(random.below(12))"
        switch random.below(10) {
        case 0..<4: try replace(name)
        case 4: try verify(name)
        case 5: try append()
        case 6: try update(name)
        case 7: try map(name)
        case 8: try move()
        default: try list()
        }
    }

    /// Writes a temporary file, syncs it and renames it over the name: after that the name shows the new bytes.
    private func replace(_ name: String) throws {
        let bytes = random.bytes(random.below(5) == 0 ? 1 + random.below(900_000) : 1 + random.below(20_000))
        let temporary = "\(folder)/\(name).new"
        let descriptor = Int32(
            try call("open \(temporary)") { Int(open(temporary, O_CREAT | O_TRUNC | O_WRONLY, 0o644)) })
        defer { close(descriptor) }
        var done = 0
        while done < bytes.count {
            let count = min(bytes.count - done, 65_536)
            done += try call("write \(temporary)") {
                bytes.withUnsafeBytes {
                    pwrite(descriptor, UnsafeRawBufferPointer(rebasing: $0[done...]).baseAddress, count, done)
                }
            }
        }
        if random.below(2) == 0 { _ = try call("fsync \(temporary)") { Int(fsync(descriptor)) } }
        _ = try call("rename to \(name)") { Int(rename(temporary, "\(folder)/\(name)")) }
        files[name] = bytes
        if random.below(2) == 0 { try verify(name) }
    }

    private func read(_ name: String) throws -> [UInt8] {
        let descriptor = Int32(try call("open \(name)") { Int(open("\(folder)/\(name)", O_RDONLY)) })
        defer { close(descriptor) }
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 131_072)
        while true {
            let count = try call("read \(name)") { pread(descriptor, &buffer, buffer.count, result.count) }
            if count == 0 { return result }
            result += buffer.prefix(count)
        }
    }

    private func verify(_ name: String) throws {
        guard let expected = files[name] else { return }
        let bytes = try read(name)
        if bytes == expected { return }
        let first = zip(bytes, expected).enumerated().first { $1.0 != $1.1 }?.offset
        throw Broken(
            description: "\(name): \(bytes.count) bytes, expected \(expected.count), first difference at \(first ?? -1)"
        )
    }

    private func append() throws {
        let line = Array("line \(log.count) \(random.next())\n".utf8)
        let descriptor = Int32(
            try call("open log") { Int(open("\(folder)/log", O_CREAT | O_APPEND | O_WRONLY, 0o644)) })
        defer { close(descriptor) }
        _ = try call("append") { write(descriptor, line, line.count) }
        log += line
        if random.below(4) == 0 { _ = try call("fdatasync") { Int(fdatasync(descriptor)) } }
    }

    /// Overwrites in the middle, as databases do.
    private func update(_ name: String) throws {
        guard var expected = files[name] else { return }
        let offset = random.below(expected.count)
        let bytes = random.bytes(min(expected.count - offset, 1 + random.below(5000)))
        let descriptor = Int32(try call("open \(name)") { Int(open("\(folder)/\(name)", O_RDWR)) })
        defer { close(descriptor) }
        let written = try call("pwrite \(name)") { pwrite(descriptor, bytes, bytes.count, offset) }
        if written != bytes.count { throw Broken(description: "pwrite gave \(written) of \(bytes.count)") }
        expected.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        files[name] = expected
    }

    private func map(_ name: String) throws {
        guard var expected = files[name] else { return }
        let descriptor = Int32(try call("open \(name)") { Int(open("\(folder)/\(name)", O_RDWR)) })
        defer { close(descriptor) }
        guard let memory = posix_map(expected.count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor) else {
            throw Broken(description: "mmap \(name): errno \(errno)")
        }
        defer { munmap(memory, expected.count) }
        let same = UnsafeRawBufferPointer(start: memory, count: expected.count).elementsEqual(expected)
        guard same else { throw Broken(description: "\(name) differs in its mapping") }
        let offset = random.below(expected.count)
        let value = UInt8(random.below(256))
        memory.storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
        expected[offset] = value
        files[name] = expected
        let count = expected.count
        _ = try call("msync \(name)") { Int(msync(memory, count, Int32(MS_SYNC))) }
    }

    /// Directories, links and renames between directories.
    private func move() throws {
        let name = "moved-\(random.below(1 << 30))"
        let (from, to) = ("\(folder)/a/\(name)", "\(folder)/b/\(name)")
        let descriptor = Int32(try call("create \(from)") { Int(open(from, O_CREAT | O_EXCL | O_WRONLY, 0o600)) })
        close(descriptor)
        _ = try call("rename between directories") { Int(rename(from, to)) }
        _ = try call("link") { Int(link(to, from)) }
        var status = stat()
        _ = try call("stat") { Int(stat(to, &status)) }
        if status.st_nlink != 2 { throw Broken(description: "\(to) has \(status.st_nlink) links") }
        _ = try call("unlink") { Int(unlink(from)) }
        _ = try call("unlink") { Int(unlink(to)) }
    }

    private func list() throws {
        guard let directory = opendir(folder) else { throw Broken(description: "opendir: errno \(errno)") }
        defer { closedir(directory) }
        var names: Set<String> = []
        errno = 0
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !names.insert(name).inserted { throw Broken(description: "\(name) is listed twice") }
        }
        if errno != 0 { throw Broken(description: "readdir: errno \(errno)") }
        for name in files.keys where !names.contains(name) { throw Broken(description: "\(name) is not listed") }
    }

    func verifyAll() throws {
        for name in files.keys.sorted() { try verify(name) }
        if !log.isEmpty, try read("log") != log { throw Broken(description: "the log differs") }
    }
}
