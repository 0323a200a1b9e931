// Benchmark of the file system engine: `bench-engine [memory|FILE] [content|names|fragmented|all]`. Every figure has a
// baseline taken in the same run: copying and hashing the same bytes for a device in memory, writing them to the file
// otherwise.

import BlockDevice
import DiskFormat
import FileSystemCheck
import Glibc
import Platform
import RedoxFS

/// What is run.
@main enum EngineBenchmark {
    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst()
        let place = arguments.first ?? "memory"
        let part = arguments.dropFirst().first ?? "all"
        let device: any BlockDevice
        if place == "memory" {
            device = MemoryDevice(byteCount: 6 << 30)
        } else {
            device = try FileDevice(creating: place, byteCount: 6 << 30)
        }
        print("device: \(place), processors: \(Processors.count)")
        if part == "all" || part == "content" {
            try ContentBenchmark(device: device, isMemory: place == "memory").run()
        }
        if part == "all" || part == "names" { try NameBenchmark(device: device).run() }
        if part == "all" || part == "fragmented" { try FragmentedBenchmark(device: device).run() }
        Report.line("peak memory", "\(Report.peakMemory()) MiB")
    }

    /// A new file system on the device.
    static func make(_ device: any BlockDevice) throws -> FileSystem {
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: Timespec(seconds: 1)))
        return try FileSystem(opening: device)
    }

    /// A time that moves on with each call.
    nonisolated(unsafe) static var seconds: Int64 = 1000

    /// The context of a request.
    static func context() -> RequestContext {
        unsafe seconds += 1
        return unsafe RequestContext(time: Timespec(seconds: seconds))
    }
}
