/// A block of the tree from node numbers to nodes: 254 pointers, then a bitmap of 256 bits. Bit i set = nothing is free
/// under pointer i; at the lowest level: the slot is taken. All functions expect a span of a whole block; an index must
/// be one of the 254.
public enum TreeBlock {
    /// Pointers in a block; also the number of bits in use.
    public static let pointerCount = 254
    /// Levels of tree blocks above the nodes.
    public static let levelCount = 4
    /// Byte offset of the bitmap.
    public static let bitmapOffset = 4064

    /// The pointer at an index.
    @inlinable
    public static func pointer(_ block: RawSpan, _ index: Int) -> BlockPointer { BlockPointer(block, at: index &* 16) }

    /// Stores the pointer at an index.
    @inlinable
    @_lifetime(block: copy block)
    public static func setPointer(_ block: inout MutableRawSpan, _ index: Int, _ pointer: BlockPointer) {
        pointer.encode(into: &block, at: index &* 16)
    }

    /// Whether nothing is free under an index.
    @inlinable
    public static func isFull(_ block: RawSpan, _ index: Int) -> Bool {
        block.u8(at: bitmapOffset &+ index &>> 3) &>> UInt8(truncatingIfNeeded: index & 7) & 1 != 0
    }

    /// Notes whether nothing is free under an index.
    @inlinable
    @_lifetime(block: copy block)
    public static func setFull(_ block: inout MutableRawSpan, _ index: Int, _ full: Bool) {
        let mask = 1 as UInt8 &<< UInt8(truncatingIfNeeded: index & 7)
        let byte = block.bytes.u8(at: bitmapOffset &+ index &>> 3)
        block.setU8(full ? byte | mask : byte & ~mask, at: bitmapOffset &+ index &>> 3)
    }

    /// The bitmap's word 0 to 3, without the two bits that belong to no pointer.
    @inlinable
    static func bitmapWord(_ block: RawSpan, _ word: Int) -> UInt64 {
        let bits = block.u64(at: bitmapOffset &+ word &* 8)
        return word == 3 ? bits & (.max &>> 2) : bits
    }

    /// The first index from `start` on under which something is free, or nil.
    @inlinable
    public static func firstFree(_ block: RawSpan, from start: Int = 0) -> Int? {
        guard start >= 0, start < pointerCount else { return nil }
        var word = start &>> 6
        var free = ~bitmapWord(block, word) & (.max &<< UInt64(truncatingIfNeeded: start & 63))
        while free == 0 {
            word &+= 1
            guard word < 4 else { return nil }
            free = ~bitmapWord(block, word)
        }
        let index = word &* 64 &+ free.trailingZeroBitCount
        return index < pointerCount ? index : nil
    }

    /// Whether nothing is free under any pointer: bits 0 to 253 are set.
    @inlinable public static func isFull(_ block: RawSpan) -> Bool { firstFree(block) == nil }

    /// How many indices have their bit set.
    @inlinable
    public static func fullCount(_ block: RawSpan) -> Int {
        var count = 0
        for word in 0..<4 { count &+= bitmapWord(block, word).nonzeroBitCount }
        return count
    }

    /// Whether there is no pointer at all, so that the block is to be freed.
    @inlinable
    public static func isEmpty(_ block: RawSpan) -> Bool {
        for index in 0..<pointerCount where !pointer(block, index).isNull { return false }
        return true
    }

    /// Whether the two bits that belong to no pointer are clear, as they must be.
    @inlinable public static func hasClearSpareBits(_ block: RawSpan) -> Bool { block.u8(at: 4095) & 0xC0 == 0 }
}

/// A block of 256 pointers: to records, or to further lists.
public enum ListBlock {
    /// Pointers in a block.
    public static let pointerCount = 256

    /// The pointer at an index, 0 to 255, of a span of a whole block.
    @inlinable
    public static func pointer(_ block: RawSpan, _ index: Int) -> BlockPointer { BlockPointer(block, at: index &* 16) }

    /// Stores the pointer at an index.
    @inlinable
    @_lifetime(block: copy block)
    public static func setPointer(_ block: inout MutableRawSpan, _ index: Int, _ pointer: BlockPointer) {
        pointer.encode(into: &block, at: index &* 16)
    }

    /// Whether there is no pointer, so that the list is to be freed.
    @inlinable
    public static func isEmpty(_ block: RawSpan) -> Bool {
        for index in 0..<pointerCount where !pointer(block, index).isNull { return false }
        return true
    }
}
