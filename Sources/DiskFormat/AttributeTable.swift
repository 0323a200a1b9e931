/// A table of extended attributes: one block of level 0 to 5, the first of a chain that the node's extension points to.
///
///     0   "SBxa"                   12  u32 node number of the owner
///     4   u8 version = 1           16  pointer to the next table, or null
///     5   u8 zero                  32  entries, back to back
///     6   u16 number of entries
///     8   u32 bytes of entries in use
///
/// An entry: u8 name length (1 to 255), u8 flags (bit 0: the value lies in a block of its own), u32 value length, the name,
/// then the value or the pointer to its block. Bytes behind the entries are zero. Names are unique in the whole chain.
/// All functions but `check` expect a span that `check` has accepted, or one that `clear` has made.
public enum AttributeTable {
    /// Bytes before the entries.
    public static let headerSize = 32
    /// Bytes of an entry before its name.
    public static let entryHeaderSize = 6
    /// "SBxa" as a little-endian number.
    public static let magic: UInt32 = 0x6178_4253
    /// The only version.
    public static let version: UInt8 = 1
    /// The highest level of a table's block.
    public static let maximumLevel = 5
    /// The highest level of a value's block.
    public static let maximumValueLevel = 4
    /// Bytes in the longest name.
    public static let maximumNameLength = 255
    /// Bytes in the longest value.
    public static let maximumValueLength = 65536

    /// An entry: where it lies and what it says.
    public struct Entry: Hashable, Sendable {
        /// Byte offset of the entry in the block.
        public let offset: Int
        /// Bytes of the name.
        public let nameLength: Int
        /// Bytes of the value.
        public let valueLength: Int
        /// Where the value's own block is; nil if the value lies in the table.
        public let valuePointer: BlockPointer?
        /// Where the name lies.
        public var nameRange: Range<Int> { offset + entryHeaderSize..<offset + entryHeaderSize + nameLength }
        /// Where the value, or the pointer to it, lies.
        public var valueRange: Range<Int> {
            let start = offset + entryHeaderSize + nameLength
            return start..<start + (valuePointer == nil ? valueLength : BlockPointer.byteCount)
        }
        /// Byte offset of the next entry, or of the end.
        public var end: Int { valueRange.upperBound }
    }

    /// Bytes that an entry needs, with its value in the table or in a block of its own.
    public static func entrySize(nameLength: Int, inlineValueLength: Int?) -> Int {
        entryHeaderSize + nameLength + (inlineValueLength ?? BlockPointer.byteCount)
    }

    /// Number of entries.
    public static func count(_ table: RawSpan) -> Int { Int(table.u16(at: 6)) }

    /// Bytes of entries in use.
    public static func used(_ table: RawSpan) -> Int { Int(table.u32(at: 8)) }

    /// The node that the table belongs to.
    public static func owner(_ table: RawSpan) -> NodeID { NodeID(table.u32(at: 12)) }

    /// The pointer to the next table of the chain.
    public static func next(_ table: RawSpan) -> BlockPointer { BlockPointer(table, at: 16) }

    /// Makes sure that a block is a table, and that its entries are whole and as many as it says.
    public static func check(_ table: RawSpan) throws(FormatError) {
        try FormatError.checkBlock(table, .attributeTable)
        guard table.u32(at: 0) == magic else {
            throw FormatError(.attributeTable, .signature, value: UInt64(table.u32(at: 0)))
        }
        guard table.u8(at: 4) == version, table.u8(at: 5) == 0 else {
            throw FormatError(.attributeTable, .version, at: 4, value: UInt64(table.u16(at: 4)))
        }
        let used = used(table)
        guard used <= table.byteCount - headerSize else {
            throw FormatError(.attributeTable, .length, at: 8, value: UInt64(used))
        }
        var offset = headerSize
        var seen = 0
        while let entry = try entry(table, at: offset) {
            offset = entry.end
            seen += 1
        }
        guard seen == count(table) else {
            throw FormatError(.attributeTable, .length, at: 6, value: UInt64(count(table)))
        }
    }

