import ArgumentParser
import DiskFormat
import ImageTools
import RedoxFS

struct CloneImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clone",
        abstract: "Copy a file system into a new image.",
        discussion: """
            Everything but the history is kept, hard links and the boot loader too. The copy has the same size and \
            encryption unless told otherwise.
            """)

    @Argument(help: "The image to copy.", completion: .file())
    var old: String

    @Argument(help: "The image to make.", completion: .file())
    var new: String

    @Option(help: "Size of the new image.")
    var size: SizeArgument?

    @Flag(help: "Whether the copy is encrypted.")
    var encryption: Encryption?

    @OptionGroup var password: PasswordOptions

    @Option(
        help: ArgumentHelp(
            "The copy's password, from the first line of FILE. Without, an encrypted image's copy has the same.",
            valueName: "file"), completion: .file())
    var newPasswordFile: String?

    @Flag(name: .shortAndLong, help: "Overwrite a file system or partition table that is there.")
    var force = false

    @OptionGroup var generation: GenerationOptions

    @OptionGroup var output: OutputOptions

    enum Encryption: String, EnumerableFlag {
        case encrypt, decrypt
    }

    func run() throws {
        let now = CurrentTime.now()
        let target = ImageReference(new)
        // From one partition of a disk to another: the lock on the one that is written guards both.
        let isOneFile = ImageLocator.isOneFile(ImageReference(old), target)
        let image = try ImageLocator.open(ImageReference(old), writable: false, locking: isOneFile ? .none : .automatic)
        if isOneFile, target.partition == nil || target.partition == image.partition?.number {
            throw ToolFailure("\(old) and \(new) are the same image", advice: "Give the copy another name.")
        }
        var options = try password.openOptions(for: image)
        options.readOnly = true
        options.generation = generation.generation.map { Generation($0) }
        let volume = try ImageVolume(image.device, name: image.name, options: options)
        let statistics = volume.fileSystem.statistics()

        // The root directory keeps its time of creation.
        var maker = ImageMaker(target, now: try volume.resolve("/").btime)
        maker.bootLoader = try Clone.bootLoader(of: image)
        maker.byteCount = size?.byteCount
        if maker.byteCount == nil && target.partition == nil && !ImageMaker.exists(target) {
            maker.byteCount = statistics.totalBlocks * UInt64(Limits.blockSize) + UInt64(maker.bootLoader.count)
        }
        maker.overwrites = force
        if encryption == .encrypt || (statistics.isEncrypted && encryption != .decrypt) {
            if newPasswordFile == nil, let same = options.password {
                maker.password = same
            } else {
                maker.password = try Passwords.new(file: newPasswordFile, for: new)
            }
        }
        let progress = Progress("cloning")
        let summary = try maker.run(options: OpenOptions()) { (copy) throws(ToolFailure) in
            try Clone.run(from: volume, to: copy, now: now, observer: progress)
        }
        progress.finish()
        if output.json { Console.print(.object([("image", .string(new))] + summary.members)) }
        try summary.exitIfIncomplete()
    }
}
