/// Numbers and texts as bytes, one after the other, for the memory that outlives the process.
struct StateWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ value: UInt64) {
        for shift in 0..<UInt64(8) { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * shift))) }
    }

    mutating func put(_ value: UInt32) {
        for shift in 0..<UInt32(4) { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * shift))) }
    }

    mutating func put(_ value: Int) { put(UInt64(bitPattern: Int64(value))) }

    mutating func put(_ value: Bool) { bytes.append(value ? 1 : 0) }

    mutating func put(_ value: [UInt8]) {
        put(UInt32(value.count))
        bytes += value
    }
}

/// Reads what `StateWriter` wrote. Behind the end everything is zero and `isWhole` false: damaged state is found out at the end.
struct StateReader {
    private let bytes: [UInt8]
    private var position = 0
    /// Whether everything that was asked for was there.
    private(set) var isWhole = true

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private mutating func number(_ count: Int) -> UInt64 {
        guard count <= bytes.count - position else {
            isWhole = false
            return 0
        }
        var value: UInt64 = 0
        for index in 0..<count { value |= UInt64(bytes[position + index]) << UInt64(8 * index) }
        position += count
        return value
    }

    /// Whether nothing follows: what an older process wrote ends here.
    var isAtEnd: Bool { position == bytes.count }

    mutating func uint64() -> UInt64 { number(8) }

    mutating func uint32() -> UInt32 { UInt32(truncatingIfNeeded: number(4)) }

    mutating func int() -> Int { Int(truncatingIfNeeded: Int64(bitPattern: number(8))) }

    mutating func bool() -> Bool { number(1) != 0 }

    mutating func array() -> [UInt8] {
        let count = Int(uint32())
        guard count <= bytes.count - position else {
            isWhole = false
            return []
        }
        defer { position += count }
        return Array(bytes[position..<(position + count)])
    }

    /// A count of things that follow, each of at least one byte.
    mutating func count(atMost limit: Int) -> Int {
        let count = Int(uint32())
        if count > limit { isWhole = false }
        return isWhole ? count : 0
    }
}
