import BlockDevice
import DiskFormat
import Glibc
import Platform
import RedoxFS
import SystemPackage

/// What mkfs and clone have in common: makes a file system in a file, a block device or a partition.
public struct ImageMaker: Sendable {
    /// Where.
    public var reference: ImageReference
    /// The size in bytes of a file that is made or resized; nil: the size it has.
    public var byteCount: UInt64?
    /// The password, if the file system is to be encrypted.
    public var password: [UInt8]?
    /// What is put in front of the file system, for a computer to boot from.
    public var bootLoader: [UInt8] = []
    /// The file system's id; nil: a random one.
    public var uuid: Bytes16?
    /// The time of creation.
    public var now: Timespec
    /// Whether what is there already may be overwritten. Without, there must be nothing but zeros.
    public var overwrites = false

    /// A plain file system.
    public init(_ reference: ImageReference, now: Timespec) {
        self.reference = reference
        self.now = now
    }

    /// Whether there is anything at the reference's path.
    public static func exists(_ reference: ImageReference) -> Bool {
        reference.isRemote || (try? SystemCall.statusAt(AT_FDCWD, reference.path)) != nil
    }

    /// Makes it, lets the body fill it, and closes it. Before it is complete no header of it is written. A file that wasn't there
    /// before is removed if anything fails, or a signal ends the program.
    public func run<Result>(
        options: OpenOptions, _ body: (ImageVolume) throws(ToolFailure) -> Result
    ) throws(ToolFailure) -> Result {
        let path = reference.path
        let isNew = !Self.exists(reference)
        if isNew && reference.partition != nil { throw ToolFailure("\(path) does not exist") }
        try checkBootLoader()
        defer { UnfinishedFile.end() }
        do throws(ToolFailure) {
            return try make(isNew: isNew, options, body)
        } catch {
            UnfinishedFile.remove()
            throw error
        }
    }

    private func make<Result>(
        isNew: Bool, _ options: OpenOptions, _ body: (ImageVolume) throws(ToolFailure) -> Result
    ) throws(ToolFailure) -> Result {
        let image = try open(isNew: isNew)
        let random = try RandomBytes.uuid()
        var format = FormatOptions(uuid: uuid ?? random, time: now)
        // Who makes a file system can use it when it is mounted.
        format.rootUID = geteuid()
        format.rootGID = getegid()
        let block = Limits.blockSize
        format.reservedBlocks = UInt64((bootLoader.count + block - 1) / block)
        if let password {
            format.encryption = FormatOptions.Encryption(
                password: password, salt: try RandomBytes.sixteen(), dataKey: try RandomBytes.sixteen(),
                tweakKey: try RandomBytes.sixteen())
        }
        if !isNew { try clear(image, reservedBlocks: format.reservedBlocks) }
        let device = WithheldHeaders(image.device, start: format.reservedBlocks)
        do throws(FileSystemError) {
            try FileSystem.format(device, format)
        } catch {
            throw .fileSystem(error, "make a file system in", image.name)
        }
        do throws(BlockDeviceError) {
            if !bootLoader.isEmpty {
                let buffer = AlignedBuffer(byteCount: Int(format.reservedBlocks) * block)
                buffer.copyBytes(from: bootLoader.rawBytes, at: 0)
                try device.write(at: 0, buffer)
                try device.flush()
            }
        } catch {
            throw .device(error, path: image.name)
        }
        var options = options
        options.password = password
        let volume = try ImageVolume(device, name: image.name, options: options)
        let result = try body(volume)
        try volume.close()
        do throws(BlockDeviceError) {
            try device.release()
        } catch {
            throw .device(error, path: image.name)
        }
        return result
    }

