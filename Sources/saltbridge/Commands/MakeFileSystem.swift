import ArgumentParser
import DiskFormat
import Glibc
import ImageTools
import Platform
import RedoxFS
import SystemPackage

struct MakeFileSystem: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mkfs", abstract: "Make a file system, empty or with the contents of a directory or tar archive.")

    @Argument(help: "Image file to make or overwrite, block device, or partition (disk.img#2).", completion: .file())
    var image: String

    @Option(help: "Size of the image: 512M, 4G. Needed for a new file.")
    var size: SizeArgument?

    @Flag(help: "Encrypt the file system with a password.")
    var encrypt = false

    @OptionGroup var password: PasswordOptions

    @Option(
        help: ArgumentHelp("Put FILE, a boot loader, in front of the file system.", valueName: "file"),
        completion: .file())
    var boot: String?

    @Option(
        help: ArgumentHelp(
            "Fill it with the contents of a directory, or of a tar archive from standard input (-).",
            valueName: "directory|-"), completion: .directory)
    var from: String?

    @Option(
        help: ArgumentHelp(
            "Fill it with the contents of a tar archive, a file or standard input (-).", valueName: "file|-"),
        completion: .file())
    var fromTar: String?

    @Option(help: "The file system's id instead of a random one.")
    var uuid: String?

    @Flag(name: .shortAndLong, help: "Overwrite what is there: a file system, a partition table, any data.")
    var force = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if from != nil && fromTar != nil { throw ValidationError("--from and --from-tar exclude each other") }
        if password.passwordFile != nil, !encrypt {
            throw ValidationError(
                "--password-file is for an encrypted file system: give --encrypt, too, or leave it out")
        }
        if [from, fromTar].contains("-"), Passwords.isStandardInput(password.passwordFile) {
            throw ValidationError("standard input can't be both the archive and the password")
        }
        if let uuid, UUIDText.parse(uuid) == nil { throw ValidationError("'\(uuid)' is not a UUID") }
    }

    func run() throws {
        let now = CurrentTime.now()
        var maker = ImageMaker(ImageReference(image), now: now)
        maker.byteCount = size?.byteCount
        maker.overwrites = force
        maker.uuid = uuid.flatMap { UUIDText.parse($0) }
        if let boot { maker.bootLoader = try readBootLoader(boot) }
        if encrypt {
            maker.password = try Passwords.new(file: password.passwordFile, for: image)
        }
        let progress = Progress("filling \(image)")
        let (summary, statistics) = try maker.run(options: OpenOptions()) { (volume) throws(ToolFailure) in
            (try fill(volume, now, progress), volume.fileSystem.statistics())
        }
        progress.finish()
        if output.json {
            Console.print(
                .object(
                    [
                        ("image", .string(image)), ("uuid", .string(UUIDText.format(statistics.uuid))),
                        ("size", .unsigned(statistics.totalBlocks * UInt64(Limits.blockSize))),
                        ("encrypted", .bool(statistics.isEncrypted)),
                        ("reserved", .integer(Int64(maker.bootLoader.count + Limits.blockSize - 1) / 4096)),
                    ] + summary.members))
        } else {
            let encrypted = statistics.isEncrypted ? "encrypted " : ""
            let size = ByteCount.display(statistics.totalBlocks * UInt64(Limits.blockSize))
            Console.print("\(image): \(encrypted)RedoxFS \(UUIDText.format(statistics.uuid)), \(size)")
        }
        try summary.exitIfIncomplete()
    }

    private func fill(_ volume: ImageVolume, _ now: Timespec, _ progress: Progress) throws(ToolFailure) -> CopySummary {
        if let fromTar {
            return try TreeImport.run(fromTar: fromTar, into: volume, path: "/", now: now, observer: progress)
        }
        guard let from else { return CopySummary() }
        return try TreeImport.run(from: from, into: volume, path: "/", now: now, observer: progress)
    }

    private func readBootLoader(_ path: String) throws(ToolFailure) -> [UInt8] {
        do throws(Errno) {
            let file = try SystemCall.open(path, O_RDONLY)
            return try SystemCall.readToEnd(file.rawValue, limit: 128 << 20)
        } catch {
            throw ToolFailure("cannot read the boot loader \(path): \(error)")
        }
    }
}

/// The usual spelling of a UUID.
enum UUIDText {
    static func format(_ uuid: Bytes16) -> String {
        let digits = uuid.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        var result = ""
        for (index, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(index) { result += "-" }
            result.append(digit)
        }
        return result
    }

    static func parse(_ text: String) -> Bytes16? {
        let digits = Array(text.utf8.filter { $0 != 0x2D })
        // UInt8 alone would take "+1", too.
        guard digits.count == 32, digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }) else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: 32, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(byte)
        }
        return Bytes16(bytes)
    }
}
