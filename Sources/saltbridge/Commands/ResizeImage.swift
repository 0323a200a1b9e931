import ArgumentParser
import BlockDevice
import DiskFormat
import FileSystemCheck
import ImageTools

struct ResizeImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resize",
        abstract: "Make a file system larger or smaller.",
        discussion: """
            An image file changes its size, too. In a partition or on a block device the file system can become as large \
            as that is. Shrinking moves what is in the way; older generations can't be read any more afterwards. A damaged file \
            system can grow, so that there is room for its repair, but not shrink.
            """)

    @Argument(
        help: "Image file, block device, NBD address, or partition of one (disk.img#2).", completion: .file())
    var image: String

    @OptionGroup var password: PasswordOptions

    @Argument(help: "The new size (512M, 4G), min for the smallest possible, max for all there is room for.")
    var size: Size

    @OptionGroup var output: OutputOptions

    enum Size: ExpressibleByArgument {
        case minimum
        case maximum
        case bytes(UInt64)

        init?(argument: String) {
            switch argument {
            case "min": self = .minimum
            case "max": self = .maximum
            default:
                guard let byteCount = ByteCount.parse(argument) else { return nil }
                self = .bytes(byteCount)
            }
        }
    }

    func run() throws {
        let reference = ImageReference(image)
        let image = try EndingMounts.retrying { () throws(ToolFailure) in
            try ImageLocator.open(reference, writable: true)
        }
        let progress = Progress("resizing")
        var options = CheckOptions()
        options.password = try password.password(for: image)
        // Of a file that is all the file system's the size goes along.
        let file = image.partition == nil ? image.file.flatMap { $0.isBlockSpecial ? nil : $0 } : nil
        var wanted: UInt64?
        switch size {
        case .minimum: break
        case .maximum: wanted = image.device.byteCount
        case .bytes(let byteCount): wanted = byteCount
        }
        let oldByteCount = image.device.byteCount
        if let wanted, wanted > oldByteCount { try grow(image, file, to: wanted) }
        let report: ResizeReport
        do throws(ResizeError) {
            report = try FileSystemCheck.resize(image.device, to: wanted, options, time: CurrentTime.now())
            progress.finish()
        } catch {
            progress.finish()
            // A file that had to grow first gets its old size back.
            if image.device.byteCount > oldByteCount { try? file?.resize(to: oldByteCount) }
            throw failure(error, image)
        }
        if let file, report.newByteCount < file.byteCount, size.endsFile {
            do throws(BlockDeviceError) {
                try file.resize(to: report.newByteCount)
            } catch {
                throw ToolFailure.device(error, path: image.name)
            }
        }
        if output.json {
            Console.print(
                .object([
                    ("old_size", .unsigned(report.oldByteCount)), ("size", .unsigned(report.newByteCount)),
                    ("moved_blocks", .unsigned(report.movedBlocks)),
                    ("generation", .unsigned(report.generation.rawValue)),
                    ("needs_repair", .bool(report.needsRepair)),
                ]))
        } else {
            Console.print(
                "\(image.name): \(ByteCount.display(report.newByteCount)) (\(report.newByteCount) bytes), was "
                    + ByteCount.display(report.oldByteCount))
        }
        if report.needsRepair {
            Console.warn("\(image.name) needs a repair: `saltbridge fsck --repair \(image.name)`")
        }
    }

    private func grow(_ image: OpenedImage, _ file: FileDevice?, to byteCount: UInt64) throws(ToolFailure) {
        guard let file else {
            throw ToolFailure(
                "\(image.name) has only \(ByteCount.display(image.device.byteCount))",
                advice: "Make the partition or device larger first.")
        }
        do throws(BlockDeviceError) {
            try file.resize(to: byteCount)
        } catch {
            throw .device(error, path: image.name)
        }
    }

    private func failure(_ error: ResizeError, _ image: OpenedImage) -> ToolFailure {
        switch error {
        case .check(let error): ToolFailure("\(image.name): \(error)")
        case .damaged:
            ToolFailure("\(image.name): \(error)", advice: "`saltbridge fsck --repair \(image.name)` repairs them.")
        case .tooSmall(let minimum):
            ToolFailure(
                "\(image.name): the content does not fit",
                advice: "At least \(ByteCount.display(minimum)) (\(minimum) bytes) are needed.")
        }
    }
}

extension ResizeImage.Size {
    /// Whether an image file ends where the file system does. With max it keeps what it has.
    fileprivate var endsFile: Bool {
        if case .maximum = self { return false }
        return true
    }
}
