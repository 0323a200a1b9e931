import ArgumentParser
import ImageTools

struct MakeDirectories: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mkdir", abstract: "Make directories in an image.")

    @OptionGroup var image: ImageOptions

    @Argument(help: "The directories.")
    var paths: [String]

    @Flag(name: .shortAndLong, help: "Make missing directories on the way, too; what exists is no error.")
    var parents = false

    @Option(name: .shortAndLong, help: "Permissions, octal.")
    var mode = "755"

    @OptionGroup var output: OutputOptions

    private var bits: UInt16? {
        guard mode.allSatisfy({ ("0"..."7").contains($0) }) else { return nil }
        return UInt16(mode, radix: 8).flatMap { $0 <= 0o7777 ? $0 : nil }
    }

    func validate() throws {
        if bits == nil { throw ValidationError("'\(mode)' is not an octal mode.") }
    }

    func run() throws {
        guard let bits else { return }
        let volume = try image.openForWriting()
        let edit = TreeEdit(volume, now: CurrentTime.now())
        for path in paths { try edit.makeDirectory(path, mode: bits, withParents: parents) }
        try volume.close()
        if output.json { Console.print(.object([("made", .array(paths.map { .string($0) }))])) }
    }
}
