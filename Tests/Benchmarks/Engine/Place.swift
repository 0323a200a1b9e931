import BlockDevice
import DiskFormat
import Platform
import RedoxFS

/// Where the file system of the benchmark lies: in memory or in a file, with room beside it that the baselines use.
struct Place {
    /// The file system's device.
    let device: any BlockDevice
    /// Part of the same device that isn't the file system's.
    let beside: any BlockDevice
    let isMemory: Bool
    /// MiB of memory that the device itself occupies.
    let residentMemory: Int

    private static let fileSystemBytes: UInt64 = 6 << 30
    private static let besideBytes: UInt64 = 512 << 20

    /// - Parameter path: "memory", or the file to create.
    init(_ path: String) throws {
        isMemory = path == "memory"
        let total = Self.fileSystemBytes + Self.besideBytes
        let whole: any BlockDevice
        if isMemory {
            whole = MemoryDevice(residentByteCount: Int(total))
        } else {
            whole = try FileDevice(creating: path, byteCount: total)
        }
        residentMemory = isMemory ? Int(total >> 20) : 0
        device = try SubrangeDevice(whole, offset: 0, byteCount: Self.fileSystemBytes)
        beside = try SubrangeDevice(whole, offset: Self.fileSystemBytes, byteCount: Self.besideBytes)
    }

    /// A new file system.
    func makeFileSystem() throws -> FileSystem {
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: Timespec(seconds: 1)))
        return try open()
    }

    /// The file system, with a thread for each processor besides the caller's own.
    func open() throws -> FileSystem {
        var options = OpenOptions()
        options.threads = max(1, Processors.count - 1)
        return try FileSystem(opening: device, options: options)
    }
}

/// Contexts of requests, each at a later time.
struct Contexts {
    nonisolated(unsafe) private static var seconds: Int64 = 1000

    static func next() -> RequestContext {
        unsafe seconds += 1
        return unsafe RequestContext(time: Timespec(seconds: seconds))
    }
}
