import BlockDevice
import DiskFormat
import Platform
import RedoxFS

/// Creates on a disk whose free space is in single blocks, against those on a fresh one.
struct FragmentedBenchmark {
    let device: any BlockDevice
    private let count = 20_000

    func run() throws {
        let fresh = try create(try EngineBenchmark.make(device))
        Report.line("creates on a fresh image, with a commit each 1,000", Report.rate(count, fresh))
        let system = try EngineBenchmark.make(device)
        var context = EngineBenchmark.context()
        let directory = try system.create(.root, "fragments", kind: .directory, mode: 0o755, &context).node
        var generator = SplitMix(seed: 5)
        let block = generator.bytes(4096)
        // Files of a block each until half of the disk is full, then every second one goes.
        let files = 150_000
        for index in 0..<files {
            let file = try system.create(directory, "f\(index)", &context).node
            try system.write(file, block, &context)
        }
        try system.commit()
        for index in stride(from: 0, to: files, by: 2) { try system.unlink(directory, "f\(index)", &context) }
        try system.close()
        let fragmented = try create(try FileSystem(opening: device))
        Report.line(
            "creates on a fragmented image", Report.rate(count, fragmented), fresh / fragmented, of: "a fresh one's")
    }

    private func create(_ system: FileSystem) throws -> Double {
        var context = EngineBenchmark.context()
        let directory = try system.create(.root, "new", kind: .directory, mode: 0o755, &context).node
        let seconds = try Report.seconds {
            for index in 0..<count {
                try system.create(directory, "file \(index)", &context)
                if index % 1000 == 999 { try system.commit() }
            }
        }
        try system.close()
        return seconds
    }
}
