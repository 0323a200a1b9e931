import BlockDevice
import Platform
import SystemPackage
import TestSupport
import Testing

/// The contents of a device sector by sector: which write each holds, and which it may hold after a loss of power.
private struct SectorHistory {
    struct Version {
        let bytes: [UInt8]
        /// Entries of the recording when the write began.
        let point: Int
    }

    private(set) var versions: [[Version]]
    /// Entries of the recording when a flush had returned, and how many versions each sector had when it began.
    private var flushes: [(point: Int, counts: [Int])] = []

    init(_ contents: [UInt8]) {
        versions = stride(from: 0, to: contents.count, by: 512).map { start in
            [Version(bytes: Array(contents[start..<min(start + 512, contents.count)]), point: -1)]
        }
    }

    /// The contents after a write, for the sectors that it touches.
    mutating func write(at offset: Int, _ bytes: [UInt8], point: Int) {
        for sector in (offset / 512)...((offset + bytes.count - 1) / 512) {
            guard var contents = versions[sector].last?.bytes else { continue }
            for index in contents.indices {
                let position = sector * 512 + index - offset
                if bytes.indices.contains(position) { contents[index] = bytes[position] }
            }
            versions[sector].append(Version(bytes: contents, point: point))
        }
    }

    var counts: [Int] { versions.map(\.count) }

    mutating func flushed(_ counts: [Int], point: Int) { flushes.append((point, counts)) }

    var newest: [UInt8] { versions.flatMap { $0.last?.bytes ?? [] } }

    /// The first sector whose contents can't be after a loss of power at the point.
    func wrongSector(_ contents: [UInt8], at point: Int) -> Int? {
        let counts = flushes.last { $0.point <= point }?.counts
        return versions.indices.first { sector in
            let found = contents[(sector * 512)..<min(sector * 512 + 512, contents.count)]
            let first = (counts?[sector] ?? 1) - 1
            let isPossible = versions[sector][first...].contains {
                ($0.point < point || $0.point < 0) && $0.bytes.elementsEqual(found)
            }
            return !isPossible
        }
    }
}

@Suite struct OverlayFileTests {
    /// Not a multiple of the block, so that the last block is a part of one.
    private static let baseBytes = 600 * 4096 + 1536

    private func base() -> MemoryDevice { MemoryDevice(contents: noise(Self.baseBytes, seed: 1), isWritable: false) }

    /// - Parameter unit: what offset and length are multiples of.
    private func draw(_ generator: inout SeededGenerator, unit: Int = 1) -> (offset: Int, bytes: [UInt8]) {
        let length: Int
        let offset: Int
        if unit > 1, generator.chance(0.5) {
            length = unit * Int.random(in: 1...20, using: &generator)
            offset = unit * Int.random(in: 0...((Self.baseBytes - length) / unit), using: &generator)
        } else if unit > 1 || generator.chance(0.5) {
            length = 4096 * Int.random(in: 1...20, using: &generator)
            offset = 4096 * Int.random(in: 0..<580, using: &generator)
        } else {
            length = Int.random(in: 1...9000, using: &generator)
            offset = Int.random(in: 0...(Self.baseBytes - length), using: &generator)
        }
        return (offset, noise(length, seed: generator.next()))
    }

    private func contents(_ device: any BlockDevice) throws -> [UInt8] {
        try device.readBytes(at: 0, count: Int(device.byteCount))
    }

