import BlockDevice
import DiskFormat
import FileSystemCheck
import FuzzSupport
import Platform
import RedoxFS
import TestSupport
import Testing

/// Damaged images, most of them with hashes that are right all the same: nothing traps, nothing runs for ever, and what is
/// repaired is sound. A longer run: `SALTBRIDGE_FUZZ=N` multiplies the number of images, `SALTBRIDGE_SEED` starts elsewhere.
@Suite struct MutatedImageTests {
    static let factor = ProcessEnvironment["SALTBRIDGE_FUZZ"].flatMap { Int($0) } ?? 1
    static let seed = ProcessEnvironment["SALTBRIDGE_SEED"].flatMap { UInt64($0) } ?? 0x5A17

    static let images: [GoldenImage] = [
        .empty, .smallTree, .sparse, .truncateResidue, .reserved, .archived, .unclean, .full, .churn, .encrypted,
    ]

    @Test(arguments: images)
    func mutations(of image: GoldenImage) throws {
        let base = try image.device(isWritable: false)
        let surgeon = try #require(try ImageSurgeon(base, password: image.password))
        // A password hash takes longer than all else.
        let rounds = (image == .encrypted ? 4 : 60) * Self.factor
        var total = ImageExerciser.Outcome()
        for round in 0..<rounds {
            let seed = Self.seed &+ UInt64(round)
            let outcome = try Self.exercise(
                surgeon, Choices(seed: seed), times: 1 + round % 6, password: image.password)
            total.nodes += outcome.nodes
            total.errors += outcome.errors
            total.bytes += outcome.bytes
            if outcome.isRepaired { total.isRepaired = true }
            total.unrepaired += outcome.unrepaired
            #expect(outcome.faults.isEmpty, "\(image), seed \(seed)")
        }
        if Self.factor > 1 {
            print("\(image): \(total.nodes) nodes, \(total.errors) errors, not repaired: \(total.unrepaired)")
        }
        // The damage was seen, and it didn't stop everything.
        #expect(total.errors > 0 && total.nodes > 0 && total.isRepaired)
    }

    /// A large directory: fewer rounds, as there is more to look at.
    @Test func mutationsOfBigDirectory() throws {
        let base = try GoldenImage.bigDirectory.device(isWritable: false)
        let surgeon = try #require(try ImageSurgeon(base, limit: 30_000))
        for round in 0..<2 * Self.factor {
            let seed = Self.seed &+ UInt64(round)
            let outcome = try Self.exercise(surgeon, Choices(seed: seed), times: 3, password: nil)
            #expect(outcome.faults.isEmpty, "seed \(seed)")
        }
    }

    static func exercise(
        _ surgeon: ImageSurgeon, _ choices: Choices, times: Int, password: [UInt8]?
    ) throws -> ImageExerciser.Outcome {
        var mutator = ImageMutator(surgeon, choices)
        try mutator.mutate(times: times)
        var exerciser = ImageExerciser(try mutator.surgeon.device(), password: password)
        exerciser.run()
        var outcome = exerciser.outcome
        outcome.faults = outcome.faults.map { "\($0); after: \(mutator.history.joined(separator: "; "))" }
        return outcome
    }

    /// An allocation log that calls the tree's top block free, and has no other single block: a commit may not take the place
    /// of what it is about to move. It says so, and what is there stays.
    @Test(arguments: [GoldenImage.smallTree, .reserved, .archived])
    func logThatCallsTheTreeFree(image: GoldenImage) throws {
        let base = try image.device(isWritable: false)
        var surgeon = try #require(try ImageSurgeon(base))
        let newest = surgeon.header.allocationLog
        let top = surgeon.header.tree.address.number
        let log = try #require(surgeon.pieces.firstIndex { $0.kind == .log && $0.pointer == newest })
        try surgeon.edit(log, fixing: true) { bytes in
            var entries = [AllocationLogBlock.Entry(block: top, count: 1)]
            for index in 0..<AllocationLogBlock.entryCount {
                let entry = AllocationLogBlock.entry(bytes.rawBytes, index)
                let start = (entry.block + 1) & ~1
                let end = (entry.block + UInt64(max(entry.count, 0))) & ~1
                if end > start { entries.append(.init(block: start, count: Int64(end - start))) }
            }
            bytes.withMutableRawBytes { block in
                for index in 0..<AllocationLogBlock.entryCount {
                    let unused = AllocationLogBlock.Entry(block: 0, count: 0)
                    AllocationLogBlock.setEntry(&block, index, index < entries.count ? entries[index] : unused)
                }
            }
        }
        let device = try surgeon.device()
        let system = try FileSystem(opening: device)
        var context = RequestContext(time: Timespec(seconds: 1_800_000_000))
        _ = try system.create(.root, "new", kind: .file, mode: 0o644, &context)
        guard image == .archived else {
            // Here what was freed lately is used last, and the place is among it: the commit takes others and destroys nothing. That the
            // log frees the place a second time is all that is wrong.
            try system.commit()
            let report = try FileSystemCheck.check(device)
            #expect(report.counts.keys.filter { $0.severity == .corruption } == [.logFreesFree])
            return
        }
        let failure = #expect(throws: FileSystemError.self) { try system.commit() }
        guard case .corrupt(_, top)? = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        let report = try FileSystemCheck.check(device)
        #expect(report.counts.keys.filter { $0.severity == .corruption } == [.blockUsedAndFree])
    }

    /// What the fuzzer starts from and what it found: `Tests/Fixtures/fuzz`.
    @Test func corpus() throws {
        let folder = GoldenImage.folder + "/../fuzz"
        let names = try SystemCall.directoryNames(folder).sorted()
        #expect(names.count >= 48)
        for name in names {
            let faults = try FuzzInput.run(try GoldenImage.file("../fuzz/\(name)"))
            #expect(faults.isEmpty, "\(name)")
        }
        for seed in 0..<64 as Range<UInt64> {
            let faults = try FuzzInput.run([255] + noise(200, seed: seed))
            #expect(faults.isEmpty)
        }
    }

    /// An untouched image passes through the surgeon as it is, and gives no fault.
    @Test(arguments: [GoldenImage.smallTree, .reserved, .encrypted, .unclean])
    func surgeonChangesNothing(image: GoldenImage) throws {
        let base = try image.device(isWritable: false)
        var surgeon = try #require(try ImageSurgeon(base, password: image.password))
        #expect(surgeon.start == (try image.manifest().header.block))
        for piece in surgeon.pieces.indices {
            let bytes = try surgeon.plain(piece)
            #expect(SeaHash.hash(bytes.rawBytes) == surgeon.pieces[piece].pointer.hash)
            if piece % 50 == 0 { try surgeon.edit(piece, fixing: true) { $0[0] ^= 0 } }
        }
        var exerciser = ImageExerciser(try surgeon.device(), password: image.password)
        exerciser.read()
        #expect(exerciser.outcome.firstError == nil)
        #expect(exerciser.outcome.faults.isEmpty)
        let device = try surgeon.device()
        #expect(try device.readBytes(at: 0, count: Int(base.byteCount)) == base.snapshot())
    }
}
