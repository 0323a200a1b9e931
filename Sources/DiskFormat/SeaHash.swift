/// SeaHash with the default seeds, 64 bits: the checksum of every block and the hash of names (format: Hash).
public enum SeaHash {
    @usableFromInline static let multiplier: UInt64 = 0x6EED_0E9D_A4D9_4A4F

    @inlinable @inline(__always)
    static func diffuse(_ value: UInt64) -> UInt64 {
        var x = value &* multiplier
        x ^= (x &>> 32) &>> (x &>> 60)
        return x &* multiplier
    }

    /// The hash of the bytes of a span of any length.
    @inlinable
    public static func hash(_ bytes: RawSpan) -> UInt64 {
        var a: UInt64 = 0x16F1_1FE8_9B0D_677C
        var b: UInt64 = 0xB480_A793_D8E6_C86C
        var c: UInt64 = 0x6FE2_E5AA_F078_EBC9
        var d: UInt64 = 0x14F9_94A4_C525_9381
        let count = bytes.byteCount
        let rounds = count &>> 5
        // The lanes rotate by one per word, so after four words each is back in its place: four independent chains.
        for round in 0..<rounds {
            let offset = round &<< 5
            a = diffuse(a ^ unchecked(bytes, offset))
            b = diffuse(b ^ unchecked(bytes, offset &+ 8))
            c = diffuse(c ^ unchecked(bytes, offset &+ 16))
            d = diffuse(d ^ unchecked(bytes, offset &+ 24))
        }
        var offset = rounds &<< 5
        for _ in 0..<((count &- offset) &>> 3) {
            let mixed = diffuse(a ^ bytes.u64(at: offset))
            (a, b, c, d) = (b, c, d, mixed)
            offset &+= 8
        }
        if offset < count {
            var tail: UInt64 = 0
            for index in 0..<(count &- offset) {
                tail |= UInt64(bytes.u8(at: offset &+ index)) &<< UInt64(truncatingIfNeeded: index &<< 3)
            }
            let mixed = diffuse(a ^ tail)
            (a, b, c, d) = (b, c, d, mixed)
        }
        return diffuse(a ^ b ^ c ^ d ^ UInt64(truncatingIfNeeded: count))
    }

    /// A word of the main loop, whose counter bounds the offset: a check per word would cost a third of the speed.
    @inlinable @inline(__always)
    static func unchecked(_ bytes: RawSpan, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self))
    }
}
