import ArgumentParser
import Glibc
import ImageTools

struct ExportFiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Copy files out of an image, into a directory or as a tar archive.",
        usage: "saltbridge export <image> [<path>] <directory|->",
        discussion: """
            Attributes, links and holes are kept; owners and device nodes only for root. An archive (-) goes to standard \
            output, in pax format. What can't be read of a damaged image is named and becomes zeros; the exit code is 1 then, \
            as when anything else is left out.
            """)

    @OptionGroup var image: ImageOptions

    @Argument(help: "The path in the image (all of it if left out), then the directory, or - for a tar archive.")
    var places: [String]

    @OptionGroup var generation: GenerationOptions

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...2).contains(places.count) else {
            throw ValidationError("Name a path in the image (optional) and a directory, or - for a tar archive.")
        }
        if places.last == "-" && SystemCallChecks.standardOutputIsTerminal {
            throw ValidationError("A tar archive does not go to a terminal: redirect it.")
        }
    }

    func run() throws {
        let path = places.count == 2 ? places[0] : "/"
        let destination = places[places.count - 1]
        let progress = Progress("exporting")
        let summary: CopySummary
        do {
            defer { progress.finish() }
            // An archive that was begun can't begin again.
            summary = try image.read(generation) {
                try TreeExport.run(
                    from: $0.volume, path: path, to: destination, salvages: $0.salvages || destination == "-",
                    observer: progress)
            }
        }
        if output.json {
            let text = JSONValue.object(summary.members)
            // Standard output is the archive's.
            if destination == "-" { Console.printError(text.text) } else { Console.print(text) }
        }
        try summary.exitIfIncomplete()
    }
}
