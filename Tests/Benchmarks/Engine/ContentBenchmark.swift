import BlockDevice
import DiskFormat
import FileSystemCheck
import Platform
import RedoxFS

/// Reading and writing of content.
struct ContentBenchmark {
    let device: any BlockDevice
    let isMemory: Bool
    private let total = 512 << 20
    private let request = 1 << 20

    func run() throws {
        var generator = SplitMix(seed: 7)
        let random = generator.bytes(64 << 20)
        let text = random.map { 97 + $0 & 7 }
        let baseline = try baseline(random)
        let name = isMemory ? "copy and hash" : "plain writing"
        Report.line("baseline: \(name)", Report.speed(total, baseline))
        let system = try EngineBenchmark.make(device)
        let file = try sequential(system, "incompressible", random, baseline, name)
        _ = try sequential(system, "compressible", text, baseline, name)
        try randomReads(system, file)
        try randomWrites(system, random)
        try commits(system)
        let checked = try Report.seconds {
            _ = try FileSystemCheck.check(device, CheckOptions(verifyData: true))
        }
        Report.line("check with data", Report.speed(total * 2, checked), baseline / checked * 2, of: name)
        try system.close()
    }

    /// The same bytes copied and hashed, or written to the device's file.
    private func baseline(_ bytes: [UInt8]) throws -> Double {
        let target = AlignedBuffer(byteCount: 128 << 10)
        var sum: UInt64 = 0
        let copying = Report.seconds {
            for offset in stride(from: 0, to: total, by: 128 << 10) {
                let start = offset % bytes.count
                target.copyBytes(from: bytes.rawBytes.extracting(start..<start + 128 << 10), at: 0)
                sum ^= SeaHash.hash(target.bytes)
            }
        }
        if sum == 1 { print("") }
        if isMemory { return copying }
        return try Report.seconds {
            let buffer = AlignedBuffer(byteCount: request)
            buffer.copyBytes(from: bytes.rawBytes.extracting(0..<request), at: 0)
            for offset in stride(from: 0, to: total, by: request) {
                try device.write(at: UInt64(offset), [BufferSlice(buffer)])
            }
            try device.flush()
        }
    }

    private func sequential(
        _ system: FileSystem, _ kind: String, _ bytes: [UInt8], _ baseline: Double, _ name: String
    ) throws -> NodeID {
        var context = EngineBenchmark.context()
        let file = try system.create(.root, kind, &context).node
        let writing = try Report.seconds {
            for offset in stride(from: 0, to: total, by: request) {
                let start = offset % bytes.count
                try system.write(
                    file, at: UInt64(offset), bytes.rawBytes.extracting(start..<start + request), &context)
            }
            try system.commit()
        }
        Report.line("sequential write, \(kind)", Report.speed(total, writing), baseline / writing, of: name)
        try system.open(file)
        var target = [UInt8](repeating: 0, count: request)
        let reading = try Report.seconds {
            for offset in stride(from: 0, to: total, by: request) {
                try target.withMutableRawBytes { (bytes) throws(FileSystemError) -> Void in
                    _ = try system.read(file, at: UInt64(offset), into: &bytes)
                }
            }
        }
        try system.close(file, &context)
        Report.line("sequential read, \(kind)", Report.speed(total, reading), baseline / reading, of: name)
        return file
    }

    private func randomReads(_ system: FileSystem, _ file: NodeID) throws {
        var generator = SplitMix(seed: 1)
        var target = [UInt8](repeating: 0, count: 4096)
        let count = 20_000
        let seconds = try Report.seconds {
            for _ in 0..<count {
                let block = UInt64.random(in: 0..<UInt64(total / 4096), using: &generator)
                try target.withMutableRawBytes { (bytes) throws(FileSystemError) -> Void in
                    _ = try system.read(file, at: block * 4096, into: &bytes)
                }
            }
        }
        Report.line("random read of 4 KiB", Report.rate(count, seconds))
    }

    private func randomWrites(_ system: FileSystem, _ bytes: [UInt8]) throws {
        var context = EngineBenchmark.context()
        var generator = SplitMix(seed: 2)
        let file = try system.create(.root, "random", &context).node
        let size = 32 << 20
        try system.write(file, at: 0, bytes.rawBytes.extracting(0..<size), &context)
        try system.commit()
        let count = 20_000
        let seconds = try Report.seconds {
            for _ in 0..<count {
                let block = Int.random(in: 0..<size / 4096, using: &generator)
                try system.write(
                    file, at: UInt64(block * 4096), bytes.rawBytes.extracting(block * 4096..<block * 4096 + 4096),
                    &context)
            }
            try system.commit()
        }
        Report.line("random write of 4 KiB", Report.rate(count, seconds))
    }

    private func commits(_ system: FileSystem) throws {
        var context = EngineBenchmark.context()
        let file = try system.create(.root, "synced", &context).node
        let count = 500
        let seconds = try Report.seconds {
            for index in 0..<count {
                try system.write(file, at: UInt64(index * 100), [UInt8](repeating: 1, count: 100), &context)
                try system.commit()
            }
        }
        Report.line("commit of a small write", Report.milliseconds(seconds / Double(count)))
    }
}
