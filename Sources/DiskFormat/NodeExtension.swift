/// What this project keeps in the 54 bytes of padding of a node: POSIX change time, device number, extended attributes,
/// times before 1970. All zero when none of it is needed. The reference implementation copies the padding whenever it
/// rewrites a node, so two stamps say what is still true.
///
///     74   "SB"                        98   u32 device number
///     76   u8 version = 1              102  pointer to the first attribute table block, or null
///     77   u8 flags                    118  i40 mtime seconds, if flag 0 is set
///     78   u32 stamp of mtime          123  i40 atime seconds, if flag 1 is set
///     82   u32 stamp of creation time
///     86   i64 change time, s; 94 u32 ns
///
/// A stamp is the low half of SeaHash over the 12 bytes of a stored time. The stamp of the creation time tells if the
/// padding belongs to this node at all. The stamp of mtime tells if the times in here are still those of the node: when
/// the reference has changed the content since, the change time is the stored mtime. A negative time counts while the
/// stored seconds are 0; its nanoseconds are the stored ones.
public struct NodeExtension: Hashable, Sendable {
    /// Byte offsets of the fields inside the node block.
    public enum Offset {
        /// "SB".
        public static let magic = 74
        /// Version.
        public static let version = 76
        /// Flags: bit 0 = negative mtime present, bit 1 = negative atime present.
        public static let flags = 77
        /// Stamp of the stored mtime.
        public static let modificationStamp = 78
        /// Stamp of the stored creation time.
        public static let creationStamp = 82
        /// POSIX change time.
        public static let changeTime = 86
        /// Device number.
        public static let device = 98
        /// Pointer to the first attribute table block.
        public static let attributes = 102
        /// Seconds of a negative mtime, 40 bits.
        public static let modificationSeconds = 118
        /// Seconds of a negative atime, 40 bits.
        public static let accessSeconds = 123
    }

    /// "SB" as a little-endian number.
    public static let magic: UInt16 = 0x4253
    /// The only version.
    public static let version: UInt8 = 1
    /// Earliest seconds that can be kept; earlier ones become this.
    public static let earliestSeconds: Int64 = -(1 << 39)

    /// What the padding of a node is.
    public enum State: Sendable, Hashable {
        /// No extension: zeros, or bytes that are not ours.
        case absent
        /// An extension of a version that is not known; its bytes are kept as they are as long as possible.
        case unknown
        /// An extension of an earlier node that had this number.
        case foreign
        /// The node's extension.
        case present
    }

    /// Device number of a device node, 0 for others.
    public var device: UInt32
    /// Pointer to the first attribute table block, or null.
    public var attributes: BlockPointer
    /// The node's times, those of the extension where they still hold, the stored ones elsewhere.
    public var times: NodeTimes

    /// What the padding of a node block is.
    @inlinable
    public static func state(_ block: RawSpan) -> State {
        guard block.u16(at: Offset.magic) == magic else { return .absent }
        guard block.u8(at: Offset.version) == version else { return .unknown }
        guard block.u8(at: Offset.flags) & ~3 == 0 else { return .unknown }
        let stamp = stamp(block, at: NodeBlock.Offset.creationTime)
        return block.u32(at: Offset.creationStamp) == stamp ? .present : .foreign
    }

