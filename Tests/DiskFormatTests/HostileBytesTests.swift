import BlockDevice
import DiskFormat
import TestSupport
import Testing

/// Decoding any bytes gives a value or an error: nothing traps. What the functions return doesn't matter here.
@Suite struct HostileBytesTests {
    /// Random blocks, blocks with few distinct bytes, and damaged blocks of real images.
    static func blocks(count: Int, seed: UInt64) throws -> [[UInt8]] {
        var random = SeededGenerator(seed: seed)
        let images = try [GoldenImage.empty, .smallTree].map { try $0.bytes() }
        return (0..<count).map { index in
            switch index % 4 {
            case 0: return noise(4096, seed: random.next())
            case 1:
                let alphabet: [UInt8] = [0, 1, 5, 0x0F, 0x80, 0xFC, 0xFD, 0xFE, 0xFF]
                return (0..<4096).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            default:
                let image = images[index % images.count]
                let start = Int.random(in: 0..<image.count / 4096, using: &random) * 4096
                var block = Array(image[start..<start + 4096])
                for _ in 0..<Int.random(in: 0...8, using: &random) {
                    block[Int.random(in: 0..<4096, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                return block
            }
        }
    }

    @Test func everyDecoder() throws {
        for block in try Self.blocks(count: 4000, seed: 0xD15C) { BlockExerciser.decodeWhole(block) }
        for count in [0, 1, 7, 73, 127, 128, 4095] { BlockExerciser.decode(noise(count, seed: 6)) }
    }
}
