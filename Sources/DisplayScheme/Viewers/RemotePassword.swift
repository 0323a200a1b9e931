import CCrypto

/// The protocol's way to show that a viewer knows the password: it encrypts 16 random bytes with it (DES, as the protocol has it).
enum RemotePassword {
    /// What a viewer with the password answers to a challenge of 16 bytes.
    static func answer(_ challenge: [UInt8], _ password: [UInt8]) -> [UInt8] {
        guard challenge.count == 16 else { return [] }
        // Eight bytes at most, the bits of each in reverse order.
        var key: DES_cblock = Self.zero
        unsafe withUnsafeMutableBytes(of: &key) { bytes in
            for index in 0..<8 { unsafe bytes[index] = index < password.count ? reversed(password[index]) : 0 }
        }
        var schedule = DES_key_schedule()
        unsafe DES_set_key_unchecked(&key, &schedule)
        var result: [UInt8] = []
        for start in [0, 8] {
            var block: DES_cblock = Self.zero
            var answer: DES_cblock = Self.zero
            unsafe withUnsafeMutableBytes(of: &block) { bytes in
                for index in 0..<8 { unsafe bytes[index] = challenge[start + index] }
            }
            unsafe DES_ecb_encrypt(&block, &answer, &schedule, 1)
            unsafe withUnsafeBytes(of: &answer) { bytes in unsafe result.append(contentsOf: bytes) }
        }
        return result
    }

    /// Whether a viewer has answered a challenge as one with the password does. How long it takes says nothing of where they differ.
    static func isAnswer(_ answer: [UInt8], to challenge: [UInt8], _ password: [UInt8]) -> Bool {
        let right = Self.answer(challenge, password)
        guard right.count == 16, answer.count == right.count else { return false }
        return zip(answer, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static let zero: DES_cblock = (0, 0, 0, 0, 0, 0, 0, 0)

    private static func reversed(_ byte: UInt8) -> UInt8 {
        (0..<8).reduce(0) { $0 | (byte >> UInt8($1) & 1) << UInt8(7 - $1) }
    }
}
