/// How a file's content is cut into records and where the pointer of each record is found: 128 pointers in the node lead
/// straight to records; then come 64, 32, 16 and 8 pointers to trees of lists with 1, 2, 3 and 4 levels.
public struct RecordLayout: Hashable, Sendable {
    /// Pointers in a node.
    public static let nodePointerCount = 248
    /// Records that can be addressed.
    public static let capacity: UInt64 = firstRecord(ofDepth: 4) + 8 << 32

    /// Base-two logarithm of a record's size in blocks.
    public let level: Int

    /// The layout of a node with the given record level; no value for a level above `Limits.maximumRecordLevel`.
    @inlinable
    public init(recordLevel: UInt32) throws(FormatError) {
        guard recordLevel <= Limits.maximumRecordLevel else {
            throw FormatError(.node, .value, at: NodeBlock.Offset.recordLevel, value: UInt64(recordLevel))
        }
        level = Int(recordLevel)
    }

    /// Base-two logarithm of a record's size in bytes.
    @inlinable public var shift: Int { level &+ Limits.blockShift }

    /// Bytes in a record.
    @inlinable public var recordSize: Int { Limits.blockSize &<< level }

    /// The largest size of a file, in bytes: anything above is EFBIG.
    @inlinable public var maximumSize: UInt64 { Self.capacity &<< UInt64(truncatingIfNeeded: shift) }

    /// The record that holds a byte.
    @inlinable public func record(at byte: UInt64) -> UInt64 { byte &>> UInt64(truncatingIfNeeded: shift) }

    /// The offset of a byte inside its record.
    @inlinable public func offset(of byte: UInt64) -> Int { Int(truncatingIfNeeded: byte) & (recordSize &- 1) }

    /// The first byte of a record; wraps for records beyond the capacity.
    @inlinable public func start(of record: UInt64) -> UInt64 { record &<< UInt64(truncatingIfNeeded: shift) }

    /// How many records a file of so many bytes has; without overflow for every size.
    @inlinable
    public func recordCount(size: UInt64) -> UInt64 {
        record(at: size) &+ (offset(of: size) == 0 ? 0 : 1)
    }

    /// The smallest level that holds so many bytes of a record, at most the layout's own: tails of files.
    @inlinable
    public func tailLevel(byteCount: Int) -> Int {
        var found = 0
        while found < level, Limits.blockSize &<< found < byteCount { found &+= 1 }
        return found
    }

    /// The first record under the pointers of a depth, 0 to 4; for 5: the capacity.
    @inlinable
    public static func firstRecord(ofDepth depth: Int) -> UInt64 {
        switch depth {
        case 0: 0
        case 1: 128
        case 2: 128 + 64 << 8
        case 3: 128 + 64 << 8 + 32 << 16
        case 4: 128 + 64 << 8 + 32 << 16 + 16 << 24
        default: 128 + 64 << 8 + 32 << 16 + 16 << 24 + 8 << 32
        }
    }

    /// The first of the node's 248 pointers of a depth, 0 to 4; for 5: their number.
    @inlinable
    public static func firstSlot(ofDepth depth: Int) -> Int {
        switch depth {
        case 0: 0
        case 1: 128
        case 2: 192
        case 3: 224
        case 4: 240
        default: 248
        }
    }

    /// How many levels of lists lie under one of the node's 248 pointers.
    @inlinable
    public static func depth(ofSlot slot: Int) -> Int {
        slot < 128 ? 0 : slot < 192 ? 1 : slot < 224 ? 2 : slot < 240 ? 3 : 4
    }

    /// The first record under one of the node's 248 pointers.
    @inlinable
    public static func firstRecord(ofSlot slot: Int) -> UInt64 {
        let depth = depth(ofSlot: slot)
        let index = UInt64(truncatingIfNeeded: slot &- firstSlot(ofDepth: depth))
        return firstRecord(ofDepth: depth) &+ index &<< UInt64(truncatingIfNeeded: depth &* 8)
    }

    /// How many records lie under one pointer that has so many levels of lists below it.
    @inlinable
    public static func recordsPerPointer(depth: Int) -> UInt64 { 1 &<< UInt64(truncatingIfNeeded: depth &* 8) }

    /// The way from the node to a record's pointer; nil beyond the capacity.
    @inlinable
    public static func path(to record: UInt64) -> RecordPath? {
        var depth = 0
        while record >= firstRecord(ofDepth: depth &+ 1) {
            depth &+= 1
            if depth == 5 { return nil }
        }
        let inside = record &- firstRecord(ofDepth: depth)
        let index = Int(truncatingIfNeeded: inside &>> UInt64(truncatingIfNeeded: depth &* 8))
        return RecordPath(
            depth: depth, slot: firstSlot(ofDepth: depth) &+ index, remainder: UInt32(truncatingIfNeeded: inside))
    }
}

/// The way from a node to the pointer of a record.
public struct RecordPath: Hashable, Sendable {
    /// How many list blocks lie between, 0 to 4.
    public let depth: Int
    /// Which of the node's 248 pointers to start with.
    public let slot: Int
    @usableFromInline let remainder: UInt32

    @inlinable
    init(depth: Int, slot: Int, remainder: UInt32) {
        self.depth = depth
        self.slot = slot
        self.remainder = remainder
    }

    /// The index in a list block: list 0 is the one that the node points to, list `depth - 1` points to the record.
    @inlinable
    public func index(inList list: Int) -> Int {
        Int(truncatingIfNeeded: remainder &>> UInt32(truncatingIfNeeded: (depth &- 1 &- list) &* 8) & 255)
    }
}
