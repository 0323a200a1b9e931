import ArgumentParser
import ImageTools

struct RemoveFiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove files from an image.")

    @OptionGroup var image: ImageOptions

    @Argument(help: "What to remove.")
    var paths: [String]

    @Flag(name: [.customShort("r"), .long], help: "Remove directories with all that is in them.")
    var recursive = false

    @Flag(name: .shortAndLong, help: "What doesn't exist is no error.")
    var force = false

    @OptionGroup var output: OutputOptions

    func run() throws {
        let volume = try image.openForWriting()
        var removed = 0
        let progress = Progress("removing")
        for path in paths {
            removed += try TreeEdit(volume, now: CurrentTime.now())
                .remove(path, recursively: recursive, ignoringMissing: force) {
                    progress.update(done: UInt64(removed + $0), total: 0, "entries")
                }
        }
        progress.finish()
        try volume.close()
        if output.json { Console.print(.object([("removed", .integer(Int64(removed)))])) }
    }
}
