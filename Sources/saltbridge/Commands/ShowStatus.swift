import ArgumentParser
import Glibc
import ImageTools
import Supervisor

struct ShowStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the mounts of yours: processes, sandboxes, traffic, restarts.")

    @Argument(help: "Only this mount point.", completion: .directory)
    var mountpoint: String?

    @Option(help: "The same, as with other commands.", completion: .directory)
    var mount: String?

    @Flag(help: "Show it again every second until interrupted.")
    var watch = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if mountpoint != nil, mount != nil { throw ValidationError("One mount point at a time.") }
    }

    func run() throws {
        let path = try (mountpoint ?? mount).map { text throws(ToolFailure) in try MountPoint.canonical(text) }
        repeat {
            let mounts = RunningMount.all().filter { path == nil || $0.mountpoint == path }
            if let path, mounts.isEmpty, !watch { throw ToolFailure("\(path) is no mount of yours") }
            if output.json {
                Console.print(ControlJSON.array(mounts.map(\.status)).text)
            } else {
                if watch { Console.print("\u{1B}[H\u{1B}[2J") }
                if mounts.isEmpty { Console.print("nothing is mounted") }
                for mount in mounts { StatusTable.print(mount.status) }
            }
            try Console.flush()
            if watch { sleep(1) }
        } while watch
    }
}

/// One mount as a table.
enum StatusTable {
    private static let columns = [
        "PROCESS", "STATE", "PID", "START", "DEATHS", "MEMORY", "REQUESTS", "LAST RECOVERY", "SANDBOX",
    ]

    static func print(_ status: ControlJSON) {
        let source = status["source"]?.string ?? ""
        let mountpoint = status["mountpoint"]?.string ?? "not mounted"
        let access = status["read_only"]?.bool == true ? ", read-only" : ""
        Console.print(
            "\(source) on \(mountpoint), \(status["phase"]?.string ?? "")\(access), supervisor \(status["pid"]?.integer ?? 0), "
                + "up \(duration(milliseconds: status["uptime_ms"]?.integer ?? 0))")
        var rows = [columns]
        let processes = status["processes"]?.array ?? []
        for process in processes { rows.append(row(process, requests: requests(process, processes))) }
        let widths = columns.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            let cells = zip(row, widths).map { text, width in text + String(repeating: " ", count: width - text.count) }
            Console.print("  " + trimmed(cells.joined(separator: "  ")))
        }
        for process in status["processes"]?.array ?? [] {
            if let reason = process["reason"]?.string { Console.print("  \(process["name"]?.string ?? ""): \(reason)") }
        }
    }

    /// What a server was asked; of the router, what it asked the servers.
    private static func requests(_ process: ControlJSON, _ all: [ControlJSON]) -> Int64 {
        let isRouter = process["role"]?.string == "router"
        let channels =
            isRouter
            ? all.flatMap { $0["channels"]?.array ?? [] }.filter { $0["client"] == process["name"] }
            : process["channels"]?.array ?? []
        return channels.reduce(Int64(0)) { $0 &+ ($1["requests"]?.integer ?? 0) }
    }

    private static func row(_ process: ControlJSON, requests: Int64) -> [String] {
        let last = process["recoveries"]?.array.last
        let recovery =
            last.map { "\($0["resumed_us"]?.integer ?? 0) us, replayed \($0["replayed"]?.integer ?? 0)" } ?? "-"
        return [
            process["name"]?.string ?? "", process["state"]?.string ?? "",
            number(process["pid"]), number(process["incarnation"]), "\(process["deaths"]?.integer ?? 0)",
            "\((process["memory"]?.integer ?? 0) >> 20) MiB", "\(requests)", recovery, sandbox(process),
        ]
    }

    private static func number(_ value: ControlJSON?) -> String {
        guard let number = value?.integer, number > 0 else { return "-" }
        return "\(number)"
    }

    private static func sandbox(_ process: ControlJSON) -> String {
        guard let sandbox = process["sandbox"], process["pid"]?.integer ?? 0 > 0 else { return "-" }
        // A scheme of a user's may go without a filter of its own.
        let isStrict = sandbox["strict"]?.bool ?? true
        let isWhole =
            sandbox["no_capabilities"]?.bool == true && sandbox["no_new_privileges"]?.bool == true
            && sandbox["seccomp_filters"]?.integer ?? 0 >= (isStrict ? 2 : 1)
        guard isWhole else { return "not whole yet" }
        let calls =
            isStrict
            ? (sandbox["system_calls"]?.string ?? "").split(separator: ",").joined(separator: "+") : "not strict"
        let reach = sandbox["network"]?.bool == true ? "the host's network" : "no network"
        return "user \(sandbox["user"]?.integer ?? 0), \(reach), \(calls)"
    }

    private static func trimmed(_ text: String) -> String {
        var result = text[...]
        while result.last == " " { result.removeLast() }
        return String(result)
    }

    private static func duration(milliseconds: Int64) -> String {
        let seconds = milliseconds / 1000
        if seconds < 60 { return "\(seconds) s" }
        if seconds < 3600 { return "\(seconds / 60) min" }
        return "\(seconds / 3600) h \(seconds / 60 % 60) min"
    }
}
