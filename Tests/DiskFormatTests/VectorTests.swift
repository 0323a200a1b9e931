import DiskFormat
import TestSupport
import Testing

/// Hashes equal those of the reference implementation.
@Suite struct VectorTests {
    @Test func hashOfTexts() throws {
        for (text, expected) in try GoldenVectors.load().seahash {
            let hash = SeaHash.hash(Array(text.utf8).rawBytes)
            #expect(hash == UInt64(expected, radix: 16), "\(text)")
        }
        #expect(SeaHash.hash(Array("to be or not to be".utf8).rawBytes) == 1_988_685_042_348_123_509)
        #expect(SeaHash.hash([UInt8](repeating: 0, count: 4072).rawBytes) == 0xE81F_FCB8_6026_FF96)
    }

    @Test func hashOfBlocks() throws {
        let ramp = (0..<4096).map { UInt8(truncatingIfNeeded: $0 * 7 + 3) }
        for (name, expected) in try GoldenVectors.load().named {
            var bytes: [UInt8] = []
            switch name {
            case "seahash_4096_zero": bytes = [UInt8](repeating: 0, count: 4096)
            case "seahash_4096_(i*7+3)&255": bytes = (0..<4096).map { UInt8(truncatingIfNeeded: $0 * 7 + 3) }
            case "seahash_131072_(i*2654435761)>>24":
                bytes = (0..<131072).map { UInt8(truncatingIfNeeded: (UInt32($0) &* 2_654_435_761) >> 24) }
            default:
                let prefix = "seahash_ramp_prefix_"
                #expect(name.hasPrefix(prefix))
                bytes = Array(ramp.prefix(try #require(Int(name.dropFirst(prefix.count)))))
            }
            let hash = SeaHash.hash(bytes.rawBytes)
            #expect(hash == UInt64(expected, radix: 16), "\(name)")
        }
    }

    @Test func nameHashes() throws {
        for (name, expected) in try GoldenVectors.load().nameHashes {
            #expect(NameHash.of(Array(name.utf8).rawBytes) == UInt32(expected, radix: 16), "\(name)")
        }
        for pair in try #require(try GoldenImage.bigDirectory.manifest().collidingNames) where !pair.isEmpty {
            let parts = pair.split(separator: " ")
            try #require(parts.count == 3)
            let hashes = parts.prefix(2).map { NameHash.of(Array($0.utf8).rawBytes) }
            #expect(hashes[0] == hashes[1])
            #expect(hashes[0] == UInt32(parts[2], radix: 16))
        }
    }

    /// Any length and any alignment give what the definition gives, word by word.
    @Test func hashEqualsDefinition() {
        func diffuse(_ value: UInt64) -> UInt64 {
            var x = value &* 0x6EED_0E9D_A4D9_4A4F
            x ^= (x >> 32) >> (x >> 60)
            return x &* 0x6EED_0E9D_A4D9_4A4F
        }
        let bytes = noise(600, seed: 1)
        for start in 0..<9 {
            for count in 0..<300 {
                let part = Array(bytes[start..<start + count])
                var lanes: [UInt64] = [
                    0x16F1_1FE8_9B0D_677C, 0xB480_A793_D8E6_C86C, 0x6FE2_E5AA_F078_EBC9, 0x14F9_94A4_C525_9381,
                ]
                for word in stride(from: 0, to: count, by: 8) {
                    let value = part[word..<min(word + 8, count)].reversed().reduce(0 as UInt64) {
                        $0 << 8 | UInt64($1)
                    }
                    lanes = [lanes[1], lanes[2], lanes[3], diffuse(lanes[0] ^ value)]
                }
                let expected = diffuse(lanes.reduce(UInt64(count), ^))
                #expect(SeaHash.hash(bytes.rawBytes.extracting(start..<start + count)) == expected)
            }
        }
    }
}
