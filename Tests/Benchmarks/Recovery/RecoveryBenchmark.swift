import Glibc
import Platform
import Supervisor
import SystemPackage

/// How long applications wait when a process of a mount is killed, and what a kill per second costs. Run by
/// `Scripts/bench recovery`, which makes the mount.
///
///     bench-recovery MOUNTPOINT [KILLS]
///
/// Of each kill: from right before `kill` to the end of the call that took longest, of a program that asks in a loop what only
/// the file server can answer.
@main
struct RecoveryBenchmark {
    private let mountpoint: String
    private let kills: Int
    /// Longer than any recovery; then the next spare is ready, too.
    private static let pause: UInt64 = 400_000_000
    /// O_DIRECT: past the kernel's cache.
    private static let direct: Int32 = 0o40000
    private static let second: UInt64 = 1_000_000_000

    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 2, let kills = arguments.count > 2 ? Int(arguments[2]) : 20, kills > 0 else {
            print("bench-recovery MOUNTPOINT [KILLS]")
            exit(64)
        }
        try RecoveryBenchmark(mountpoint: arguments[1], kills: kills).run()
    }

    private func run() throws {
        print("| killed | p50 ms | p90 ms | longest ms |\n|---|---:|---:|---:|")
        for name in ["file", "disk", "router"] {
            var waits: [UInt64] = []
            for _ in 0..<kills { waits.append(try wait(for: name)) }
            waits.sort()
            func milliseconds(_ share: Int) -> String {
                Self.text(waits[min(waits.count * share / 100, waits.count - 1)])
            }
            print("| \(name) | \(milliseconds(50)) | \(milliseconds(90)) | \(milliseconds(100)) |")
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

    private static func text(_ nanoseconds: UInt64) -> String {
        let hundredths = nanoseconds / 10_000
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)"
    }

    /// The number of a process.
    private func pid(_ name: String) throws -> Int32 {
        let status = try ControlJSON(parsing: try SystemCall.smallFile("\(mountpoint)/sys/supervisor.json"))
        let found = status["processes"]?.array.first { $0["name"]?.string == name }
        guard let pid = found?["pid"]?.integer.flatMap({ Int32(exactly: $0) }), pid > 1 else {
            throw Errno(rawValue: ESRCH)
        }
        return pid
    }

    /// Asks the file server; how long that took.
    private func ask() throws -> UInt64 {
        let start = Clock.monotonicNanoseconds()
        var figures = statvfs()
        guard unsafe statvfs("\(mountpoint)/file", &figures) == 0 else { throw Errno(rawValue: errno) }
        return Clock.monotonicNanoseconds() - start
    }

    private func wait(for name: String) throws -> UInt64 {
        let pid = try pid(name)
        _ = try ask()
        let start = Clock.monotonicNanoseconds()
        kill(pid, SIGKILL)
        var longest: UInt64 = 0
        var answered: UInt64 = 0
        while Clock.monotonicNanoseconds() - start < Self.pause {
            let took = try ask()
            if took > longest {
                longest = took
                answered = Clock.monotonicNanoseconds() - start
            }
        }
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
