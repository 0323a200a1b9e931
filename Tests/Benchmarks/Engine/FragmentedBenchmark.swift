import BlockDevice
import DiskFormat
import Platform
import RedoxFS

/// Creates on a disk whose free space is in single blocks, against those on a fresh one of the same size.
struct FragmentedBenchmark {
    let place: Place
    private let count = 20_000

    func run() throws {
        let half = place.device.byteCount / 2
        let fresh = try make(SubrangeDevice(place.device, offset: 0, byteCount: half))
        let device = try SubrangeDevice(place.device, offset: half, byteCount: half)
        try fragment(try make(device))
        // What was freed is used again once the file system was closed.
        let fragmented = try FileSystem(opening: device)
        var round = 0
        let baseline = Baseline(name: "the same on a fresh image") {
            try create(fresh, round)
            round += 1
        }
        try Report.compare(
            "creates on a fragmented image, 1,000 a commit", with: baseline, figure: Report.rate(count)
        ) { try create(fragmented, $0) }
        try fresh.close()
        try fragmented.close()
    }

    private func make(_ device: SubrangeDevice) throws -> FileSystem {
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: Timespec(seconds: 1)))
        return try FileSystem(opening: device)
    }

    /// Files of a block each until much of the disk is full; then every second one goes.
    private func fragment(_ system: FileSystem) throws {
        var context = Contexts.next()
        let directory = try system.create(.root, "fragments", kind: .directory, mode: 0o755, &context).node
        var generator = SplitMix(seed: 5)
        let block = generator.bytes(4096)
        let files = 150_000
        for index in 0..<files {
            let file = try system.create(directory, "f\(index)", &context).node
            try system.write(file, block, &context)
        }
        try system.commit()
        for index in stride(from: 0, to: files, by: 2) { try system.unlink(directory, "f\(index)", &context) }
        try system.close()
    }

    private func create(_ system: FileSystem, _ round: Int) throws {
        var context = Contexts.next()
        let directory = try system.create(.root, "new \(round)", kind: .directory, mode: 0o755, &context).node
        for index in 0..<count {
            try system.create(directory, "file \(index)", &context)
            if index % 1000 == 999 { try system.commit() }
        }
    }
}
