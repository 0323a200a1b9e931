import BlockDevice
import DiskFormat
import Glibc
import NetworkBlockDevice
import Platform
import SystemPackage

/// An image as it is named on the command line: a path, and after '#' the number of a partition.
public struct ImageReference: Hashable, Sendable {
    /// The file or block device, or the address of an NBD server's export.
    public var path: String
    /// The partition that is meant; nil: the one that holds a RedoxFS, or the whole.
    public var partition: Int?
    /// A file that keeps all writes, while the image itself is never written; nil: none.
    public var overlay: String?

    /// Takes "disk.img#2" apart. A file that really has that name is meant as a whole.
    public init(_ text: String) {
        path = text
        guard let hash = text.lastIndex(of: "#"), hash != text.startIndex,
            let number = Int(text[text.index(after: hash)...]), number > 0,
            (try? SystemCall.statusAt(AT_FDCWD, text)) == nil
        else { return }
        path = String(text[..<hash])
        partition = number
    }

    /// As on the command line.
    public var description: String { partition.map { "\(path)#\($0)" } ?? path }

    /// Whether it is exported by a server rather than a file or block device.
    public var isRemote: Bool { NBDAddress.isMeant(path) }
}

/// An image that is open.
public struct OpenedImage: Sendable {
    /// What was asked for.
    public let reference: ImageReference
    /// The whole file or block device; the base if there is an overlay. Nil if a server has it.
    public let file: FileDevice?
    /// The file of the overlay, if there is one.
    public let overlay: FileDevice?
    /// The whole disk as it is seen: the file, or the overlay over it.
    public let whole: any BlockDevice
    /// The part of it in which the file system lies.
    public let device: any BlockDevice
    /// The partition that the part is; nil for the whole.
    public let partition: Partition?

    /// For messages: the path, and the partition's number if there is one.
    public var name: String {
        partition.map { "\(reference.path)#\($0.number)" } ?? reference.path
    }
}

/// Opens images and finds the RedoxFS in them.
public enum ImageLocator {
    /// Opens an image; of one with partitions, the one that was named or the first that holds a RedoxFS. To be written it must be
    /// named if there are several.
    ///
    /// - Parameters:
    ///   - writable: open for writing, which takes an exclusive lock.
    ///   - locking: `.none` to look at an image that is mounted.
    ///   - mustHoldFileSystem: throw if no RedoxFS is found; without, the whole image is the answer then.
    public static func open(
        _ reference: ImageReference, writable: Bool, locking: FileDevice.Locking = .automatic,
        mustHoldFileSystem: Bool = true
    ) throws(ToolFailure) -> OpenedImage {
        let path = reference.path
        let located: Result<OpenedImage, ToolFailure>
        let isWritten = writable && reference.overlay == nil
        let remote = reference.isRemote ? try openRemote(path, writable: isWritten) : nil
        do throws(BlockDeviceError) {
            let file = remote == nil ? try FileDevice(path: path, writable: isWritten, locking: locking) : nil
            guard let base: any BlockDevice = remote ?? file else { throw .notADevice(path: path) }
            let overlay = try openOverlay(reference, over: base, writable: writable, locking: locking)
            located = try locate(reference, file, base, overlay, writable, mustHoldFileSystem)
        } catch {
            if case .unusable = error, let overlay = reference.overlay { throw .device(error, path: overlay) }
            throw .device(error, path: path)
        }
        return try located.get()
    }

