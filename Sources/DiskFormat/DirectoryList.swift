/// A directory list: a block of entries (u32 node number, u8 name length, name), back to back from offset 0. At 4092 the
/// u16 number of entries, at 4094 the u16 number of bytes in use; bytes behind those are stale. All functions expect a span
/// of a whole block.
public enum DirectoryList {
    /// Bytes for entries.
    public static let capacity = 4092
    /// Bytes of an entry before its name.
    public static let entryHeaderSize = 5
    /// Byte offset of the number of entries.
    public static let countOffset = 4092
    /// Byte offset of the number of bytes in use.
    public static let usedOffset = 4094

    /// An entry: where it lies and what it says.
    public struct Entry: Hashable, Sendable {
        /// Byte offset of the entry.
        public let offset: Int
        /// The node that the name leads to.
        public let node: NodeID
        /// Bytes of the name.
        public let nameLength: Int
        /// Where the name lies in the block.
        @inlinable public var nameRange: Range<Int> { offset &+ 5..<end }
        /// Byte offset of the next entry, or of the end.
        @inlinable public var end: Int { offset &+ 5 &+ nameLength }

        @inlinable
        init(offset: Int, node: NodeID, nameLength: Int) {
            self.offset = offset
            self.node = node
            self.nameLength = nameLength
        }
    }

    /// Bytes that an entry with a name of so many bytes needs.
    @inlinable public static func entrySize(nameLength: Int) -> Int { entryHeaderSize &+ nameLength }

    /// Number of entries, as stored.
    @inlinable public static func count(_ block: RawSpan) -> Int { Int(block.u16(at: countOffset)) }

    /// Number of bytes in use, as stored.
    @inlinable public static func used(_ block: RawSpan) -> Int { Int(block.u16(at: usedOffset)) }

    /// The number of bytes in use, checked against the room there is.
    @inlinable
    public static func checkedUsed(_ block: RawSpan) throws(FormatError) -> Int {
        let used = used(block)
        guard used <= capacity else {
            throw FormatError(.directoryList, .length, at: usedOffset, value: UInt64(truncatingIfNeeded: used))
        }
        return used
    }

    /// The entry at an offset: 0 or the `end` of the one before. Nil at the end of the used bytes.
    @inlinable
    public static func entry(_ block: RawSpan, at offset: Int) throws(FormatError) -> Entry? {
        let used = try checkedUsed(block)
        guard offset < used else { return nil }
        return try entry(block, at: offset, used: used)
    }

    @inlinable @inline(__always)
    static func entry(_ block: RawSpan, at offset: Int, used: Int) throws(FormatError) -> Entry {
        guard offset >= 0, used &- offset > entryHeaderSize else {
            throw FormatError(.directoryList, .length, at: offset, value: UInt64(truncatingIfNeeded: used))
        }
        let length = Int(block.u8(at: offset &+ 4))
        guard length != 0, length <= Limits.maximumNameLength, length <= used &- offset &- entryHeaderSize else {
            throw FormatError(.directoryList, .length, at: offset &+ 4, value: UInt64(truncatingIfNeeded: length))
        }
        return Entry(offset: offset, node: NodeID(block.u32(at: offset)), nameLength: length)
    }

    /// The bytes of an entry's name. The entry must come from this block.
    @inlinable
    @_lifetime(copy block)
    public static func name(_ block: RawSpan, _ entry: Entry) -> RawSpan { block.extracting(entry.nameRange) }

    /// Calls `body` with every entry until it returns false.
    @inlinable
    public static func forEach(_ block: RawSpan, _ body: (Entry) -> Bool) throws(FormatError) {
        let used = try checkedUsed(block)
        var offset = 0
        while offset < used {
            let entry = try entry(block, at: offset, used: used)
            guard body(entry) else { return }
            offset = entry.end
        }
    }

