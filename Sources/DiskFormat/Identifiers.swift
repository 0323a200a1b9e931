/// A node's number: the index into the tree. Never 0 in use; none of its four bytes is 254 or 255.
public struct NodeID: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number as stored.
    public var rawValue: UInt32
    /// The node of a number, valid or not.
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The node of a number, valid or not.
    @inlinable public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// The root directory.
    @inlinable public static var root: NodeID { NodeID(1) }

    /// The node under four tree indices, from the highest level down. Indices above 253 make an invalid number.
    @inlinable
    public init(indices: (Int, Int, Int, Int)) {
        let high =
            UInt32(truncatingIfNeeded: indices.0 & 255) &<< 24 | UInt32(truncatingIfNeeded: indices.1 & 255) &<< 16
        rawValue =
            high | UInt32(truncatingIfNeeded: indices.2 & 255) &<< 8 | UInt32(truncatingIfNeeded: indices.3 & 255)
    }

    /// The index into the tree block of a level: 3 is the top block, 0 the block that points to the nodes.
    @inlinable
    public func treeIndex(level: Int) -> Int {
        Int(truncatingIfNeeded: (rawValue &>> UInt32(truncatingIfNeeded: level &* 8)) & 255)
    }

    /// Whether a node can have this number.
    @inlinable
    public var isValid: Bool {
        guard rawValue != 0 else { return false }
        for level in 0..<4 where treeIndex(level: level) >= TreeBlock.pointerCount { return false }
        return true
    }

    /// Order by number.
    @inlinable public static func < (a: NodeID, b: NodeID) -> Bool { a.rawValue < b.rawValue }
}

extension NodeID: CustomStringConvertible {
    /// The number in decimal.
    public var description: String { String(rawValue) }
}

/// The number of a 4 KiB block, from the start of the file system.
public struct BlockNumber: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number.
    public var rawValue: UInt64
    /// The block of a number.
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// The block of a number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Order by number.
    @inlinable public static func < (a: BlockNumber, b: BlockNumber) -> Bool { a.rawValue < b.rawValue }
}

extension BlockNumber: CustomStringConvertible {
    /// The number in decimal.
    public var description: String { String(rawValue) }
}

/// The number of a commit; the header of generation g lies in block g mod 256.
public struct Generation: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number.
    public var rawValue: UInt64
    /// The generation of a number.
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// The generation of a number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// The block of the ring that holds this generation's header.
    @inlinable public var ringBlock: UInt64 { rawValue % Limits.ringBlocks }
    /// The next generation; a hostile header's highest number wraps to 0 instead of trapping.
    @inlinable public var next: Generation { Generation(rawValue &+ 1) }
    /// Order by number.
    @inlinable public static func < (a: Generation, b: Generation) -> Bool { a.rawValue < b.rawValue }
}

extension Generation: CustomStringConvertible {
    /// The number in decimal.
    public var description: String { String(rawValue) }
}

/// A point in time: seconds since 1970 (negative before) and nanoseconds that count forward from there.
public struct Timespec: Hashable, Comparable, Sendable {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    public var seconds: Int64
    /// Nanoseconds, 0 to 999,999,999.
    public var nanoseconds: UInt32

    /// A point in time.
    @inlinable
    public init(seconds: Int64 = 0, nanoseconds: UInt32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// The time of stored fields: values that no clock can show are moved to the nearest that one can.
    @inlinable
    public init(storedSeconds: UInt64, nanoseconds: UInt32) {
        seconds = Int64(clamping: storedSeconds)
        self.nanoseconds = min(nanoseconds, 999_999_999)
    }

    /// Order in time.
    @inlinable
    public static func < (a: Timespec, b: Timespec) -> Bool { (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds) }
}

/// Sixteen bytes: a UUID, a salt, a key.
public struct Bytes16: Hashable, Sendable {
    /// Bytes 0..<8 as a little-endian number.
    public var low: UInt64
    /// Bytes 8..<16 as a little-endian number.
    public var high: UInt64

    /// From two halves.
    @inlinable
    public init(low: UInt64 = 0, high: UInt64 = 0) {
        self.low = low
        self.high = high
    }

    /// From 16 bytes of a span, which must be there.
    @inlinable
    public init(_ bytes: RawSpan, at offset: Int = 0) {
        low = bytes.u64(at: offset)
        high = bytes.u64(at: offset &+ 8)
    }

    /// From exactly 16 bytes.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        self.init(bytes.rawBytes)
    }

    /// Stores the 16 bytes.
    @inlinable
    @_lifetime(target: copy target)
    public func encode(into target: inout MutableRawSpan, at offset: Int = 0) {
        target.setU64(low, at: offset)
        target.setU64(high, at: offset &+ 8)
    }

    /// The byte at an index, 0 to 15.
    @inlinable
    public subscript(index: Int) -> UInt8 {
        let half = index & 8 == 0 ? low : high
        return UInt8(truncatingIfNeeded: half &>> UInt64(truncatingIfNeeded: (index & 7) &* 8))
    }

    /// The 16 bytes in order.
    public var bytes: [UInt8] { (0..<16).map { self[$0] } }
}