    /// A header in the boot loader would be taken for the file system's own, which lies behind it.
    private func checkBootLoader() throws(ToolFailure) {
        for start in stride(from: 0, to: bootLoader.count - Limits.blockSize + 1, by: Limits.blockSize)
        where Header.isValid(bootLoader.rawBytes.extracting(start..<start + Limits.blockSize)) {
            throw ToolFailure(
                "the boot loader holds the header of a RedoxFS at byte \(start), which would hide the new file system",
                advice: "Is it an image rather than a boot loader?")
        }
    }

    /// Opens the place, makes sure that nothing valuable is there, and gives it its size.
    private func open(isNew: Bool) throws(ToolFailure) -> OpenedImage {
        let path = reference.path
        if isNew {
            guard let byteCount else {
                throw ToolFailure("\(path) does not exist", advice: "Give the size of the new image: --size 1G")
            }
            do throws(BlockDeviceError) {
                // Not the file that somebody else has made since.
                let file = try UnfinishedFile.making(path) { () throws(BlockDeviceError) in
                    try FileDevice(creating: path, byteCount: byteCount, mustBeNew: true)
                }
                return OpenedImage(
                    reference: reference, file: file, overlay: nil, whole: file, device: file, partition: nil)
            } catch {
                throw .device(error, path: path)
            }
        }
        let image = try openExisting()
        if !overwrites {
            let content: String?
            do throws(BlockDeviceError) {
                content = try FoundContent.describe(image, begin: overwrittenByteCount)
            } catch {
                throw .device(error, path: image.name)
            }
            if let content { throw ToolFailure("\(image.name) \(content)", advice: "--force overwrites it.") }
        }
        if let byteCount, byteCount != image.device.byteCount {
            guard image.partition == nil, let file = image.file, !file.isBlockSpecial else {
                throw ToolFailure(
                    "\(image.name) has \(ByteCount.display(image.device.byteCount)) and can't be given another size")
            }
            do throws(BlockDeviceError) {
                try file.resize(to: byteCount)
            } catch {
                throw .device(error, path: path)
            }
        }
        return image
    }

    private func openExisting() throws(ToolFailure) -> OpenedImage {
        if reference.partition != nil {
            return try ImageLocator.open(reference, writable: true, mustHoldFileSystem: false)
        }
        if reference.isRemote {
            let disk = try ImageLocator.openRemote(reference.path, writable: true)
            return OpenedImage(
                reference: reference, file: nil, overlay: nil, whole: disk, device: disk, partition: nil)
        }
        do throws(BlockDeviceError) {
            let file = try FileDevice(path: reference.path, writable: true)
            return OpenedImage(
                reference: reference, file: file, overlay: nil, whole: file, device: file, partition: nil)
        } catch {
            throw .device(error, path: reference.path)
        }
    }

    /// What is certainly written: the boot loader, the ring and the first blocks behind it.
    private var overwrittenByteCount: UInt64 {
        UInt64(bootLoader.count) + (2 << 20)
    }

    /// Makes sure that no header of an earlier file system is found, and gives up what the place occupies.
    private func clear(_ image: OpenedImage, reservedBlocks: UInt64) throws(ToolFailure) {
        let device = image.device
        do throws(BlockDeviceError) {
            do throws(BlockDeviceError) {
                // Of what isn't a file only the beginning and the end were looked at.
                if overwrites || image.file.map({ !$0.isBlockSpecial }) ?? false {
                    try device.discard(at: 0, byteCount: device.byteCount)
                }
            } catch {
                // It would only save space.
                guard case .unsupported = error else { throw error }
            }
            let end = (reservedBlocks + Limits.ringBlocks) * UInt64(Limits.blockSize)
            let zeros = AlignedBuffer(byteCount: 1 << 20)
            var offset: UInt64 = 0
            while offset < min(end, device.byteCount) {
                let count = min(UInt64(zeros.byteCount), min(end, device.byteCount) - offset)
                try device.write(at: offset, [BufferSlice(zeros, 0..<Int(count))])
                offset += count
            }
            try device.flush()
        } catch {
            throw .device(error, path: image.name)
        }
    }
}
