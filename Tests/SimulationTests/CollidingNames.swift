import DiskFormat

/// Names whose 64-bit hashes are all equal: SeaHash is no cryptographic hash, its mixing step can be inverted, so names
/// of 16 bytes can be made to order. What a hostile user could put into a directory, and more than a hash tree can split.
func namesWithEqualHash(count: Int) -> [String] {
    let prime: UInt64 = 0x6EED_0E9D_A4D9_4A4F
    // Newton's iteration for the inverse modulo 2^64: five steps double the right bits from 3 to 96.
    var inverse = prime
    for _ in 0..<5 { inverse = inverse &* (2 &- prime &* inverse) }
    func mix(_ value: UInt64) -> UInt64 {
        var x = value &* prime
        x ^= (x >> 32) >> (x >> 60)
        return x &* prime
    }
    func unmix(_ value: UInt64) -> UInt64 {
        var x = value &* inverse
        x ^= (x >> 32) >> (x >> 60)
        return x &* inverse
    }
    func isPrintable(_ word: UInt64) -> Bool {
        (0..<8).allSatisfy { index in
            let byte = UInt8(truncatingIfNeeded: word >> UInt64(8 * index))
            return byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "/") && byte != UInt8(ascii: ":")
        }
    }
    func text(_ first: UInt64, _ second: UInt64) -> String {
        let bytes = [first, second].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
    let lanes: (UInt64, UInt64) = (0x16F1_1FE8_9B0D_677C, 0xB480_A793_D8E6_C86C)
    // Two words: the result depends on mix(lane0 ^ first) ^ mix(lane1 ^ second) only. Fix that to what the first name has.
    let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)
    func word(_ number: Int) -> UInt64 {
        var rest = number
        return (0..<8).reduce(UInt64(0)) { word, index in
            let letter = letters[rest % letters.count]
            rest /= letters.count
            return word | UInt64(letter) << UInt64(8 * index)
        }
    }
    let wanted = mix(lanes.0 ^ word(0)) ^ mix(lanes.1 ^ word(1))
    var names: [String] = []
    var number = 0
    while names.count < count {
        let first = word(number)
        let second = unmix(wanted ^ mix(lanes.0 ^ first)) ^ lanes.1
        if isPrintable(second) { names.append(text(first, second)) }
        number += 1
    }
    return names
}

/// Pairs of short names that collide in the 32 bits that a directory orders by, and not in all 64; found by search.
let collidingNames = ["c063399", "c087744", "c076181", "c164253", "c002299", "c178407"]
