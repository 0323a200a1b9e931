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
            encryption unless told otherwise. What can't be read of a damaged image is named and becomes holes; the exit code is 1 \
            then.
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

    @Flag(name: .shortAndLong, help: "Overwrite what is there: a file system, a partition table, any data.")
    var force = false

    @OptionGroup var generation: GenerationOptions

    @OptionGroup var output: OutputOptions

    enum Encryption: String, EnumerableFlag {
        case encrypt, decrypt
    }

    func validate() throws {
        if encryption == .decrypt, newPasswordFile != nil {
            throw ValidationError("--decrypt makes a copy without a password: leave --new-password-file out")
        }
        try Passwords.checkFiles(password.passwordFile, newPasswordFile)
    }

    func run() throws {
        let target = ImageReference(new)
        // From one partition of a disk to another: the lock on the one that is written guards both.
        let isOneFile = ImageLocator.isOneFile(ImageReference(old), target)
        let image = try ImageLocator.open(ImageReference(old), writable: false, locking: isOneFile ? .none : .automatic)
        if isOneFile, target.partition == nil || target.partition == image.partition?.number {
            throw ToolFailure("\(old) and \(new) are the same image", advice: "Give the copy another name.")
        }
        let options = try password.openOptions(for: image)
        if newPasswordFile != nil, options.password == nil, encryption != .encrypt {
            Console.report(
                ToolFailure(
                    "\(image.name) is not encrypted, and so wouldn't be its copy",
                    advice: "Give --encrypt with --new-password-file, or leave both out."))
            throw CommandExit(code: 2)
        }
        var maker = ImageMaker(target, now: Timespec())
        maker.bootLoader = try Clone.bootLoader(of: image)
        maker.byteCount = size?.byteCount
        maker.overwrites = force
        if encryption == .encrypt || (options.password != nil && encryption != .decrypt) {
            if newPasswordFile == nil, let same = options.password {
                maker.password = same
            } else {
                maker.password = try Passwords.new(file: newPasswordFile, for: new)
            }
        }
        let progress = Progress("cloning")
        let summary = try image.read(options, generation) { readable in
            defer { progress.finish() }
            return try copy(readable, &maker, progress)
        }
        if output.json { Console.print(.object([("image", .string(new))] + summary.members)) }
        try summary.exitIfIncomplete()
    }

    private func copy(
        _ old: ReadableVolume, _ maker: inout ImageMaker, _ progress: Progress
    ) throws(ToolFailure) -> CopySummary {
        // The root directory keeps its time of creation.
        maker.now = try old.volume.resolve("/").btime
        let isNew = !ImageMaker.exists(maker.reference)
        if size == nil, maker.reference.partition == nil, isNew {
            let blocks = old.volume.fileSystem.statistics().totalBlocks
            maker.byteCount = blocks * UInt64(Limits.blockSize) + UInt64(maker.bootLoader.count)
        }
        let now = CurrentTime.now()
        var isBegun = false
        // Should the copy begin again with an older generation, what is there is its own.
        defer { maker.overwrites = maker.overwrites || isBegun }
        return try maker.run(options: OpenOptions()) { (new) throws(ToolFailure) in
            isBegun = true
            return try Clone.run(
                from: old.volume, to: new, now: now, salvages: old.salvages, observer: progress)
        }
    }
}