    /// Whether two references name the same file or device, under whatever names.
    public static func isOneFile(_ one: ImageReference, _ other: ImageReference) -> Bool {
        if one.path == other.path { return true }
        guard let first = try? SystemCall.statusAt(AT_FDCWD, one.path),
            let second = try? SystemCall.statusAt(AT_FDCWD, other.path)
        else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    /// Connects to a server for as long as a command runs.
    static func openRemote(_ path: String, writable: Bool) throws(ToolFailure) -> any BlockDevice {
        let address: NBDAddress
        let endpoints: [SocketEndpoint]
        do throws(BlockDeviceError) {
            address = try NBDAddress(path)
            endpoints = try address.endpoints(from: ".")
        } catch {
            throw .device(error, path: path)
        }
        var options = NBDOptions()
        options.isWritable = writable
        options.patience = 10_000_000_000
        let notes: UnflushedWrites
        do throws(Errno) { notes = try UnflushedWrites() } catch { throw ToolFailure("\(path): \(error)") }
        let device: NBDDevice
        do throws(NBDError) {
            device = try NBDDevice(
                DirectDialer(endpoints), export: address.export, unflushed: notes, options: options)
        } catch {
            throw ToolFailure("\(path): \(error)", advice: error.advice)
        }
        guard device.isWritable || !writable else {
            throw ToolFailure(
                "\(path): the server exports it read-only",
                advice: "Mount with --read-only, or keep all writes in a file with --overlay.")
        }
        return device
    }

    /// An overlay that isn't there is made if it is to be written.
    private static func openOverlay(
        _ reference: ImageReference, over base: any BlockDevice, writable: Bool, locking: FileDevice.Locking
    ) throws(BlockDeviceError) -> (file: FileDevice, device: OverlayFileDevice)? {
        guard let path = reference.overlay else { return nil }
        let isThere = SystemCall.exists(path)
        let own =
            isThere || !writable
            ? try FileDevice(path: path, writable: writable, locking: locking)
            : try FileDevice(creating: path, byteCount: 0)
        guard !own.isBlockSpecial else { throw .unusable("an overlay is a regular file") }
        let unflushed: UnflushedBlocks
        do throws(Errno) {
            unflushed = try UnflushedBlocks()
        } catch {
            throw .cannotOpen(error, path: path)
        }
        return (own, try OverlayFileDevice(over: base, in: own, unflushed: unflushed))
    }

    /// Finds the part of an open file that is meant.
    private static func locate(
        _ reference: ImageReference, _ file: FileDevice?, _ base: any BlockDevice,
        _ overlay: (file: FileDevice, device: OverlayFileDevice)?, _ writable: Bool, _ mustHoldFileSystem: Bool
    ) throws(BlockDeviceError) -> Result<OpenedImage, ToolFailure> {
        let path = reference.path
        let whole: any BlockDevice = overlay?.device ?? base
        func opened(_ part: any BlockDevice, _ partition: Partition?) -> Result<OpenedImage, ToolFailure> {
            .success(
                OpenedImage(
                    reference: reference, file: file, overlay: overlay?.file, whole: whole, device: part,
                    partition: partition))
        }
        let partitions = try PartitionTable.read(whole)
        if let number = reference.partition {
            guard let partition = partitions.first(where: { $0.number == number }) else {
                return .failure(
                    ToolFailure("\(path) has no partition \(number)", advice: describe(partitions)))
            }
            let part = try SubrangeDevice(whole, offset: partition.offset, byteCount: partition.byteCount)
            return opened(part, partition)
        }
        // A boot loader in front of a file system may look like a partition table: only a partition that really holds
        // one counts.
        var candidates: [(part: SubrangeDevice, partition: Partition)] = []
        for partition in partitions {
            let part = try SubrangeDevice(whole, offset: partition.offset, byteCount: partition.byteCount)
            if try HeaderStore.firstHeader(part) != nil { candidates.append((part, partition)) }
        }
        if writable, candidates.count > 1 {
            return .failure(
                ToolFailure(
                    "\(path) has several partitions with a RedoxFS: name one, as \(path)#\(candidates[0].partition.number)",
                    advice: describe(candidates.map(\.partition), "These hold one: ")))
        }
        if let first = candidates.first { return opened(first.part, first.partition) }
        if mustHoldFileSystem, try HeaderStore.firstHeader(whole) == nil {
            return .failure(
                ToolFailure(
                    "no RedoxFS found in \(path)",
                    advice: partitions.isEmpty
                        ? "None of its blocks is a valid header of format 8: is it the right file?"
                        : describe(partitions)))
        }
        return opened(whole, nil)
    }

    private static func describe(_ partitions: [Partition], _ title: String = "Its partitions: ") -> String {
        if partitions.isEmpty { return "It has no partition table." }
        let list = partitions.map { partition in
            let name = partition.name.isEmpty ? partition.type : partition.name
            return "#\(partition.number) (\(name), \(ByteCount.display(partition.byteCount)))"
        }
        return title + list.joined(separator: ", ")
    }
}