    @Test func keepsWritesApartFromTheBase() throws {
        let base = base()
        let before = base.snapshot()
        let file = SparseMemoryDevice(byteCount: 0)
        var history = SectorHistory(before)
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<6 {
            let device = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks())
            #expect(try contents(device) == history.newest)
            for _ in 0..<60 {
                let (offset, bytes) = draw(&generator)
                try device.writeBytes(at: UInt64(offset), bytes)
                history.write(at: offset, bytes, point: 0)
                let start = Int.random(in: 0..<Self.baseBytes, using: &generator)
                let count = min(20_000, Self.baseBytes - start)
                #expect(
                    try device.readBytes(at: UInt64(start), count: count)
                        == Array(history.newest[start..<(start + count)]))
            }
            try device.flush()
        }
        #expect(base.snapshot() == before)
    }

    @Test(arguments: 0..<3) func everyLossOfPowerLeavesWhatWasFlushed(run: UInt64) throws {
        let base = base()
        let file = SimulatedDevice(byteCount: 0)
        var history = SectorHistory(base.snapshot())
        var generator = SeededGenerator(seed: run)
        let device = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks())
        for _ in 0..<40 {
            // Whole sectors: of a part, any mixture with what was there before may be left.
            let (offset, bytes) = draw(&generator, unit: 512)
            let point = file.recordedCount
            try device.writeBytes(at: UInt64(offset), bytes)
            history.write(at: offset, bytes, point: point)
            if generator.chance(0.2) {
                let counts = history.counts
                try device.flush()
                history.flushed(counts, point: file.recordedCount)
            }
        }
        var states = file.crashStates()
        var count = 0
        for point in 0...states.lastPoint {
            for seed in UInt64(0)..<5 {
                let state = try states.state(at: point, seed: seed)
                let found = try OverlayFileDevice(over: base, in: state.device, unflushed: UnflushedBlocks())
                let wrong = history.wrongSector(try contents(found), at: point)
                try #require(wrong == nil, "run \(run), point \(point), state \(seed)")
                // It goes on from there.
                try found.writeBytes(at: 0, noise(9000, seed: seed))
                try found.flush()
                let again = try OverlayFileDevice(over: base, in: state.device, unflushed: UnflushedBlocks())
                try #require(try again.readBytes(at: 0, count: 9000) == noise(9000, seed: seed))
                count += 1
            }
        }
        print("overlay: \(count) states after a loss of power")
    }

    /// The process dies at any access to the file; what it had acknowledged is there for its successor, flushed or not.
    @Test func deathLeavesWhatWasAcknowledged() throws {
        let base = base()
        for step in 0..<150 {
            let file = SimulatedDevice(byteCount: 0, recordsWrites: false, seed: UInt64(step))
            let notes = try UnflushedBlocks()
            var history = SectorHistory(base.snapshot())
            var generator = SeededGenerator(seed: 9)
            var unknown: Range<Int>?
            do {
                let device = try OverlayFileDevice(over: base, in: file, unflushed: notes)
                file.failure = SimulatedDevice.Failure(after: step, duration: .permanent)
                for _ in 0..<40 {
                    let (offset, bytes) = draw(&generator)
                    unknown = offset..<(offset + bytes.count)
                    try device.writeBytes(at: UInt64(offset), bytes)
                    history.write(at: offset, bytes, point: 0)
                    unknown = nil
                    if generator.chance(0.2) { try device.flush() }
                }
            } catch {
                #expect(file.failuresSeen > 0)
            }
            file.failure = nil
            let next = try OverlayFileDevice(over: base, in: file, unflushed: notes)
            let found = try contents(next)
            let expected = history.newest
            let wrong = found.indices.first { found[$0] != expected[$0] && !(unknown?.contains($0) ?? false) }
            #expect(wrong == nil, "step \(step)")
        }
    }

    /// What was given up reads as zeros, also where the base's contents were seen before.
    @Test func discardHidesTheBase() throws {
        let file = MemoryDevice(byteCount: 0)
        let base = base()
        var expected = try contents(base)
        let overlay = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks())
        try overlay.writeBytes(at: 40_000, noise(20_000, seed: 2))
        expected.replaceSubrange(40_000..<60_000, with: noise(20_000, seed: 2))
        for range in [100..<101, 30_000..<50_000, 8192..<16_384, (Self.baseBytes - 100)..<Self.baseBytes] {
            try overlay.discard(at: UInt64(range.lowerBound), byteCount: UInt64(range.count))
            expected.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
            #expect(try contents(overlay) == expected, "\(range)")
        }
        try overlay.flush()
        let again = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks())
        #expect(try contents(again) == expected)
        let huge = try OverlayFileDevice(
            over: SparseMemoryDevice(byteCount: 1 << 40), in: MemoryDevice(byteCount: 0), unflushed: UnflushedBlocks())
        #expect(throws: BlockDeviceError.unsupported(.discard)) { try huge.discard(at: 0, byteCount: 1 << 40) }
        #expect(huge.changedBlockCount == 0)
    }

    @Test func failedFirstWriteLeavesTheBase() throws {
        let base = base()
        let file = SimulatedDevice(byteCount: 0, recordsWrites: false)
        let device = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks())
        file.failure = SimulatedDevice.Failure(after: 0, operations: [.write], errno: .noSpace)
        #expect(throws: BlockDeviceError.self) { try device.writeBytes(at: 8192, noise(8192, seed: 4)) }
        #expect(try contents(device) == base.snapshot())
        try device.writeBytes(at: 8192, noise(8192, seed: 4))
        #expect(try device.readBytes(at: 8192, count: 8192) == noise(8192, seed: 4))
    }

    @Test func refusesWhatIsNotItsOwn() throws {
        let base = base()
        let file = MemoryDevice(byteCount: 0)
        let device = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks())
        try device.writeBytes(at: 4096, noise(50_000, seed: 6))
        try device.flush()
        // The header and the first segment: as much as is used.
        let good = Array(file.snapshot().prefix(514 * 4096))
        func open(_ base: any BlockDevice, _ bytes: [UInt8]) throws {
            let device = try OverlayFileDevice(
                over: base, in: MemoryDevice(contents: bytes), unflushed: UnflushedBlocks())
            _ = try contents(device)
        }
        try open(base, good)
        // Another base, the same one changed, a file that is something else, one too short for its header.
        var changed = base.snapshot()
        changed[100] ^= 1
        #expect(throws: BlockDeviceError.self) { try open(MemoryDevice(contents: changed), good) }
        #expect(throws: BlockDeviceError.self) { try open(MemoryDevice(byteCount: 1 << 20), good) }
        #expect(throws: BlockDeviceError.self) { try open(base, noise(1 << 20, seed: 8)) }
        #expect(throws: BlockDeviceError.self) { try open(base, noise(100, seed: 8)) }
        // Every bit of the header and of the used entries counts.
        for offset in Array(0..<48) + Array(4096..<4200) {
            for bit in 0..<8 {
                var bytes = good
                bytes[offset] ^= 1 << UInt8(bit)
                #expect(throws: BlockDeviceError.self, "bit \(bit) of byte \(offset)") { try open(base, bytes) }
            }
        }
    }

    /// A file system in a partition has its headers far from the disk's start.
    @Test func noticesAChangedPartition() throws {
        var disk = [UInt8](repeating: 0, count: 5 << 20)
        // One partition of an MBR: type, first sector and count, signature.
        disk[450] = 0x83
        disk[455] = 0x20
        disk[459] = 0x08
        disk[510] = 0x55
        disk[511] = 0xAA
        #expect(try PartitionTable.read(MemoryDevice(contents: disk)).map(\.offset) == [4 << 20])
        let file = MemoryDevice(byteCount: 0)
        _ = try OverlayFileDevice(
            over: MemoryDevice(contents: disk, isWritable: false), in: file, unflushed: UnflushedBlocks())
        disk[(4 << 20) + 5000] ^= 1
        let changed = MemoryDevice(contents: disk, isWritable: false)
        #expect(throws: BlockDeviceError.self) {
            try OverlayFileDevice(over: changed, in: file, unflushed: UnflushedBlocks())
        }
    }

    /// What was acknowledged stands in the notes: an overlay whose notes make no sense isn't opened without them.
    @Test func refusesDamagedNotes() throws {
        let base = base()
        let file = MemoryDevice(byteCount: 0)
        let descriptor = try SharedMemory.create(name: "notes", byteCount: UnflushedBlocks.byteCount)
        let memory = try SharedMapping(descriptor.rawValue, byteCount: UnflushedBlocks.byteCount, writable: true)
        _ = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks(memory))
        memory.store64(8, 5)
        #expect(throws: BlockDeviceError.self) {
            try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks(memory))
        }
    }

    /// Several threads write different parts of the same blocks for the first time.
    @Test func blockHasOnePlaceWhoeverWritesFirst() throws {
        let base = base()
        let file = SparseMemoryDevice(byteCount: 0)
        let device = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks())
        let threads = try (0..<4).map { part in
            try spawnThread(name: "writer") {
                for block in 0..<500 {
                    let bytes = [UInt8](repeating: UInt8(block & 0xFF), count: 1024)
                    try? device.writeBytes(at: UInt64(block * 4096 + part * 1024), bytes)
                    if block % 100 == part { try? device.flush() }
                }
            }
        }
        for thread in threads { thread.join() }
        try device.flush()
        #expect(device.changedBlockCount == 500)
        let again = try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks())
        for block in 0..<500 {
            let bytes = try again.readBytes(at: UInt64(block * 4096), count: 4096)
            try #require(bytes.allSatisfy { $0 == UInt8(block & 0xFF) }, "block \(block)")
        }
    }
}
