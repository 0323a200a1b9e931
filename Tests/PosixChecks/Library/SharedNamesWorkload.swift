import CPosix
import Glibc
import Synchronization

/// Several workers on the same few names. Some names are always there: they are replaced, exchanged and changed all the time, and
/// every look at them succeeds and shows one whole file, the old or the new one. The others come and go.
public final class SharedNamesWorkload: Workload {
    private let folder: String
    private let seed: UInt64
    private let isStopped = Atomic<Bool>(false)

    /// Makes the names that are always there.
    ///
    /// - Parameters:
    ///   - folder: an empty folder on the mount.
    ///   - seed: determines bytes and choices of every worker.
    public init(folder: String, seed: UInt64) throws {
        self.folder = folder
        self.seed = seed
        let worker = SharedNames(folder: folder, worker: -1, random: RandomNumbers(seed: seed))
        for name in SharedNames.lasting { try worker.replace(name) }
        try worker.replaceLink()
    }

    /// Ends all workers after their present round.
    public func stop() { isStopped.store(true, ordering: .relaxed) }

    /// One worker's rounds, on the calling thread, until `stop` or a fault.
    public func run(worker: Int) -> WorkloadOutcome {
        var outcome = WorkloadOutcome()
        let names = SharedNames(
            folder: folder, worker: worker, random: RandomNumbers(seed: seed &+ UInt64(worker) &* 7919))
        do {
            while !isStopped.load(ordering: .relaxed) {
                try names.run()
                outcome.rounds += 1
            }
        } catch {
            outcome.faults.append("worker \(worker), seed \(seed), round \(outcome.rounds): \(error)")
        }
        outcome.calls = names.calls
        return outcome
    }
}

/// One worker.
private final class SharedNames {
    static let lasting = ["one", "two", "three"]
    private static let passing = ["four", "five"]

    private let folder: String
    private let worker: Int
    private var random: RandomNumbers
    private(set) var calls = 0

    init(folder: String, worker: Int, random: RandomNumbers) {
        self.folder = folder
        self.worker = worker
        self.random = random
    }

    /// Makes a call that must succeed, or fail as allowed. Whether it succeeded.
    @discardableResult
    private func call(_ what: String, allowing allowed: [Int32] = [], _ body: () -> Int) throws -> Int? {
        let result = body()
        let code = errno
        calls += 1
        if result >= 0 { return result }
        if allowed.contains(code) { return nil }
        throw Broken(description: "\(what): errno \(code)")
    }

    private func pick(_ names: [String]) -> String { names[random.below(names.count)] }
    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    func run() throws {
        let name = pick(Self.lasting)
        switch random.below(12) {
        case 0..<3: try replace(name)
        case 3..<6: try read(name)
        case 6:
            var status = stat()
            try call("stat \(name)") { Int(stat(path(name), &status)) }
        case 7: try call("chmod \(name)") { Int(chmod(path(name), 0o600 | mode_t(random.below(64)))) }
        case 8:
            let other = pick(Self.lasting)
            try call("exchange \(name) and \(other)") {
                Int(posix_rename(path(name), path(other), posix_rename_exchange))
            }
        case 9: random.below(2) == 0 ? try replaceLink() : try readLink()
        case 10: try comeAndGo(pick(Self.passing), name)
        default: try list()
        }
    }

    /// Eight bytes that all others follow from, and these.
    private func content() -> [UInt8] {
        let start = random.next()
        let count = random.below(4) == 0 ? random.below(40_000) : random.below(2000)
        var bytes = withUnsafeBytes(of: start.littleEndian) { Array($0) }
        bytes += Self.rest(start, count)
        return bytes
    }

    private static func rest(_ start: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: (start &+ UInt64($0)) &* 0x9E37_79B9_7F4A_7C15 >> 56) }
    }

    func replace(_ name: String) throws {
        let bytes = content()
        let temporary = path("new-\(worker)")
        let flags = O_CREAT | O_EXCL | O_WRONLY
        guard let descriptor = try call("create \(temporary)", { Int(open(temporary, flags, 0o644)) }) else { return }
        let count = try call("write \(temporary)") { write(Int32(descriptor), bytes, bytes.count) }
        if random.below(10) == 0 { try call("fsync \(temporary)") { Int(fsync(Int32(descriptor))) } }
        try call("close \(temporary)") { Int(close(Int32(descriptor))) }
        if count != bytes.count { throw Broken(description: "write gave \(count ?? -1) of \(bytes.count)") }
        try call("rename to \(name)") { Int(rename(temporary, path(name))) }
    }

    private func read(_ name: String) throws {
        guard let descriptor = try call("open \(name)", { Int(open(path(name), O_RDONLY)) }) else { return }
        defer { close(Int32(descriptor)) }
        var status = stat()
        try call("fstat \(name)") { Int(fstat(Int32(descriptor), &status)) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        guard let count = try call("read \(name)", { Glibc.read(Int32(descriptor), &bytes, bytes.count) }) else {
            return
        }
        if count < 8 || Int(status.st_size) != count {
            throw Broken(description: "\(name) has \(count) bytes, and says \(status.st_size)")
        }
        let start = bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
        if Array(bytes[8..<count]) != Self.rest(start, count - 8) {
            throw Broken(description: "\(name) isn't what anybody wrote")
        }
    }

    func replaceLink() throws {
        let temporary = path("link-\(worker)")
        try call("symlink") { Int(symlink(pick(Self.lasting), temporary)) }
        try call("rename to link") { Int(rename(temporary, path("link"))) }
    }

    private func readLink() throws {
        var target = [CChar](repeating: 0, count: 100)
        try call("readlink") { readlink(path("link"), &target, target.count - 1) }
        // Through the link: what it leads to is always there, too.
        try read("link")
    }

    /// Names that come and go: the outcome depends on the others, but is one that the manual pages name.
    private func comeAndGo(_ name: String, _ lasting: String) throws {
        switch random.below(4) {
        case 0:
            let flags = O_CREAT | O_EXCL | O_WRONLY
            if let made = try call("create \(name)", allowing: [EEXIST], { Int(open(path(name), flags, 0o644)) }) {
                close(Int32(made))
            }
        case 1: try call("unlink \(name)", allowing: [ENOENT]) { Int(unlink(path(name))) }
        // The file may have lost its name between the look-up and the link.
        case 2: try call("link \(name)", allowing: [EEXIST, ENOENT]) { Int(link(path(lasting), path(name))) }
        default:
            if let made = try call("open or create \(name)", { Int(open(path(name), O_CREAT | O_RDWR, 0o644)) }) {
                close(Int32(made))
            }
        }
    }

    private func list() throws {
        guard let directory = opendir(folder) else { throw Broken(description: "opendir: errno \(errno)") }
        defer { closedir(directory) }
        calls += 1
        var names: Set<String> = []
        errno = 0
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            names.insert(name)
        }
        if errno != 0 { throw Broken(description: "readdir: errno \(errno)") }
        for name in Self.lasting where !names.contains(name) { throw Broken(description: "\(name) is not listed") }
    }
}