    /// The stamp of the time stored at an offset of a node block.
    @inlinable
    public static func stamp(_ block: RawSpan, at offset: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: SeaHash.hash(block.extracting(offset..<(offset &+ 12))))
    }

    /// What a node block says, with or without an extension. The block must be whole.
    @inlinable
    public init(_ block: RawSpan) {
        times = Self.times(block)
        guard Self.state(block) == .present else {
            device = 0
            attributes = .null
            return
        }
        device = block.u32(at: Offset.device)
        attributes = BlockPointer(block, at: Offset.attributes)
    }

    /// The device number of a node block, 0 if there is none.
    @inlinable
    public static func device(_ block: RawSpan) -> UInt32 {
        guard let kind = NodeBlock.kind(block), kind.isDevice, state(block) == .present else { return 0 }
        return block.u32(at: Offset.device)
    }

    /// The pointer to the first attribute table block of a node block, null if there is none.
    @inlinable
    public static func attributes(_ block: RawSpan) -> BlockPointer {
        state(block) == .present ? BlockPointer(block, at: Offset.attributes) : .null
    }

    /// The times of a node block.
    @inlinable
    public static func times(_ block: RawSpan) -> NodeTimes {
        let modification = NodeBlock.storedTime(block, at: NodeBlock.Offset.modificationTime)
        let access = NodeBlock.storedTime(block, at: NodeBlock.Offset.accessTime)
        var times = NodeTimes(access: access, modification: modification, change: modification)
        guard state(block) == .present else { return times }
        let flags = block.u8(at: Offset.flags)
        if flags & 2 != 0, access.seconds == 0 {
            times.access.seconds = signed40(block, at: Offset.accessSeconds)
        }
        let stamp = stamp(block, at: NodeBlock.Offset.modificationTime)
        guard block.u32(at: Offset.modificationStamp) == stamp else { return times }
        if flags & 1 != 0, modification.seconds == 0 {
            times.modification.seconds = signed40(block, at: Offset.modificationSeconds)
        }
        times.change = Timespec(
            seconds: Int64(bitPattern: block.u64(at: Offset.changeTime)),
            nanoseconds: min(block.u32(at: Offset.changeTime &+ 8), 999_999_999))
        return times
    }

    /// Stores times into a node block, in the fields that the reference knows and in the extension, which appears when it
    /// is needed and disappears when it isn't. Device number and attributes stay. The creation time must already be there.
    @inlinable
    @_lifetime(block: copy block)
    public static func setTimes(_ block: inout MutableRawSpan, _ times: NodeTimes) {
        let present = state(block.bytes) == .present
        store(
            &block, times, device: present ? block.bytes.u32(at: Offset.device) : 0,
            attributes: present ? BlockPointer(block.bytes, at: Offset.attributes) : .null)
    }

    /// Stores all of the extension into a node block, and the times also in the fields that the reference knows.
    @inlinable
    @_lifetime(block: copy block)
    public func encode(into block: inout MutableRawSpan) {
        Self.store(&block, times, device: device, attributes: attributes)
    }

    @usableFromInline
    @_lifetime(block: copy block)
    static func store(
        _ block: inout MutableRawSpan, _ times: NodeTimes, device: UInt32, attributes: BlockPointer
    ) {
        NodeBlock.setStoredTime(&block, at: NodeBlock.Offset.modificationTime, times.modification)
        NodeBlock.setStoredTime(&block, at: NodeBlock.Offset.accessTime, times.access)
        var flags: UInt8 = 0
        if times.modification.seconds < 0 { flags |= 1 }
        if times.access.seconds < 0 { flags |= 2 }
        let needed = times.change != times.modification || flags != 0 || device != 0 || !attributes.isNull
        guard needed else {
            if state(block.bytes) != .absent { block.fill(NodeBlock.Offset.padding..<NodeBlock.Offset.content) }
            return
        }
        let modificationStamp = stamp(block.bytes, at: NodeBlock.Offset.modificationTime)
        let creationStamp = stamp(block.bytes, at: NodeBlock.Offset.creationTime)
        block.setU16(magic, at: Offset.magic)
        block.setU8(version, at: Offset.version)
        block.setU8(flags, at: Offset.flags)
        block.setU32(modificationStamp, at: Offset.modificationStamp)
        block.setU32(creationStamp, at: Offset.creationStamp)
        block.setU64(UInt64(bitPattern: times.change.seconds), at: Offset.changeTime)
        block.setU32(times.change.nanoseconds, at: Offset.changeTime &+ 8)
        block.setU32(device, at: Offset.device)
        attributes.encode(into: &block, at: Offset.attributes)
        setSigned40(&block, at: Offset.modificationSeconds, min(times.modification.seconds, 0))
        setSigned40(&block, at: Offset.accessSeconds, min(times.access.seconds, 0))
    }

    @inlinable
    static func signed40(_ block: RawSpan, at offset: Int) -> Int64 {
        let bits = UInt64(block.u32(at: offset)) | UInt64(block.u8(at: offset &+ 4)) &<< 32
        return Int64(bitPattern: bits &<< 24) &>> 24
    }

    @usableFromInline
    @_lifetime(block: copy block)
    static func setSigned40(_ block: inout MutableRawSpan, at offset: Int, _ value: Int64) {
        let bits = UInt64(bitPattern: max(value, earliestSeconds))
        block.setU32(UInt32(truncatingIfNeeded: bits), at: offset)
        block.setU8(UInt8(truncatingIfNeeded: bits &>> 32), at: offset &+ 4)
    }
}

/// The three times of a node that POSIX knows and that change.
public struct NodeTimes: Hashable, Sendable {
    /// Last read of the content.
    public var access: Timespec
    /// Last change of the content.
    public var modification: Timespec
    /// Last change of the content or of anything that stat(2) shows.
    public var change: Timespec

    /// Times of their parts.
    @inlinable
    public init(access: Timespec, modification: Timespec, change: Timespec) {
        self.access = access
        self.modification = modification
        self.change = change
    }
}
