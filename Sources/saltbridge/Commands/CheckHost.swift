import ArgumentParser
import ImageTools

struct CheckHost: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check whether this machine has what mounts need, and say what to do.",
        discussion: "Ends with 0 if mounts work, with 1 if something is missing.")

    @OptionGroup var output: OutputOptions

    func run() throws {
        let results = HostChecks.run()
        if output.json {
            Console.print(.array(results.map(\.json)))
        } else {
            for result in results { result.printLine() }
        }
        if results.contains(where: { $0.verdict == .missing }) { throw CommandExit(code: 1) }
    }
}

extension HostCheck {
    /// For results in JSON.
    var json: JSONValue {
        var members: [(String, JSONValue)] = [
            ("check", .string(name)), ("verdict", .string(verdict.rawValue)), ("found", .string(found)),
        ]
        if let advice { members.append(("advice", .string(advice))) }
        return .object(members)
    }

    /// One line for a person, and a second one with what to do.
    func printLine() {
        let mark =
            switch verdict {
            case .good: "ok      "
            case .limited: "limited "
            case .missing: "MISSING "
            }
        Console.print("\(mark) \(name): \(found)")
        if let advice { Console.print("         \(advice)") }
    }
}
