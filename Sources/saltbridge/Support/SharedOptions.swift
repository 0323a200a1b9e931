import ArgumentParser
import BlockDevice
import DiskFormat
import FileSystemCheck
import Glibc
import ImageTools
import Platform
import RedoxFS

/// Options of commands that print results.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print results and messages as JSON.")
    var json = false
}

/// The image and its password.
struct ImageOptions: ParsableArguments {
    @Argument(
        help: "Image file, block device, NBD address, or partition of one (disk.img#2).",
        completion: SchemeCompletion.imagesAndSchemes)
    var image: String

    @OptionGroup var overlay: OverlayOptions

    @OptionGroup var password: PasswordOptions

    /// Opens the image.
    func locate(writable: Bool, locking: FileDevice.Locking = .automatic) throws(ToolFailure) -> OpenedImage {
        try EndingMounts.retrying { () throws(ToolFailure) in
            try ImageLocator.open(overlay.reference(image), writable: writable, locking: locking)
        }
    }

    /// Opens the file system in it for writing, asking for the password if it has one.
    func openForWriting() throws(ToolFailure) -> ImageVolume {
        let image = try locate(writable: true)
        return try ImageVolume(image.device, name: image.name, options: try password.openOptions(for: image))
    }
}

/// Where writes go that the image is to be spared.
struct OverlayOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Keep all writes in FILE, made at the first write, and never write to the image.", valueName: "file"),
        completion: .file())
    var overlay: String?

    /// The image with its overlay.
    func reference(_ image: String) -> ImageReference {
        var reference = ImageReference(image)
        reference.overlay = overlay
        return reference
    }
}

/// Where the password of an encrypted image comes from.
struct PasswordOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Read the password from the first line of FILE (/dev/stdin too) instead of asking on the terminal.",
            valueName: "file"), completion: .file())
    var passwordFile: String?

    /// The password, if the image is encrypted.
    func password(for image: OpenedImage) throws(ToolFailure) -> [UInt8]? {
        try Self.password(file: passwordFile, for: image)
    }

    /// The password, if the image is encrypted.
    static func password(file: String?, for image: OpenedImage) throws(ToolFailure) -> [UInt8]? {
        let store: HeaderStore?
        do throws(BlockDeviceError) {
            store = try HeaderStore(image.device)
        } catch {
            throw .device(error, path: image.name)
        }
        if let store, let torn = store.tornGeneration {
            Console.warn(
                "\(image.name): the header of generation \(torn) is torn, what its commit changed is lost; "
                    + "going on with generation \(store.newest.generation)")
        }
        if let store {
            let (needed, overflow) = store.newest.byteCount.addingReportingOverflow(
                store.start * UInt64(Limits.blockSize))
            if !overflow, needed > image.device.byteCount {
                Console.warn(
                    "\(image.name): the image is shorter than its file system: \(image.device.byteCount) of \(needed) bytes"
                )
            }
        }
        guard let store, HeaderRing.isEncrypted(store.headers) else { return nil }
        return try Passwords.existing(file: file, for: image.name)
    }

    /// How the engine opens the image.
    func openOptions(for image: OpenedImage) throws(ToolFailure) -> OpenOptions {
        var options = OpenOptions()
        options.password = try password(for: image)
        return options
    }
}

/// For commands that only read.
struct GenerationOptions: ParsableArguments {
    @Option(help: "Read this older generation (see history) instead of the newest.")
    var generation: UInt64?
}

/// How a file system that is only read was opened.
struct ReadableVolume {
    let volume: ImageVolume
    /// Whether what can't be read is left out: there is no generation that is whole.
    let salvages: Bool
}

extension ImageOptions {
    /// Opens the file system for reading and lets the body read it, as `OpenedImage.read` does.
    func read<Result>(
        _ generation: GenerationOptions, _ body: (ReadableVolume) throws -> Result
    ) throws -> Result {
        let image = try locate(writable: false)
        return try image.read(try password.openOptions(for: image), generation, body)
    }
}

extension OpenedImage {
    /// Opens the file system for reading and lets the body read it. If metadata of the newest generation turns out to be
    /// lost, the newest that is whole takes its place and the body runs again; what was lost is named.
    func read<Result>(
        _ options: OpenOptions, _ generation: GenerationOptions, _ body: (ReadableVolume) throws -> Result
    ) throws -> Result {
        var options = options
        options.readOnly = true
        options.generation = generation.generation.map { Generation($0) }
        do {
            let volume = try ImageVolume(device, name: name, options: options)
            return try body(ReadableVolume(volume: volume, salvages: options.generation != nil))
        } catch var failure as ToolFailure {
            guard failure.isCorruption else { throw failure }
            if let generation = options.generation {
                failure.advice =
                    "Generation \(generation) can't be read in full any more: later ones have used its blocks again. "
                    + "`saltbridge history \(name)` lists those that can."
                throw failure
            }
            let whole = try wholeGeneration(options, failure)
            options.generation = whole
            let volume = try ImageVolume(device, name: name, options: options)
            return try body(ReadableVolume(volume: volume, salvages: true))
        }
    }

    /// The newest generation that is whole, nil if there is none: then the newest has to do.
    private func wholeGeneration(
        _ options: OpenOptions, _ failure: ToolFailure
    ) throws(ToolFailure) -> Generation? {
        let report: CheckReport
        do throws(CheckError) {
            report = try FileSystemCheck.check(
                device, CheckOptions(password: options.password, maximumFindings: 10))
        } catch {
            throw failure
        }
        guard Console.discardPending() else { throw failure }
        guard let whole = report.fallback else {
            Console.warn("\(failure.message); no older generation is whole")
            return nil
        }
        let which = report.wholeGeneration == nil ? "of which most is left" : "the newest that is whole"
        Console.warn(
            "\(failure.message); falling back to generation \(whole), \(which). Lost in generation "
                + "\(report.generation):")
        for finding in report.findings where finding.severity == .corruption { Console.warn("\(finding)") }
        return whole
    }
}

/// A size on the command line: 512M, 4GiB, 1048576.
struct SizeArgument: ExpressibleByArgument {
    let byteCount: UInt64

    init?(argument: String) {
        guard let byteCount = ByteCount.parse(argument) else { return nil }
        self.byteCount = byteCount
    }

    var defaultValueDescription: String { ByteCount.display(byteCount) }
}

/// The time that is noted for what a command makes. SOURCE_DATE_EPOCH makes it reproducible.
enum CurrentTime {
    static func now() -> Timespec {
        if let value = unsafe getenv("SOURCE_DATE_EPOCH"), let seconds = unsafe Int64(String(cString: value)) {
            return Timespec(seconds: seconds)
        }
        let now = Clock.realtime()
        return Timespec(seconds: now.seconds, nanoseconds: now.nanoseconds)
    }
}

extension CopySummary {
    /// For results in JSON.
    var members: [(String, JSONValue)] {
        [
            ("entries", .integer(Int64(entries))), ("bytes", .unsigned(bytes)),
            ("warnings", .array(warnings.map { .string($0) })),
        ]
    }

    /// Ends the command with 1 if something was left out.
    func exitIfIncomplete() throws {
        if !warnings.isEmpty { throw CommandExit(code: 1) }
    }
}
