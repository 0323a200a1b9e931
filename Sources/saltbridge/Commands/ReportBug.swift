import ArgumentParser
import Glibc
import ImageTools
import Platform
import Supervisor
import SystemPackage

struct ReportBug: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bug-report",
        abstract: "Put together what is needed to find a fault: status, timelines, logs; nothing of your files.",
        discussion: """
            Makes a tar archive. Paths of images and mount points, the home directory, user and host name are replaced by \
            words such as image-1. Look into it before you pass it on: tar xOf saltbridge-report.tar | less
            """)

    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("Where the archive goes; - for standard output.", valueName: "file"), completion: .file())
    var output = "saltbridge-report.tar"

    @Flag(help: "Print results and messages as JSON.")
    var json = false

    func validate() throws {
        if output == "-", SystemCallChecks.standardOutputIsTerminal {
            throw ValidationError("A tar archive does not go to a terminal: redirect it.")
        }
    }

    func run() throws {
        let report = BugReport.collect()
        if output == "-" {
            try report.write(to: STDOUT_FILENO, name: "standard output")
            return
        }
        let file: SharedDescriptor
        do throws(Errno) {
            file = SharedDescriptor(try SystemCall.open(output, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600))
        } catch {
            throw ToolFailure("cannot make \(output): \(error)")
        }
        // The descriptor lives as long as it is written to.
        try withExtendedLifetime(file) { try report.write(to: file.rawValue, name: output) }
        if json {
            Console.print(
                .object([
                    ("path", .string(output)), ("files", .array(report.files.map { .string($0.name) })),
                ]))
        } else {
            Console.print("\(output): \(report.files.map(\.name).joined(separator: ", "))")
        }
    }
}
