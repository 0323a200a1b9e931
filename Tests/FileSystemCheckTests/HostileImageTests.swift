import BlockDevice
import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

/// Images that are wrong in ways that nobody thought of: nothing may trap, hang, or be made worse.
@Suite struct HostileImages {
    /// SALTBRIDGE_FUZZ_ITERATIONS runs more of them.
    private static let iterations = ProcessEnvironment["SALTBRIDGE_FUZZ_ITERATIONS"].flatMap { Int($0) } ?? 60

    @Test(arguments: [GoldenImage.smallTree, .sparse, .unclean, .encrypted])
    func damagedStructuresAreFoundAndRepaired(_ image: GoldenImage) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("damaged structures of \(image): seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        for iteration in 0..<Self.iterations {
            let surgeon = try Surgeon(image)
            var done: [String] = []
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let (place, name) = try Self.place(surgeon, &generator)
                // What an earlier cut left unreachable is left alone.
                guard let pointer = try? surgeon.pointer(place), !pointer.isNull, !pointer.isMarker,
                    pointer.address.isInside(blocks: 4096), pointer.address.level <= 5
                else { continue }
                try surgeon.edit(place) { bytes in Self.damage(&bytes, &generator) }
                done.append(name)
            }
            try Self.examine(surgeon, "seed \(seed) iteration \(iteration) \(done)")
        }
    }

    /// A random structure.
    private static func place(
        _ surgeon: Surgeon, _ generator: inout SeededGenerator
    ) throws -> (place: [Int], name: String) {
        let nodes = surgeon.password == nil ? 1...110 as ClosedRange<UInt32> : 1...130
        let node = UInt32.random(in: nodes, using: &generator)
        switch Int.random(in: 0..<10, using: &generator) {
        case 0: return (Surgeon.tree(node, level: Int.random(in: 0...3, using: &generator)), "tree above \(node)")
        case 1: return (Surgeon.log, "log")
        case 2: return (Surgeon.releaseList, "release list")
        case 3...5: return (Surgeon.slot(node, 1), "first list or second record of \(node)")
        case 6: return (Surgeon.slot(node, 128), "list of \(node)")
        default: return (Surgeon.node(node), "node \(node)")
        }
    }

    /// Overwrites a few fields with values that often do harm.
    private static func damage(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            // Fields of nodes and first entries lie at the front.
            let end = Bool.random(using: &generator) ? 160 : bytes.count
            let offset = Int.random(in: 0..<end - 8, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: bytes[offset] = UInt8.random(in: 0...255, using: &generator)
            case 1: bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 2: bytes.set16(UInt16.random(in: 0...UInt16.max, using: &generator), at: offset)
            case 3:
                bytes.set32([0, 1, 2, .max, 0x7FFF_FFFF, 4096][Int.random(in: 0..<6, using: &generator)], at: offset)
            case 4: bytes.set64(UInt64.random(in: 0...UInt64.max, using: &generator), at: offset)
            default: bytes.set64(UInt64.random(in: 0...1 << 20, using: &generator) << 8, at: offset & ~15)
            }
        }
    }

    private static func examine(_ surgeon: Surgeon, _ context: String) throws {
        let found = try surgeon.check(verifyData: true)
        let options = CheckOptions(password: surgeon.password)
        let inspector = try Inspector(surgeon.device, options)
        _ = inspector.usage()
        _ = inspector.map(width: 32, maximumRows: 32)
        _ = try? inspector.printedLog()
        for node in [1, 2, 17] as [UInt32] { _ = try? inspector.printedNode(node) }
        _ = try? inspector.printedBlock(300)
        do {
            let report = try surgeon.repair(verifyData: true)
            #expect(report.after.isClean, "\(context): \(report.after.findings)")
            let again = try surgeon.check(verifyData: true)
            #expect(again.isClean, "\(context): \(again.findings)")
        } catch let error as CheckError {
            // Not repairable is an answer; then nothing was written.
            let after = try surgeon.check(verifyData: true)
            #expect(after.generation == found.generation, "\(context): \(error)")
            if case .notRepairable = error { Issue.record("\(context): \(error)") }
        }
    }

    @Test func everyFlippedBitOfUsedBlocksIsFound() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("flipped bits: seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        let original = try Surgeon.original(.smallTree)
        let inspector = try Inspector(original)
        var examined = 0
        for block in stride(from: UInt64(257), to: 1500, by: 13) {
            guard try inspector.printedBlock(block).text.contains("owners:") else { continue }
            let device = OverlayDevice(over: original)
            var bytes = try device.readBytes(at: block << 12, count: 4096)
            let bit = Int.random(in: 0..<32768, using: &generator)
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            try device.writeBytes(at: block << 12, bytes)
            let report = try FileSystemCheck.check(device, CheckOptions(verifyData: true))
            // The blocks of what can't be reached any more are leaks.
            #expect(report.severity == .corruption, "seed \(seed) block \(block) bit \(bit)")
            examined += 1
        }
        #expect(examined > 50)
    }

    @Test func randomBytesAreNoFileSystem() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("random bytes: seed \(seed)")
        let device = MemoryDevice(contents: noise(2 << 20, seed: seed))
        #expect(throws: CheckError.self) { try FileSystemCheck.check(device) }
    }

    @Test func deviceThatCannotBeReadIsReported() throws {
        let device = SimulatedDevice(over: try Surgeon.original(.smallTree), recordsWrites: false)
        for operation in stride(from: 0, to: 120, by: 3) {
            device.failure = .init(after: operation, operations: [.read])
            do {
                let report = try FileSystemCheck.check(device, CheckOptions(verifyData: true))
                let isSeen = device.failuresSeen > 0
                #expect(report.isClean || isSeen)
            } catch {
                #expect(device.failuresSeen > 0)
            }
            device.failure = nil
        }
    }
}
