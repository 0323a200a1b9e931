import BlockDevice
import Platform
import TestSupport
import Testing

@testable import NetworkBlockDevice

/// The ring of what a server may lose.
@Suite struct UnflushedWritesTests {
    private struct Noted: Equatable {
        let kind: UnflushedWrites.Kind
        let offset: UInt64
        let bytes: [UInt8]
    }

    private static func contents(_ writes: UnflushedWrites) throws -> [(position: UInt64, noted: Noted)] {
        var result: [(UInt64, Noted)] = []
        var position = writes.head
        while position < writes.tail {
            let record = try writes.record(at: position)
            if record.kind != .padding, !record.isVoid {
                let data = writes.data(record)
                let bytes = Self.array(data)
                result.append((position, Noted(kind: record.kind, offset: record.offset, bytes: bytes)))
            }
            position = record.end
        }
        return result
    }

    private static func array(_ buffer: AlignedBuffer) -> [UInt8] {
        let bytes = buffer.bytes
        return unsafe bytes.withUnsafeBytes { unsafe Array($0) }
    }

    @Test func keepsWhatIsNotedInOrder() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SplitMix(seed: seed)
        let descriptor = try SharedMemory.create(name: "test", byteCount: UnflushedWrites.byteCount)
        let memory = try SharedMapping(descriptor.rawValue, byteCount: UnflushedWrites.byteCount, writable: true)
        var writes = UnflushedWrites(memory)
        var model: [(position: UInt64, noted: Noted)] = []
        var refusals = 0
        var laps: UInt64 = 0
        for step in 0..<1000 {
            let count = Int(random.next() % (step % 2 == 0 ? 4096 : UInt64(UnflushedWrites.longestData) + 1))
            let kind: UnflushedWrites.Kind = random.next() % 8 == 0 ? .zero : .write
            let data = AlignedBuffer(byteCount: kind == .zero ? 0 : count)
            var bytes = data.mutableBytes
            for index in stride(from: 0, to: data.byteCount, by: 509) {
                bytes.storeBytes(of: UInt8(truncatingIfNeeded: random.next()), toByteOffset: index, as: UInt8.self)
            }
            let half = data.byteCount / 2
            let offset = random.next()
            let note = writes.append(
                kind, at: offset, byteCount: UInt64(count),
                [BufferSlice(data, 0..<half), BufferSlice(data, half..<data.byteCount)])
            if let note {
                laps = note.position / UInt64(UnflushedWrites.capacity)
                let copy = Self.array(data)
                if random.next() % 10 == 0 {
                    writes.void(note)
                } else {
                    model.append((note.position, Noted(kind: kind, offset: offset, bytes: copy)))
                }
            } else {
                refusals += 1
                // A successor finds the same.
                writes = UnflushedWrites(memory)
                #expect(writes.isSound)
                let found = try Self.contents(writes)
                #expect(found.map(\.position) == model.map(\.position))
                #expect(found.map(\.noted) == model.map(\.noted))
                let kept = random.next() % 3 == 0 ? 0 : model.count / 2
                let position = kept < model.count ? model[kept].position : writes.tail
                writes.drop(before: position)
                model.removeAll { $0.position < position }
            }
        }
        #expect(refusals > 3)
        #expect(laps > 2)
    }

    @Test func damagedNotesAreErrors() throws {
        let descriptor = try SharedMemory.create(name: "test", byteCount: UnflushedWrites.byteCount)
        let memory = try SharedMapping(descriptor.rawValue, byteCount: UnflushedWrites.byteCount, writable: true)
        let writes = UnflushedWrites(memory)
        let data = AlignedBuffer(byteCount: 5000)
        let note = try #require(writes.append(.write, at: 0, byteCount: 5000, [BufferSlice(data)]))
        for (offset, value) in [(4096, UInt32(0)), (4096, 9), (4100, .max), (4100, 5200), (4100, 32 << 20)] {
            let old = memory.load32(offset)
            memory.store32(offset, value)
            #expect(throws: BlockDeviceError.self) { try writes.record(at: note.position) }
            memory.store32(offset, old)
        }
        #expect(writes.isSound)
        for (offset, value) in [(8, UInt64.max), (16, UInt64.max), (16, 1), (16, 1 << 40)] {
            let old = memory.load64(offset)
            memory.store64(offset, value)
            #expect(!writes.isSound)
            memory.store64(offset, old)
        }
    }

    @Test func exportIsRemembered() throws {
        let writes = try UnflushedWrites()
        #expect(writes.export == nil)
        let export = try NBDExport(byteCount: 10_000, abilities: [.flush, .trim], minimum: 4096, maximum: 0)
        #expect(export.byteCount == 8192)
        #expect(export.maximumBlock == 32 << 20)
        writes.export = export
        #expect(writes.export == export)
        for (minimum, maximum) in [(UInt64(3), UInt64(0)), (1 << 20, 0), (4096, 512)] {
            #expect(throws: BlockDeviceError.self) {
                try NBDExport(byteCount: 1 << 20, abilities: [], minimum: minimum, maximum: maximum)
            }
        }
    }
}
