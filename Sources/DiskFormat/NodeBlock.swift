/// The fields of a node in its block, in place. All functions expect a span of a whole block.
///
///     0    mode u16       22   blocks used u64      66   record level u32
///     2    uid u32        30   creation time 8+4    70   flags u32
///     6    gid u32        42   mtime 8+4            74   54 bytes of padding: NodeExtension
///     10   links u32      54   atime 8+4            128  inline data, or 248 pointers
///     14   size u64
public enum NodeBlock {
    /// Byte offsets of the fields.
    public enum Offset {
        /// Type and permissions.
        public static let mode = 0
        /// Owner.
        public static let uid = 2
        /// Group.
        public static let gid = 6
        /// Number of names.
        public static let links = 10
        /// Size in bytes.
        public static let size = 14
        /// Blocks in use.
        public static let blocks = 22
        /// Creation time.
        public static let creationTime = 30
        /// Time of the last change of the content.
        public static let modificationTime = 42
        /// Time of the last read.
        public static let accessTime = 54
        /// Record level.
        public static let recordLevel = 66
        /// Flags.
        public static let flags = 70
        /// The padding.
        public static let padding = 74
        /// Inline data or pointers.
        public static let content = 128
    }

    /// Type and permissions.
    @inlinable public static func mode(_ block: RawSpan) -> UInt16 { block.u16(at: Offset.mode) }
    /// Type; nil if the mode has none.
    @inlinable public static func kind(_ block: RawSpan) -> NodeKind? { NodeKind(mode: mode(block)) }
    /// Permissions: the low 12 bits of the mode.
    @inlinable public static func permissions(_ block: RawSpan) -> UInt16 { mode(block) & 0o7777 }
    /// Owner.
    @inlinable public static func uid(_ block: RawSpan) -> UInt32 { block.u32(at: Offset.uid) }
    /// Group.
    @inlinable public static func gid(_ block: RawSpan) -> UInt32 { block.u32(at: Offset.gid) }
    /// Number of names, as stored.
    @inlinable public static func links(_ block: RawSpan) -> UInt32 { block.u32(at: Offset.links) }
    /// Size in bytes.
    @inlinable public static func size(_ block: RawSpan) -> UInt64 { block.u64(at: Offset.size) }
    /// Blocks in use.
    @inlinable public static func blocks(_ block: RawSpan) -> UInt64 { block.u64(at: Offset.blocks) }
    /// Record level.
    @inlinable public static func recordLevel(_ block: RawSpan) -> UInt32 { block.u32(at: Offset.recordLevel) }
    /// Flags.
    @inlinable public static func flags(_ block: RawSpan) -> NodeFlags {
        NodeFlags(rawValue: block.u32(at: Offset.flags))
    }
    /// Whether the content lies in the node itself.
    @inlinable public static func isInline(_ block: RawSpan) -> Bool { block.u32(at: Offset.flags) & 1 != 0 }

    /// The time stored at one of the three offsets, without the extension's part.
    @inlinable
    public static func storedTime(_ block: RawSpan, at offset: Int) -> Timespec {
        Timespec(storedSeconds: block.u64(at: offset), nanoseconds: block.u32(at: offset &+ 8))
    }

    /// Creation time.
    @inlinable
    public static func creationTime(_ block: RawSpan) -> Timespec { storedTime(block, at: Offset.creationTime) }

    /// One of the 248 pointers: `RecordLayout` says which is which.
    @inlinable
    public static func pointer(_ block: RawSpan, _ slot: Int) -> BlockPointer {
        BlockPointer(block, at: Offset.content &+ slot &* 16)
    }

    /// The inline content's room: 3968 bytes. What lies past the size is not content.
    @inlinable
    @_lifetime(copy block)
    public static func inlineContent(_ block: RawSpan) -> RawSpan {
        block.extracting(Offset.content..<Limits.blockSize)
    }

    // MARK: Stores

    /// Stores type and permissions.
    @inlinable
    @_lifetime(block: copy block)
    public static func setMode(_ block: inout MutableRawSpan, _ value: UInt16) { block.setU16(value, at: Offset.mode) }

    /// Stores the owner.
    @inlinable
    @_lifetime(block: copy block)
    public static func setUID(_ block: inout MutableRawSpan, _ value: UInt32) { block.setU32(value, at: Offset.uid) }

    /// Stores the group.
    @inlinable
    @_lifetime(block: copy block)
    public static func setGID(_ block: inout MutableRawSpan, _ value: UInt32) { block.setU32(value, at: Offset.gid) }

    /// Stores the number of names.
    @inlinable
    @_lifetime(block: copy block)
    public static func setLinks(_ block: inout MutableRawSpan, _ value: UInt32) {
        block.setU32(value, at: Offset.links)
    }

    /// Stores the size in bytes.
    @inlinable
    @_lifetime(block: copy block)
    public static func setSize(_ block: inout MutableRawSpan, _ value: UInt64) { block.setU64(value, at: Offset.size) }

    /// Stores the number of blocks in use.
    @inlinable
    @_lifetime(block: copy block)
    public static func setBlocks(_ block: inout MutableRawSpan, _ value: UInt64) {
        block.setU64(value, at: Offset.blocks)
    }

    /// Stores the record level.
    @inlinable
    @_lifetime(block: copy block)
    public static func setRecordLevel(_ block: inout MutableRawSpan, _ value: UInt32) {
        block.setU32(value, at: Offset.recordLevel)
    }

    /// Stores the flags.
    @inlinable
    @_lifetime(block: copy block)
    public static func setFlags(_ block: inout MutableRawSpan, _ value: NodeFlags) {
        block.setU32(value.rawValue, at: Offset.flags)
    }

    /// Stores a time at one of the three offsets. Seconds before 1970 are stored as 0, which the reference can read;
    /// `NodeExtension.setTimes` keeps the true ones beside it.
    @inlinable
    @_lifetime(block: copy block)
    public static func setStoredTime(_ block: inout MutableRawSpan, at offset: Int, _ value: Timespec) {
        block.setU64(value.seconds < 0 ? 0 : UInt64(value.seconds), at: offset)
        block.setU32(min(value.nanoseconds, 999_999_999), at: offset &+ 8)
    }

    /// Stores one of the 248 pointers.
    @inlinable
    @_lifetime(block: copy block)
    public static func setPointer(_ block: inout MutableRawSpan, _ slot: Int, _ pointer: BlockPointer) {
        pointer.encode(into: &block, at: Offset.content &+ slot &* 16)
    }

    /// Zeroes the content room: all pointers null.
    @inlinable
    @_lifetime(block: copy block)
    public static func clearContent(_ block: inout MutableRawSpan) { block.fill(Offset.content..<Limits.blockSize) }
}
