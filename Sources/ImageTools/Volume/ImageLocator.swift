import BlockDevice
import DiskFormat
import Glibc
import Platform

/// An image as it is named on the command line: a path, and after '#' the number of a partition.
public struct ImageReference: Hashable, Sendable {
    /// The file or block device.
    public var path: String
    /// The partition that is meant; nil: the one that holds a RedoxFS, or the whole.
    public var partition: Int?

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
}

/// An image that is open.
public struct OpenedImage: Sendable {
    /// What was asked for.
    public let reference: ImageReference
    /// The whole file or block device.
    public let file: FileDevice
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
    /// Opens an image; of one with partitions, the one that was named or the first that holds a RedoxFS.
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
        do throws(BlockDeviceError) {
            let file = try FileDevice(path: path, writable: writable, locking: locking)
            located = try locate(reference, file, mustHoldFileSystem)
        } catch {
            throw .device(error, path: path)
        }
        return try located.get()
    }

    /// Finds the part of an open file that is meant.
    static func locate(
        _ reference: ImageReference, _ file: FileDevice, _ mustHoldFileSystem: Bool
    ) throws(BlockDeviceError) -> Result<OpenedImage, ToolFailure> {
        let path = reference.path
        let partitions = try PartitionTable.read(file)
        if let number = reference.partition {
            guard let partition = partitions.first(where: { $0.number == number }) else {
                return .failure(
                    ToolFailure("\(path) has no partition \(number)", advice: describe(partitions)))
            }
            let part = try SubrangeDevice(file, offset: partition.offset, byteCount: partition.byteCount)
            return .success(OpenedImage(reference: reference, file: file, device: part, partition: partition))
        }
        // A boot loader in front of a file system may look like a partition table: only a partition that really holds
        // one counts.
        for partition in partitions {
            let part = try SubrangeDevice(file, offset: partition.offset, byteCount: partition.byteCount)
            if try HeaderStore.firstHeader(part) != nil {
                return .success(OpenedImage(reference: reference, file: file, device: part, partition: partition))
            }
        }
        if mustHoldFileSystem, try HeaderStore.firstHeader(file) == nil {
            return .failure(
                ToolFailure(
                    "no RedoxFS found in \(path)",
                    advice: partitions.isEmpty
                        ? "None of its blocks is a valid header of format 8: is it the right file?"
                        : describe(partitions)))
        }
        return .success(OpenedImage(reference: reference, file: file, device: file, partition: nil))
    }

    private static func describe(_ partitions: [Partition]) -> String {
        if partitions.isEmpty { return "It has no partition table." }
        let list = partitions.map { partition in
            let name = partition.name.isEmpty ? partition.type : partition.name
            return "#\(partition.number) (\(name), \(ByteCount.display(partition.byteCount)))"
        }
        return "Its partitions: " + list.joined(separator: ", ")
    }
}
