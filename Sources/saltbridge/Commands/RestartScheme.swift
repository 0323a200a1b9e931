import ArgumentParser
import ImageTools
import Supervisor

struct RestartScheme: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart",
        abstract: "Replace a process of a mount in good order, or bring back a scheme that is offline.")

    @Argument(help: "The scheme, or router.", completion: SchemeCompletion.processes)
    var scheme: String

    @OptionGroup var mount: MountSelection
    @OptionGroup var output: OutputOptions

    func run() throws {
        let mount = try mount.select()
        let answer = try mount.ask(.make(["command": .string("restart"), "scheme": .string(scheme)]))
        let timeline = answer["timeline"] ?? .null
        if output.json {
            Console.print(timeline.text)
        } else {
            Console.print(CrashTable.header)
            Console.print(CrashTable.line(timeline))
        }
    }
}

struct UpgradeMount: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Replace all processes of a mount by those of the programs that are installed now.",
        discussion:
            "The mount stays; programs that use it notice a pause of milliseconds. The supervisor itself stays, too.")

    @OptionGroup var mount: MountSelection
    @OptionGroup var output: OutputOptions

    func run() throws {
        let mount = try mount.select()
        let answer = try mount.ask(.make(["command": .string("upgrade")]))
        if output.json {
            Console.print((answer["status"] ?? .null).text)
        } else {
            StatusTable.print(answer["status"] ?? .null)
        }
    }
}

struct SetFault: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fault",
        abstract: "Put faults into a disk scheme, to see what becomes of them.",
        discussion: "Without an option the faults are taken out again.")

    @Argument(help: "The disk scheme.", completion: SchemeCompletion.processes)
    var disk = "disk"

    @Option(help: ArgumentHelp("This share of reads fails (0 to 1).", valueName: "share"))
    var readError = 0.0

    @Option(help: ArgumentHelp("This share of writes fails (0 to 1).", valueName: "share"))
    var writeError = 0.0

    @Option(help: ArgumentHelp("Each operation takes so much longer.", valueName: "ms"))
    var latency = 0

    @Option(help: ArgumentHelp("This share of reads gives wrong bytes (0 to 1).", valueName: "share"))
    var corrupt = 0.0

    @OptionGroup var mount: MountSelection

    func validate() throws {
        let shares = [readError, writeError, corrupt]
        if latency < 0 || shares.contains(where: { !(0...1).contains($0) }) {
            throw ValidationError("Shares are from 0 to 1, the latency isn't negative.")
        }
    }

    func run() throws {
        guard disk == "disk" || disk.hasPrefix("disk.") else {
            throw ToolFailure("\(disk) is no disk scheme", advice: "They are called disk and disk.NAME.")
        }
        let mount = try mount.select()
        _ = try mount.ask(
            .make([
                "command": .string("set"), "scheme": .string(disk),
                "fields": .make([
                    "read-error": .string("\(readError)"), "write-error": .string("\(writeError)"),
                    "latency": .string("\(latency)"), "corrupt": .string("\(corrupt)"),
                ]),
            ]))
    }
}
