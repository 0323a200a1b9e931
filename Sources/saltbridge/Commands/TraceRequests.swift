import ArgumentParser
import Glibc
import ImageTools
import Platform
import SchemeProtocol
import SchemeTransport
import Supervisor

struct TraceRequests: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Show every request of a mount to its schemes, with times, until interrupted.",
        discussion: """
            One line per request, when it is answered: seconds since the trace began, the scheme, microseconds from the router's \
            question to the answer, of these in the server, and the request with its result. A node is shown by its path as far \
            as the trace has seen its names, else as #NUMBER. The trace goes on when servers or the router die, and costs \
            nothing when nobody traces.
            """)

    @Argument(help: "Only this scheme.")
    var scheme: String?

    @Option(
        name: .customLong("op"),
        help: ArgumentHelp("Only these operations, separated by commas; may be repeated.", valueName: "operation"))
    var operations: [String] = []

    @Option(help: ArgumentHelp("Only requests that took this many microseconds, or more.", valueName: "us"))
    var slow: UInt64?

    @Option(help: ArgumentHelp("End after so many requests.", valueName: "n"))
    var count: Int?

    @OptionGroup var mount: MountSelection
    @OptionGroup var output: OutputOptions

    /// Between two looks at the memory, in milliseconds.
    private static let interval: Int32 = 20
    /// Looks after which an unfinished event is given up: its writer is dead.
    private static let patience = 10
    /// Events between two announcements that somebody traces: also a mount that is faster than the printing is traced on.
    private static let batch = 1000

    func validate() throws {
        let known = Set(Opcode.allCases.map(\.name))
        if let wrong = wanted.subtracting(known).min() {
            throw ValidationError(
                "There is no operation \(wrong). Operations: \(known.sorted().joined(separator: " "))")
        }
        if let count, count < 1 { throw ValidationError("--count is at least 1.") }
    }

    private var wanted: Set<String> {
        Set(operations.flatMap { $0.split(separator: ",").map(String.init) })
    }

    func run() throws {
        let mount = try mount.select()
        let ring: TraceRing
        do {
            ring = try TraceRing(try mount.client.traceMemory())
        } catch {
            throw ToolFailure("\(mount.mountpoint): cannot trace: \(error)")
        }
        var printer = TracePrinter(mount: mount, isJSON: output.json)
        if let scheme, !printer.knows(scheme) { throw ToolFailure("no such scheme: \(scheme)") }
        var position = ring.position
        ring.attach()
        printer.begin()
        try Console.flush()
        var stuck = 0
        var left = count ?? .max
        var interval = Self.interval
        let wanted = wanted
        repeat {
            ring.attach()
            var isBehind = true
            scan: for _ in 0..<Self.batch where left > 0 {
                switch ring.next(&position, skipsUnfinished: stuck > Self.patience) {
                case .event(let event):
                    stuck = 0
                    let line = printer.line(event, scheme: scheme, operations: wanted, slow: slow)
                    guard let line else { continue }
                    Console.print(line)
                    left -= 1
                case .lost(let number):
                    stuck = 0
                    Console.warn("\(number) requests are missing here")
                case .nothing:
                    stuck = 0
                    isBehind = false
                    break scan
                case .unfinished:
                    stuck += 1
                    isBehind = false
                    break scan
                }
            }
            try Console.flush()
            interval = isBehind ? 0 : Self.interval
        } while left > 0 && !mount.client.hasEnded(milliseconds: interval)
    }
}
