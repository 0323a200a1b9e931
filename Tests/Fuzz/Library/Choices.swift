import BlockDevice

/// Where a mutation's choices come from: a seed, or the bytes that a fuzzer found worth trying.
public struct Choices: Sendable {
    private var random: SeededGenerator?
    private var bytes: ArraySlice<UInt8> = []

    /// Choices that a seed determines; they never end.
    public init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    /// Choices made of bytes; when those are used up, every choice is 0.
    public init(bytes: [UInt8]) { self.bytes = bytes[...] }

    /// Whether there are no more choices to make.
    public var isExhausted: Bool { random == nil && bytes.isEmpty }

    /// Any 64 bits; from bytes only as many as asked for.
    public mutating func word(bytes count: Int = 8) -> UInt64 {
        if random != nil { return random?.next() ?? 0 }
        var value: UInt64 = 0
        for byte in bytes.prefix(count) { value = value << 8 | UInt64(byte) }
        bytes = bytes.dropFirst(count)
        return value
    }

    /// A number below the bound; 0 for a bound of 0.
    public mutating func below(_ bound: Int) -> Int {
        guard bound > 1 else { return 0 }
        return Int(word(bytes: bound <= 256 ? 1 : bound <= 65536 ? 2 : 4) % UInt64(bound))
    }

    /// One of the elements.
    public mutating func one<Element>(of elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[below(elements.count)]
    }
}
