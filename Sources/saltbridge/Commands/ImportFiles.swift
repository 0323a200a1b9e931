import ArgumentParser
import ImageTools

struct ImportFiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Copy the contents of a directory or a tar archive into an image.",
        discussion: "Attributes, links and holes are kept. Files that are there already are replaced.")

    @OptionGroup var image: ImageOptions

    @Argument(
        help: ArgumentHelp(
            "The directory whose contents are copied; - for a tar archive from standard input.",
            valueName: "directory|-"), completion: .directory)
    var source: String

    @Argument(help: "Where in the image they go; made if it isn't there.")
    var path = "/"

    @OptionGroup var output: OutputOptions

    func run() throws {
        let volume = try image.openForWriting()
        let progress = Progress("importing")
        let summary: CopySummary
        do {
            summary = try TreeImport.run(
                from: source, into: volume, path: path, now: CurrentTime.now(), observer: progress)
            progress.finish()
        } catch {
            progress.finish()
            // What was copied stays.
            try? volume.close()
            throw error
        }
        try volume.close()
        if output.json { Console.print(.object(summary.members)) }
        try summary.exitIfIncomplete()
    }
}
