import ArgumentParser
import ImageTools

struct MoveFile: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mv", abstract: "Move or rename a file or directory in an image.")

    @OptionGroup var image: ImageOptions

    @Argument(help: "What to move.")
    var source: String

    @Argument(help: "The new path, or a directory to move it into.")
    var destination: String

    @Flag(name: .shortAndLong, help: "Don't replace what is there.")
    var noClobber = false

    @OptionGroup var output: OutputOptions

    func run() throws {
        let volume = try image.openForWriting()
        let place = try TreeEdit(volume, now: CurrentTime.now())
            .move(source, to: destination, replacing: !noClobber)
        try volume.close()
        if output.json { Console.print(.object([("from", .string(source)), ("to", .string(place))])) }
    }
}