    /// The entry of a name, or nil.
    @inlinable
    public static func find(_ block: RawSpan, _ name: RawSpan) throws(FormatError) -> Entry? {
        let used = try checkedUsed(block)
        let wanted = name.byteCount
        var offset = 0
        while offset < used {
            let entry = try entry(block, at: offset, used: used)
            if entry.nameLength == wanted, block.extracting(entry.nameRange).isEqual(to: name) { return entry }
            offset = entry.end
        }
        return nil
    }

    /// Makes sure that the entries fill the used bytes exactly and are as many as the counter says, that every name is
    /// allowed and every node number possible.
    public static func check(_ block: RawSpan) throws(FormatError) {
        try FormatError.checkBlock(block, .directoryList)
        let used = try checkedUsed(block)
        var offset = 0
        var seen = 0
        while offset < used {
            let entry = try entry(block, at: offset, used: used)
            guard entry.node.isValid else {
                throw FormatError(.directoryList, .value, at: offset, value: UInt64(entry.node.rawValue))
            }
            guard FileName.fault(name(block, entry)) == nil else {
                throw FormatError(.directoryList, .name, at: offset + 5, value: UInt64(entry.nameLength))
            }
            offset = entry.end
            seen += 1
        }
        guard seen == count(block) else {
            throw FormatError(.directoryList, .length, at: countOffset, value: UInt64(count(block)))
        }
    }

    // MARK: Changes

    /// Makes the list empty; the bytes of old entries stay, as they have no meaning.
    @inlinable
    @_lifetime(block: copy block)
    public static func clear(_ block: inout MutableRawSpan) { block.setU32(0, at: countOffset) }

    /// Adds an entry behind the last; false if there is no room or the name's length is not allowed.
    @inlinable
    @_lifetime(block: copy block)
    public static func append(
        _ block: inout MutableRawSpan, node: NodeID, name: RawSpan
    ) throws(FormatError) -> Bool {
        let used = try checkedUsed(block.bytes)
        let size = entrySize(nameLength: name.byteCount)
        guard name.byteCount > 0, name.byteCount <= Limits.maximumNameLength, size <= capacity &- used else {
            return false
        }
        block.setU32(node.rawValue, at: used)
        block.setU8(UInt8(truncatingIfNeeded: name.byteCount), at: used &+ 4)
        block.copy(name, at: used &+ 5)
        block.setU16(block.bytes.u16(at: countOffset) &+ 1, at: countOffset)
        block.setU16(UInt16(truncatingIfNeeded: used &+ size), at: usedOffset)
        return true
    }

    /// Removes an entry that came from this block; the entries behind it move up.
    @inlinable
    @_lifetime(block: copy block)
    public static func remove(_ block: inout MutableRawSpan, _ entry: Entry) throws(FormatError) {
        let used = try checkedUsed(block.bytes)
        guard entry.offset >= 0, entry.end <= used else {
            throw FormatError(.directoryList, .length, at: entry.offset, value: UInt64(truncatingIfNeeded: used))
        }
        block.moveBytes(entry.end..<used, to: entry.offset)
        block.setU16(block.bytes.u16(at: countOffset) &- 1, at: countOffset)
        block.setU16(UInt16(truncatingIfNeeded: used &- (entry.end &- entry.offset)), at: usedOffset)
    }

    /// Makes an entry that came from this block lead to another node.
    @inlinable
    @_lifetime(block: copy block)
    public static func setNode(_ block: inout MutableRawSpan, _ entry: Entry, _ node: NodeID) {
        block.setU32(node.rawValue, at: entry.offset)
    }

    /// The largest name hash in the list; nil if it is empty.
    @inlinable
    public static func maximumHash(_ block: RawSpan) throws(FormatError) -> UInt32? {
        let used = try checkedUsed(block)
        var offset = 0
        var found: UInt32?
        while offset < used {
            let entry = try entry(block, at: offset, used: used)
            let hash = NameHash.of(name(block, entry))
            found = found.map { max($0, hash) } ?? hash
            offset = entry.end
        }
        return found
    }
}
