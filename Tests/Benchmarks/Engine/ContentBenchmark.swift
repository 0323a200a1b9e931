import BlockDevice
import DiskFormat
import FileSystemCheck
import Platform
import RedoxFS

/// Reading and writing of content.
struct ContentBenchmark {
    let place: Place
    let parts: Set<String>
    private let total = 512 << 20
    private let request = 1 << 20

    init(place: Place, parts: Set<String>) {
        self.place = place
        self.parts = parts
    }

    func run() throws {
        var generator = SplitMix(seed: 7)
        let random = generator.bytes(64 << 20)
        let text = random.map { 97 + $0 & 7 }
        let system = try place.makeFileSystem()
        let needsFiles = !parts.isDisjoint(with: ["write", "read", "random", "check"])
        let files = needsFiles ? try sequential(system, "incompressible", random) : []
        if parts.contains("text") { _ = try sequential(system, "compressible", text) }
        if parts.contains("random") {
            try randomReads(system, files[0], random, "records of 128 KiB")
            try randomReads(system, try smallRecords(system, random), random, "records of 4 KiB")
            try randomWrites(system, random)
        }
        if parts.contains("commits") { try commits(system) }
        try system.close()
        if parts.contains("check") { try check(files.count) }
    }

    /// Writes files, reads them.
    private func sequential(_ system: FileSystem, _ kind: String, _ bytes: [UInt8]) throws -> [NodeID] {
        var context = Contexts.next()
        let files = try (0..<Report.rounds).map { try system.create(.root, "\(kind) \($0)", &context).node }
        try Report.compare(
            "sequential write, \(kind)", with: .writing(bytes, total: total, piece: request, place),
            figure: Report.speed(total)
        ) { round in
            for offset in stride(from: 0, to: total, by: request) {
                let start = offset % bytes.count
                try system.write(
                    files[round], at: UInt64(offset), bytes.rawBytes.extracting(start..<start + request), &context)
            }
            try system.commit()
        }
        guard !parts.isDisjoint(with: ["read", "text"]) else { return files }
        for file in files { try system.open(file) }
        var target = [UInt8](repeating: 0, count: request)
        try Report.compare(
            "sequential read, \(kind)", with: .reading(bytes, total: total, piece: request, place),
            figure: Report.speed(total)
        ) { round in
            for offset in stride(from: 0, to: total, by: request) {
                try read(system, files[round], UInt64(offset), &target)
            }
        }
        for file in files { try system.close(file, &context) }
        return files
    }

    private func read(_ system: FileSystem, _ file: NodeID, _ offset: UInt64, _ target: inout [UInt8]) throws {
        try target.withMutableRawBytes { (bytes) throws(FileSystemError) -> Void in
            _ = try system.read(file, at: offset, into: &bytes)
        }
    }

    private func randomReads(_ system: FileSystem, _ file: NodeID, _ bytes: [UInt8], _ kind: String) throws {
        var generator = SplitMix(seed: 1)
        var target = [UInt8](repeating: 0, count: 4096)
        let count = 10_000
        let size = try system.attributes(file).size
        try Report.compare(
            "random read of 4 KiB, \(kind)", with: .reading(bytes, total: count * 4096, piece: 4096, place),
            figure: Report.rate(count)
        ) { _ in
            for _ in 0..<count {
                let block = UInt64.random(in: 0..<size / 4096, using: &generator)
                try read(system, file, block * 4096, &target)
            }
        }
    }

    /// A file as large as the others with small records, as a database would have it.
    private func smallRecords(_ system: FileSystem, _ bytes: [UInt8]) throws -> NodeID {
        var context = Contexts.next()
        let directory = try system.create(.root, "databases", kind: .directory, mode: 0o755, &context).node
        try system.setExtendedAttribute(
            directory, Array("user.saltbridge.record_size".utf8), Array("4096".utf8).rawBytes, &context)
        let file = try system.create(directory, "database", &context).node
        for offset in stride(from: 0, to: total, by: request) {
            let start = offset % bytes.count
            try system.write(file, at: UInt64(offset), bytes.rawBytes.extracting(start..<start + request), &context)
        }
        try system.commit()
        return file
    }

    private func randomWrites(_ system: FileSystem, _ bytes: [UInt8]) throws {
        var context = Contexts.next()
        var generator = SplitMix(seed: 2)
        let file = try system.create(.root, "random", &context).node
        let size = 32 << 20
        try system.write(file, at: 0, bytes.rawBytes.extracting(0..<size), &context)
        try system.commit()
        let count = 20_000
        try Report.compare(
            "random write of 4 KiB", with: .writing(bytes, total: count * 4096, piece: 4096, place),
            figure: Report.rate(count)
        ) { _ in
            for _ in 0..<count {
                let start = Int.random(in: 0..<size / 4096, using: &generator) * 4096
                try system.write(file, at: UInt64(start), bytes.rawBytes.extracting(start..<start + 4096), &context)
            }
            try system.commit()
        }
    }

    private func commits(_ system: FileSystem) throws {
        var context = Contexts.next()
        let file = try system.create(.root, "synced", &context).node
        let count = place.isMemory ? 10_000 : 200
        let bytes = [UInt8](repeating: 1, count: 100)
        var index = 0
        try Report.compare(
            "commit of a small write",
            with: place.isMemory ? .block(count, place) : .flushedBlocks(count, place), figure: Report.latency(count)
        ) { _ in
            for _ in 0..<count {
                try system.write(file, at: UInt64(index % 30 * 100), bytes.rawBytes, &context)
                try system.commit()
                index += 1
            }
        }
    }

    private func check(_ files: Int) throws {
        let bytes = total * files
        try Report.compare(
            "check with data", with: .plainReading(total: bytes, hashes: true, place), figure: Report.speed(bytes)
        ) { _ in
            _ = try FileSystemCheck.check(place.device, CheckOptions(verifyData: true))
        }
    }
}
