import BlockCodec
import BlockDevice
import DiskFormat
import TestSupport
import Testing

/// Compressed records: what is packed is unpacked, and no bytes make the decoder leave its buffers.
@Suite struct LZ4RecordTests {
    static func pack(_ plain: [UInt8]) -> (level: Int, stored: [UInt8])? {
        var stored = noise(65536, seed: 99)
        guard let level = stored.withMutableRawBytes({ LZ4Record.compress(plain.rawBytes, into: &$0) }) else {
            return nil
        }
        return (level, Array(stored.prefix(4096 << level)))
    }

    static func unpack(_ stored: [UInt8], byteCount: Int) throws(FormatError) -> [UInt8] {
        var plain = noise(byteCount, seed: 7)
        try plain.withMutableRawBytes { (span) throws(FormatError) in
            try LZ4Record.decompress(stored.rawBytes, into: &span)
        }
        return plain
    }

    /// The reference's compressor and ours need not agree on bytes; each must unpack what the other packed.
    @Test func referenceVector() throws {
        let vector = try GoldenVectors.load().pangram
        let packed = try #require(Hexadecimal.bytes(vector.hex))
        #expect(packed.count == vector.len)
        var stored = [UInt8(packed.count & 255), UInt8(packed.count >> 8)] + packed
        stored += [UInt8](repeating: 0, count: 4096 - stored.count)
        let plain = try Self.unpack(stored, byteCount: 131072)
        let sentence = Array("The quick brown fox jumps over the lazy dog. ".utf8)
        #expect(plain.starts(with: sentence.dropFirst(0)) || plain.contains(UInt8(ascii: "q")))
        let again = try #require(Self.pack(plain))
        #expect(again.level == 0)
        #expect(try Self.unpack(again.stored, byteCount: 131072) == plain)
    }

    @Test func roundTrips() throws {
        var random = SeededGenerator(seed: 11)
        for level in 1...5 {
            let count = 4096 << level
            var cases = [[UInt8](repeating: 0, count: count), [UInt8](repeating: 0x41, count: count)]
            for noisy in [0, 100, count / 8, count / 4, count * 3 / 8, count / 2 - 600, count / 2, count] {
                var bytes = noise(noisy, seed: random.next())
                while bytes.count < count { bytes.append(UInt8(bytes.count / 64 & 255)) }
                cases.append(bytes)
                cases.append(bytes.reversed())
            }
            for plain in cases {
                guard let (stored, bytes) = Self.pack(plain) else { continue }
                #expect(stored < level)
                #expect(bytes.count == 4096 << stored)
                #expect(try Self.unpack(bytes, byteCount: count) == plain)
                let payload = try CompressedRecord.payload(bytes.rawBytes)
                #expect(bytes[payload.upperBound...].allSatisfy { $0 == 0 })
                #expect(CompressedRecord.level(compressedLength: payload.count, plainLevel: level) == stored)
            }
            #expect(Self.pack(cases[0])?.level == 0)
        }
    }

    @Test func incompressible() {
        for level in 1...5 { #expect(Self.pack(noise(4096 << level, seed: UInt64(level))) == nil) }
        // Half of it repeats, but far away from itself, which a sample may miss.
        let half = noise(65536 - 2048, seed: 5)
        let twice = half + half + [UInt8](repeating: 0, count: 4096)
        #expect(Self.pack(twice)?.level == 4)
        // Half of it are pieces of the other half, at odd distances.
        for pieceSize in [1023, 4099, 8000] {
            var pieces = noise(61_440, seed: 6)
            for start in stride(from: 0, to: 61_440 - pieceSize, by: pieceSize) {
                pieces += pieces[start..<start + pieceSize]
            }
            pieces = Array(pieces.prefix(122_880)) + [UInt8](repeating: 7, count: 131_072 - min(pieces.count, 122_880))
            #expect(Self.pack(pieces)?.level == 4, "pieces of \(pieceSize)")
        }
        // Zeros where a sample of a few places doesn't look.
        var gaps = noise(131_072, seed: 8)
        for start in stride(from: 700, to: 131_072 - 9000, by: 16_384) {
            gaps.replaceSubrange(start..<start + 9000, with: repeatElement(0, count: 9000))
        }
        #expect(Self.pack(gaps)?.level == 4)
        #expect(Self.pack([]) == nil)
        #expect(Self.pack(noise(4096, seed: 1)) == nil)
        #expect(Self.pack([UInt8](repeating: 0, count: 5000)) == nil)
        #expect(Self.pack([UInt8](repeating: 0, count: 262144)) == nil)
    }

    @Test func shorterContentIsZeroFilled() throws {
        let plain = [UInt8](repeating: 9, count: 8192)
        let stored = try #require(Self.pack(plain)).stored
        let unpacked = try Self.unpack(stored, byteCount: 16384)
        #expect(unpacked == plain + [UInt8](repeating: 0, count: 8192))
        #expect(throws: FormatError.self) { try Self.unpack(stored, byteCount: 4096) }
    }

    @Test func hostileBytes() throws {
        var random = SeededGenerator(seed: 0xBAD)
        var text: [UInt8] = []
        while text.count < 131072 { text += Array("line \(text.count % 7919) of a text\n".utf8) }
        let stored = try #require(Self.pack(Array(text.prefix(131072)))).stored
        for step in 0..<2000 {
            var bytes = step % 3 == 0 ? noise(4096 << (step % 5), seed: random.next()) : stored
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            // An error, or some bytes: the hash would have told before. No trap, no other memory.
            let unpacked = try? Self.unpack(bytes, byteCount: 4096 << Int.random(in: 0...5, using: &random))
            if let unpacked { #expect(unpacked.count >= 4096) }
        }
        for bad: [UInt8] in [[], [1], [0, 0], [255, 255, 0], [1, 0, 0]] {
            #expect(throws: FormatError.self) { try Self.unpack(bad, byteCount: 4096) }
        }
        #expect(throws: FormatError.self) { try Self.unpack(stored, byteCount: 0) }
    }

    @Test func manyThreads() throws {
        let failures = try Threads.run(8) { thread in
            var random = SeededGenerator(seed: UInt64(thread))
            for step in 0..<60 {
                var plain = noise(131072, seed: random.next())
                for index in plain.indices where index % 1024 < 700 { plain[index] = UInt8(step) }
                guard let (_, stored) = Self.pack(plain), (try? Self.unpack(stored, byteCount: 131072)) == plain else {
                    return false
                }
            }
            return true
        }
        #expect(failures == 0)
    }
}
