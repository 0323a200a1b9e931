import ArgumentParser
import ImageTools

struct PrintManifest: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manifest",
        abstract: "List everything in an image with attributes and digests, one JSON object per line.",
        discussion: """
            Sorted by path. Members: path, type, mode (octal), uid, gid, links (as stored), size, mtime, ctime (creation, \
            as stored), atime, node, and sha256 or target. The digest of a mostly empty file of more than 16 GiB is null, and so \
            is what can't be read; the exit code is 1 then.
            """)

    @OptionGroup var image: ImageOptions

    @Argument(help: "The directory or file to list.")
    var path = "/"

    @OptionGroup var generation: GenerationOptions

    @OptionGroup var output: OutputOptions

    func run() throws {
        try image.read(generation) { try list($0.volume, salvages: $0.salvages) }
    }

    private func list(_ volume: ImageVolume, salvages: Bool) throws {
        let top = try volume.resolve(path, followingLast: false)
        let progress = Progress("listing")
        var count: UInt64 = 0
        var isComplete = true
        let manifest = Manifest(volume, salvages: salvages) { message in
            isComplete = false
            progress.warning(message)
        }
        try manifest.write(top, path: path) { line in
            Console.print(line)
            count += 1
            progress.update(done: count, total: 0, "entries")
        }
        progress.finish()
        if !isComplete { throw CommandExit(code: 1) }
    }
}
