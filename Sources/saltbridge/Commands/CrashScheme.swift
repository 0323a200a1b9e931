import ArgumentParser
import Glibc
import ImageTools
import SchemeProtocol
import Supervisor

struct CrashScheme: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crash",
        abstract: "Make a process of a mount die, and show how it recovers.",
        discussion: """
            SCHEME is a name of `saltbridge status`: file, disk, router, ... Without another option it is killed (signal 9). \
            Each recovery is printed with its times in microseconds since the crash.
            """)

    @Argument(help: "The scheme, or router.", completion: SchemeCompletion.processes)
    var scheme: String

    @OptionGroup var mount: MountSelection

    @Option(help: "It dies of this signal: 9 (KILL), or by a fault of its own 4 (ILL), 8 (FPE) or 11 (SEGV).")
    var signal: SignalNumber?

    @Flag(help: "Stop it (SIGSTOP): it hangs.")
    var hang = false

    @Flag(name: .customLong("exit"), help: "It exits by itself.")
    var exits = false

    @Flag(help: "It answers a request with nonsense.")
    var corruptReply = false

    @Option(
        name: .customLong("in"),
        help: ArgumentHelp("It dies inside the next request of this kind.", valueName: "operation"))
    var operation: String?

    @Option(help: "So many times.")
    var times = 1

    @Option(name: .customLong("every"), help: ArgumentHelp("Milliseconds from one crash to the next.", valueName: "ms"))
    var interval = 1000

    @OptionGroup var output: OutputOptions

    func validate() throws {
        let ways = [signal != nil, hang, exits, corruptReply, operation != nil].count { $0 }
        if ways > 1 { throw ValidationError("One way to crash at a time.") }
        let operations = Opcode.allCases.map(\.name)
        if let operation, !operations.contains(operation) {
            throw ValidationError(
                "There is no operation \(operation). Operations: \(operations.sorted().joined(separator: " "))")
        }
        if times < 1 || interval < 0 { throw ValidationError("--times is at least 1, --every at least 0.") }
    }

    func run() throws {
        let mount = try mount.select()
        for round in 0..<times {
            if round > 0 { usleep(UInt32(clamping: interval) &* 1000) }
            let answer = try mount.ask(request)
            let timeline = answer["timeline"] ?? .null
            if round == 0, !output.json { Console.print(CrashTable.header) }
            Console.print(output.json ? timeline.text : CrashTable.line(timeline))
            try Console.flush()
        }
    }

    private var request: ControlJSON {
        var members: [ControlJSON.Member] = [
            .init("command", .string("crash")), .init("scheme", .string(scheme)), .init("how", .string(how)),
        ]
        if let signal { members.append(.init("signal", .integer(Int64(signal.number)))) }
        if let operation { members.append(.init("operation", .string(operation))) }
        return .object(members)
    }

    private var how: String {
        if hang { return "hang" }
        if exits { return "exit" }
        if corruptReply { return "corrupt-reply" }
        return operation != nil ? "operation" : "signal"
    }
}

/// A signal on the command line.
struct SignalNumber: ExpressibleByArgument {
    let number: Int32

    private static let names = ["KILL": SIGKILL, "ILL": SIGILL, "FPE": SIGFPE, "SEGV": SIGSEGV]

    init?(argument: String) {
        let name = argument.uppercased()
        guard let number = Int32(argument) ?? Self.names[name.hasPrefix("SIG") ? String(name.dropFirst(3)) : name]
        else { return nil }
        self.number = number
    }
}

/// Recoveries as lines of a table.
enum CrashTable {
    static let header = "incarnation  detected  started    ready  resumed us  replayed  resubmitted  quarantined  cause"

    static func line(_ timeline: ControlJSON) -> String {
        func cell(_ name: String, _ width: Int) -> String {
            let text = timeline[name]?.integer.map { "\($0)" } ?? "-"
            return String(repeating: " ", count: max(0, width - text.count)) + text
        }
        let columns = [
            cell("incarnation", 11), cell("detected_us", 8), cell("started_us", 7), cell("ready_us", 7),
            cell("resumed_us", 10), cell("replayed", 8), cell("resubmitted", 11), cell("quarantined", 11),
        ]
        return columns.joined(separator: "  ") + "  " + (timeline["cause"]?.string ?? "")
    }
}
