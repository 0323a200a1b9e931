import BlockDevice
import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// Every device keeps these rules:
/// - what was written is read back, in any alignment, and nothing else changes;
/// - a range that leaves the device, in whatever way, is an error that names it, and changes nothing;
/// - new bytes after growing are zero, also where the device once was longer.
enum Kind: String, CaseIterable, Sendable {
    case memory, sparse, file, overlay, subrange, simulated

    func make(_ directory: TemporaryDirectory, byteCount: UInt64) throws -> any BlockDevice {
        switch self {
        case .memory: return MemoryDevice(byteCount: Int(byteCount))
        case .sparse: return SparseMemoryDevice(byteCount: byteCount)
        case .file: return try FileDevice(creating: directory.file("image"), byteCount: byteCount)
        case .overlay: return OverlayDevice(over: MemoryDevice(byteCount: Int(byteCount)))
        case .simulated: return SimulatedDevice(byteCount: byteCount)
        case .subrange:
            let whole = MemoryDevice(byteCount: Int(byteCount) + 1000)
            return try SubrangeDevice(whole, offset: 333, byteCount: byteCount)
        }
    }
}

@Suite struct AnyDeviceTests {
    @Test(arguments: Kind.allCases)
    func readsBackWhatWasWritten(_ kind: Kind) throws {
        let directory = try TemporaryDirectory()
        let size = 3 << 20
        let device = try kind.make(directory, byteCount: UInt64(size))
        var model = [UInt8](repeating: 0, count: size)
        let seed: UInt64 = 42
        var generator = SeededGenerator(seed: seed)
        for step in 0..<300 {
            let offset = Int.random(in: 0...size, using: &generator)
            let length = Int.random(in: 0...min(size - offset, 40_000), using: &generator)
            if generator.chance(0.5) {
                let bytes = noise(length, seed: UInt64(step))
                let cut = Int.random(in: 0...length, using: &generator)
                let buffer = AlignedBuffer(copying: unsafe bytes.span.bytes)
                try device.write(
                    at: UInt64(offset), [BufferSlice(buffer, 0..<cut), BufferSlice(buffer, cut..<length)])
                model.replaceSubrange(offset..<offset + length, with: bytes)
            } else {
                let bytes = try device.readBytes(at: UInt64(offset), count: length)
                try #require(bytes == Array(model[offset..<offset + length]), "seed \(seed), step \(step)")
            }
        }
        try device.flush()
        #expect(try device.readBytes(at: 0, count: size) == model)
    }

    @Test(arguments: Kind.allCases)
    func rangesOutsideAreErrors(_ kind: Kind) throws {
        let directory = try TemporaryDirectory()
        let size: UInt64 = 100_000
        let device = try kind.make(directory, byteCount: size)
        let hostile: [UInt64] = [
            size - 7, size, size + 1, .max, .max - 7, .max - 8, 1 << 63, (1 << 63) - 1, (1 << 63) - 8, 1 << 62,
        ]
        for offset in hostile {
            let expected = BlockDeviceError.outOfRange(
                offset: offset, length: 8, deviceByteCount: size, operation: .read)
            #expect(throws: expected) { _ = try device.readBytes(at: offset, count: 8) }
            #expect(throws: BlockDeviceError.self) { try device.writeBytes(at: offset, noise(8, seed: 1)) }
            #expect(throws: BlockDeviceError.self) { try device.discard(at: offset, byteCount: .max) }
            #expect(throws: BlockDeviceError.self) { try device.discard(at: offset, byteCount: 8) }
        }
        #expect(try device.readBytes(at: size, count: 0).isEmpty)
        let isZero = try device.readBytes(at: 0, count: Int(size)).allSatisfy { $0 == 0 }
        #expect(isZero)
        #expect(
            BlockDeviceError.outOfRange(offset: 1, length: 2, deviceByteCount: 1, operation: .read).errno
                == .invalidArgument)
    }

    @Test(arguments: Kind.allCases.filter { $0 != .subrange })
    func resizingKeepsAndZeroes(_ kind: Kind) throws {
        let directory = try TemporaryDirectory()
        let size = 3 << 20
        let device = try kind.make(directory, byteCount: UInt64(size))
        let contents = noise(size, seed: 3)
        try device.writeBytes(at: 0, contents)
        for smaller in [(2 << 20) + 17, 1 << 20, 4096 * 3 + 1, 1, 0] {
            try device.resize(to: UInt64(smaller))
            #expect(device.byteCount == UInt64(smaller))
            #expect(try device.readBytes(at: 0, count: smaller) == Array(contents[..<smaller]))
            try device.resize(to: UInt64(size))
            let rest = try device.readBytes(at: UInt64(smaller), count: size - smaller)
            #expect(rest.allSatisfy { $0 == 0 }, "smaller \(smaller)")
            #expect(try device.readBytes(at: 0, count: smaller) == Array(contents[..<smaller]))
        }
    }

    @Test func partitionsDoNotResize() throws {
        let part = try SubrangeDevice(MemoryDevice(byteCount: 100), offset: 10, byteCount: 90)
        #expect(throws: BlockDeviceError.unsupported(.resize)) { try part.resize(to: 5) }
        for (offset, count) in [(UInt64(11), UInt64(90)), (101, 0), (.max, 1), (1, .max)] {
            #expect(throws: BlockDeviceError.self) {
                _ = try SubrangeDevice(MemoryDevice(byteCount: 100), offset: offset, byteCount: count)
            }
        }
    }
}

@Suite struct SparseMemoryTests {
    @Test func hugeDevicesCostOnlyWhatIsWritten() throws {
        let device = SparseMemoryDevice(byteCount: 1 << 50)
        try device.writeBytes(at: (1 << 50) - 9, noise(9, seed: 1))
        try device.writeBytes(at: (1 << 40) - 4, noise(8, seed: 2))
        #expect(try device.readBytes(at: (1 << 50) - 9, count: 9) == noise(9, seed: 1))
        #expect(try device.readBytes(at: (1 << 40) - 4, count: 8) == noise(8, seed: 2))
        #expect(device.keptByteCount == 3 << 20)
        try device.discard(at: 0, byteCount: 1 << 50)
        #expect(device.keptByteCount == 0)
        try device.resize(to: .max)
        try device.writeBytes(at: .max - 1, [7])
        #expect(try device.readBytes(at: .max - 1, count: 1) == [7])
        try device.resize(to: 0)
        #expect(device.keptByteCount == 0)
    }
}

@Suite struct OverlayTests {
    @Test func baseStaysUnchanged() throws {
        let contents = noise(50_000, seed: 5)
        let base = MemoryDevice(contents: contents, isWritable: false)
        let first = OverlayDevice(over: base)
        let second = OverlayDevice(over: first)
        try first.writeBytes(at: 100, noise(10_000, seed: 6))
        try second.writeBytes(at: 5000, noise(20, seed: 7))
        #expect(base.snapshot() == contents)
        var expected = contents
        expected.replaceSubrange(100..<10_100, with: noise(10_000, seed: 6))
        #expect(try first.readBytes(at: 0, count: 50_000) == expected)
        expected.replaceSubrange(5000..<5020, with: noise(20, seed: 7))
        #expect(try second.readBytes(at: 0, count: 50_000) == expected)
        #expect(second.changedPageCount == 1)
    }
}
