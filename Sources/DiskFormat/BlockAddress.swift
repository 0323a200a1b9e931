/// Where a block lies and how large it is.
///
///     bits 0..3   level n: the block is 2^n consecutive 4 KiB blocks
///     bits 4..7   level after decompression, 0 = not compressed
///     bits 8..63  block number
public struct BlockAddress: RawRepresentable, Hashable, Sendable {
    /// The address as stored.
    public var rawValue: UInt64

    /// The address of stored bits.
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// No block.
    @inlinable public static var null: BlockAddress { BlockAddress(rawValue: 0) }

    /// The address of a block. Bits of the number above the 56 that are stored are lost, levels are taken mod 16.
    @inlinable
    public init(number: UInt64, level: Int, decompressedLevel: Int = 0) {
        rawValue = number &<< 8 | UInt64(truncatingIfNeeded: (decompressedLevel & 15) &<< 4 | (level & 15))
    }

    /// Base-two logarithm of the stored size in blocks, 0 to 15.
    @inlinable public var level: Int { Int(truncatingIfNeeded: rawValue & 15) }

    /// Base-two logarithm of the size after decompression, 0 = not compressed.
    @inlinable public var decompressedLevel: Int { Int(truncatingIfNeeded: rawValue &>> 4 & 15) }

    /// Whether the block holds a compressed record.
    @inlinable public var isCompressed: Bool { decompressedLevel != 0 }

    /// Level of the content as its user sees it: after decompression if there is one.
    @inlinable public var contentLevel: Int { isCompressed ? decompressedLevel : level }

    /// The number of the first 4 KiB block.
    @inlinable public var number: UInt64 { rawValue &>> 8 }

    /// How many consecutive 4 KiB blocks are stored.
    @inlinable public var blockCount: UInt64 { 1 &<< UInt64(truncatingIfNeeded: level) }

    /// How many bytes are stored.
    @inlinable public var byteCount: Int { Limits.blockSize &<< level }

    /// How many bytes the content has after decompression.
    @inlinable public var contentByteCount: Int { Limits.blockSize &<< contentLevel }

    /// The blocks that are stored.
    @inlinable public var blocks: Range<UInt64> { number..<(number &+ blockCount) }

    /// Whether there is no block: number 0, whatever the levels say.
    @inlinable public var isNull: Bool { number == 0 }

    /// Byte offset of the block from the start of the file system. Wraps for numbers that `isInside` refuses.
    @inlinable public var byteOffset: UInt64 { number &<< 12 }

    /// Whether the whole block lies behind the header ring and inside a file system of so many blocks.
    @inlinable
    public func isInside(blocks total: UInt64) -> Bool {
        number >= Limits.ringBlocks && number &+ blockCount <= total
    }

    /// Makes sure that this is the address of one 4 KiB metadata block inside a file system of so many blocks.
    @inlinable
    public func checkMetadata(blocks total: UInt64, of structure: FormatError.Structure) throws(FormatError) {
        guard isInside(blocks: total) else { throw FormatError(structure, .outOfRange, value: rawValue) }
        guard level == 0, decompressedLevel == 0 else { throw FormatError(structure, .value, value: rawValue) }
    }

    /// Makes sure that this is the address of a record, inside a file system of so many blocks, for a node with the
    /// given record level: not larger than that and, if compressed, larger afterwards than stored.
    @inlinable
    public func checkRecord(blocks total: UInt64, recordLevel: UInt32) throws(FormatError) {
        guard isInside(blocks: total) else { throw FormatError(.record, .outOfRange, value: rawValue) }
        guard contentLevel <= Int(recordLevel), !isCompressed || level < decompressedLevel else {
            throw FormatError(.record, .value, value: rawValue)
        }
    }
}

extension BlockAddress: CustomStringConvertible {
    /// Block number, and the levels where they are not 0.
    public var description: String {
        if isNull { return "null" }
        let size = level == 0 ? "" : "+\(blockCount)"
        return isCompressed ? "\(number)\(size) (level \(decompressedLevel))" : "\(number)\(size)"
    }
}

/// An address and the hash of the plain bytes stored there: 16 bytes on disk.
public struct BlockPointer: Hashable, Sendable {
    /// Bytes that a pointer occupies.
    public static let byteCount = 16

    /// Where the block lies.
    public var address: BlockAddress
    /// SeaHash of the block as stored, after decryption and before decompression.
    public var hash: UInt64

    /// A pointer of its parts.
    @inlinable
    public init(address: BlockAddress, hash: UInt64) {
        self.address = address
        self.hash = hash
    }

    /// The pointer stored at an offset; 16 bytes must be there.
    @inlinable @inline(__always)
    public init(_ bytes: RawSpan, at offset: Int) {
        address = BlockAddress(rawValue: bytes.u64(at: offset))
        hash = bytes.u64(at: offset &+ 8)
    }

    /// No block.
    @inlinable public static var null: BlockPointer { BlockPointer(address: .null, hash: 0) }

    /// The marker of directories: all ones but for the level bits, which hold the depth of the hash tree.
    @inlinable
    public static func marker(depth: Int) -> BlockPointer {
        BlockPointer(address: BlockAddress(rawValue: ~15 | UInt64(truncatingIfNeeded: depth & 15)), hash: .max)
    }

    /// Whether there is no block.
    @inlinable public var isNull: Bool { address.isNull }

    /// Whether this is a marker, which points to no block.
    @inlinable public var isMarker: Bool { address.rawValue | 15 == .max && hash == .max }

    /// Stores the pointer; 16 bytes must be there.
    @inlinable @inline(__always)
    @_lifetime(target: copy target)
    public func encode(into target: inout MutableRawSpan, at offset: Int) {
        target.setU64(address.rawValue, at: offset)
        target.setU64(hash, at: offset &+ 8)
    }

    /// Whether the plain bytes of a block are the ones this pointer was made for.
    @inlinable
    public func matches(_ plain: RawSpan) -> Bool { SeaHash.hash(plain) == hash }
}

extension BlockPointer: CustomStringConvertible {
    /// The address and, unless null, the hash in hexadecimal.
    public var description: String {
        if isMarker { return "marker(depth \(address.level))" }
        return isNull ? "null" : "\(address) hash \(String(hash, radix: 16))"
    }
}
