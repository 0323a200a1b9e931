import Glibc
import Platform
import Supervisor
import SystemPackage

/// How long applications wait when a process of a mount is killed, and what a kill per second costs. Run by
/// `Scripts/bench recovery`, which makes the mount.
///
///     bench-recovery MOUNTPOINT [KILLS]
///
/// Of each kill: from right before `kill` to the first answer of the next incarnation, of a program that asks in a loop what only
/// that server can answer (through a router that is killed: the file server). That is the first call that was made when the process
/// was dead. A process that is stopped is found to hang, and killed by the supervisor: that takes longer.
@main
struct RecoveryBenchmark {
    private let mountpoint: String
    private let kills: Int
    /// Longer than any recovery; then the next spare is ready, too.
    private static let pause: UInt64 = 400_000_000
    /// O_DIRECT: past the kernel's cache.
    private static let direct: Int32 = 0o40000
    private static let second: UInt64 = 1_000_000_000
    /// How long a process may take until it serves.
    private static let patience: UInt64 = 10_000_000_000

    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count >= 2, let kills = arguments.count > 2 ? Int(arguments[2]) : 20, kills > 0 else {
            print("bench-recovery MOUNTPOINT [KILLS]")
            exit(64)
        }
        do {
            try RecoveryBenchmark(mountpoint: arguments[1], kills: kills).run()
        } catch {
            try? SystemCall.write(text: "bench-recovery: \(error)\n", to: 2)
            exit(1)
        }
    }

    private func run() throws {
        print("| killed | shortest ms | p50 ms | p90 ms | longest ms |\n|---|---:|---:|---:|---:|")
        for name in ["file", "disk", "router"] {
            try measure("\(name)", kills) { try wait(for: name, signal: SIGKILL, during: Self.pause) }
        }
        for name in ["file", "disk", "router"] {
            try measure("\(name), stopped", max(3, kills / 5)) {
                try wait(for: name, signal: SIGSTOP, during: 2 * Self.second)
            }
        }
        // In turn, so that both meet the same machine.
        var calm: UInt64 = 0
        var killed: UInt64 = 0
        for round in 0..<8 {
            calm += try copied(killing: nil)
            killed += try copied(killing: ["file", "router"][round % 2])
        }
        print("throughput with a kill per second: \(killed * 100 / max(calm, 1)) % of without")
    }

    private func measure(_ what: String, _ count: Int, _ body: () throws -> UInt64) throws {
        var waits: [UInt64] = []
        for _ in 0..<count { waits.append(try body()) }
        waits.sort()
        func milliseconds(_ share: Int) -> String {
            Self.text(waits[min(waits.count * share / 100, waits.count - 1)])
        }
        print("| \(what) | \(milliseconds(0)) | \(milliseconds(50)) | \(milliseconds(90)) | \(milliseconds(100)) |")
    }

    private static func text(_ nanoseconds: UInt64) -> String {
        let hundredths = nanoseconds / 10_000
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)"
    }

    /// The supervisor's entry about a process; nil while it doesn't tell.
    private func process(_ name: String) throws -> ControlJSON? {
        let status = try ControlJSON(parsing: try SystemCall.smallFile("\(mountpoint)/sys/supervisor.json"))
        return status["processes"]?.array.first { $0["name"]?.string == name }
    }

    /// The number of a process that serves. Waits for it: the supervisor tells of a recovery when it is over.
    private func pid(_ name: String) throws -> Int32 {
        let start = Clock.monotonicNanoseconds()
        while Clock.monotonicNanoseconds() - start < Self.patience {
            if let found = try process(name), found["state"]?.string == "serving",
                let pid = found["pid"]?.integer.flatMap({ Int32(exactly: $0) }), pid > 1
            {
                return pid
            }
            usleep(1000)
        }
        throw Errno(rawValue: ESRCH)
    }

    /// Asks a scheme's server.
    private func ask(_ scheme: String) throws {
        var figures = statvfs()
        guard unsafe statvfs("\(mountpoint)/\(scheme)", &figures) == 0 else { throw Errno(rawValue: errno) }
    }

    private func wait(for name: String, signal: Int32, during time: UInt64) throws -> UInt64 {
        let pid = try pid(name)
        let process = try SystemCall.openProcess(pid)
        let scheme = name == "router" ? "file" : name
        try ask(scheme)
        let start = Clock.monotonicNanoseconds()
        kill(pid, signal)
        var answered: UInt64?
        while Clock.monotonicNanoseconds() - start < time {
            var entries = [pollfd(fd: process.rawValue, events: Int16(POLLIN), revents: 0)]
            let isDead = try SystemCall.poll(&entries, milliseconds: 0) > 0
            try ask(scheme)
            if isDead, answered == nil { answered = Clock.monotonicNanoseconds() - start }
        }
        guard let answered else { throw Errno(rawValue: ETIMEDOUT) }
        return answered
    }

    /// Bytes written and read back in a second.
    private func copied(killing name: String?) throws -> UInt64 {
        let path = "\(mountpoint)/file/throughput"
        let block = AlignedBuffer(byteCount: 1 << 20)
        let start = Clock.monotonicNanoseconds()
        var isKilled = name == nil
        var count: UInt64 = 0
        while Clock.monotonicNanoseconds() - start < Self.second {
            let file = try SystemCall.open(path, O_RDWR | O_CREAT | O_TRUNC | Self.direct, mode: 0o600)
            for index in 0..<16 {
                let offset = UInt64(index * block.byteCount)
                guard try SystemCall.write(file.rawValue, at: offset, block.bytes) == block.byteCount else {
                    throw Errno.ioError
                }
                var target = block.mutableBytes
                count += UInt64(try SystemCall.read(file.rawValue, at: offset, into: &target))
            }
            if !isKilled, let name, Clock.monotonicNanoseconds() - start > Self.second / 4 {
                isKilled = true
                kill(try pid(name), SIGKILL)
            }
        }
        return count
    }
}