    /// The entry at an offset: `headerSize` or the `end` of the one before. Nil at the end of the used bytes.
    public static func entry(_ table: RawSpan, at offset: Int) throws(FormatError) -> Entry? {
        let end = min(headerSize + used(table), table.byteCount)
        guard offset < end else { return nil }
        guard offset >= headerSize, end - offset > entryHeaderSize else {
            throw FormatError(.attributeTable, .length, at: offset, value: UInt64(end))
        }
        let nameLength = Int(table.u8(at: offset))
        let flags = table.u8(at: offset + 1)
        let valueLength = Int(table.u32(at: offset + 2))
        guard nameLength > 0, valueLength <= maximumValueLength, flags & ~1 == 0 else {
            throw FormatError(.attributeTable, .value, at: offset, value: UInt64(table.u16(at: offset)))
        }
        let size = entrySize(nameLength: nameLength, inlineValueLength: flags == 0 ? valueLength : nil)
        guard size <= end - offset else {
            throw FormatError(.attributeTable, .length, at: offset, value: UInt64(size))
        }
        let pointer = flags == 0 ? nil : BlockPointer(table, at: offset + entryHeaderSize + nameLength)
        return Entry(offset: offset, nameLength: nameLength, valueLength: valueLength, valuePointer: pointer)
    }

    /// The entry of a name, or nil.
    public static func find(_ table: RawSpan, _ name: RawSpan) throws(FormatError) -> Entry? {
        var offset = headerSize
        while let entry = try entry(table, at: offset) {
            if table.extracting(entry.nameRange).isEqual(to: name) { return entry }
            offset = entry.end
        }
        return nil
    }

    // MARK: Changes

    /// Makes an empty table of the whole span.
    @_lifetime(table: copy table)
    public static func clear(_ table: inout MutableRawSpan, owner: NodeID) {
        table.fill(0..<table.byteCount)
        table.setU32(magic, at: 0)
        table.setU8(version, at: 4)
        table.setU32(owner.rawValue, at: 12)
    }

    /// Stores the pointer to the next table of the chain.
    @_lifetime(table: copy table)
    public static func setNext(_ table: inout MutableRawSpan, _ pointer: BlockPointer) {
        pointer.encode(into: &table, at: 16)
    }

    /// Adds an entry with its value in the table; false if there is no room.
    @_lifetime(table: copy table)
    public static func append(_ table: inout MutableRawSpan, name: RawSpan, value: RawSpan) -> Bool {
        guard value.byteCount <= maximumValueLength else { return false }
        let size = entrySize(nameLength: name.byteCount, inlineValueLength: value.byteCount)
        guard let place = begin(&table, name: name, size: size) else { return false }
        table.setU8(0, at: place + 1)
        table.setU32(UInt32(truncatingIfNeeded: value.byteCount), at: place + 2)
        table.copy(value, at: place + entryHeaderSize + name.byteCount)
        return true
    }

    /// Adds an entry with its value in a block of its own; false if there is no room.
    @_lifetime(table: copy table)
    public static func append(
        _ table: inout MutableRawSpan, name: RawSpan, valueLength: Int, at pointer: BlockPointer
    ) -> Bool {
        guard valueLength >= 0, valueLength <= maximumValueLength else { return false }
        let size = entrySize(nameLength: name.byteCount, inlineValueLength: nil)
        guard let place = begin(&table, name: name, size: size) else { return false }
        table.setU8(1, at: place + 1)
        table.setU32(UInt32(truncatingIfNeeded: valueLength), at: place + 2)
        pointer.encode(into: &table, at: place + entryHeaderSize + name.byteCount)
        return true
    }

    /// Removes an entry that came from this table; the entries behind it move up and leave zeros.
    @_lifetime(table: copy table)
    public static func remove(_ table: inout MutableRawSpan, _ entry: Entry) {
        let end = headerSize + used(table.bytes)
        guard entry.offset >= headerSize, entry.end <= end, end <= table.byteCount else { return }
        let size = entry.end - entry.offset
        table.moveBytes(entry.end..<end, to: entry.offset)
        table.fill(end - size..<end)
        table.setU32(UInt32(truncatingIfNeeded: end - size - headerSize), at: 8)
        table.setU16(table.bytes.u16(at: 6) &- 1, at: 6)
    }

    /// Takes the room of a new entry, counts it and stores its name; the offset of the entry.
    @_lifetime(table: copy table)
    private static func begin(_ table: inout MutableRawSpan, name: RawSpan, size: Int) -> Int? {
        let used = used(table.bytes)
        guard name.byteCount > 0, name.byteCount <= maximumNameLength, table.byteCount >= headerSize,
            used <= table.byteCount - headerSize, size <= table.byteCount - headerSize - used,
            table.bytes.u16(at: 6) < .max
        else { return nil }
        let place = headerSize + used
        table.setU8(UInt8(truncatingIfNeeded: name.byteCount), at: place)
        table.copy(name, at: place + entryHeaderSize)
        table.setU32(UInt32(truncatingIfNeeded: used + size), at: 8)
        table.setU16(table.bytes.u16(at: 6) + 1, at: 6)
        return place
    }
}
