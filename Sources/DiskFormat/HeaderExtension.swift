/// What this project keeps in a header's padding, so that recovery knows which requests an image contains.
///
///     3168  "SaltBrdg"             3192  mount id, 16 bytes
///     3176  u32 version = 1        3208  u64 last sequence number
///     3180  u32 flags = 0          3216  i64 commit time, s
///     3184  u64 generation         3224  u32 commit time, ns; u32 next node
///
/// The reference implementation copies the padding from header to header; the generation tells a copy from the original.
public struct HeaderExtension: Hashable, Sendable {
    /// Bytes that the extension occupies.
    public static let byteCount = 64
    /// The magic number: "SaltBrdg".
    public static let magic: UInt64 = 0x6764_7242_746C_6153
    /// The only version.
    public static let version: UInt32 = 1

    /// Which mount made the commit.
    public var mountID: Bytes16
    /// The last request that the commit contains, as that mount counts them.
    public var sequence: UInt64
    /// When the commit was made.
    public var commitTime: Timespec

    /// From where on a free number for a new node is looked for; a repetition of requests must give the same numbers.
    public var nextNode: UInt32

    /// An extension of its parts.
    public init(mountID: Bytes16, sequence: UInt64, commitTime: Timespec, nextNode: UInt32 = 0) {
        self.mountID = mountID
        self.sequence = sequence
        self.commitTime = commitTime
        self.nextNode = nextNode
    }

    /// The extension in a header block of the given generation; nil if there is none, if it is of an unknown version, or if
    /// it belongs to another generation.
    public init?(decoding block: RawSpan, generation: Generation) {
        let base = Header.Offset.padding
        guard block.byteCount >= Limits.blockSize, block.u64(at: base) == Self.magic else { return nil }
        guard block.u32(at: base + 8) == Self.version, block.u32(at: base + 12) == 0 else { return nil }
        guard block.u64(at: base + 16) == generation.rawValue else { return nil }
        mountID = Bytes16(block, at: base + 24)
        sequence = block.u64(at: base + 40)
        commitTime = Timespec(
            seconds: Int64(bitPattern: block.u64(at: base + 48)),
            nanoseconds: min(block.u32(at: base + 56), 999_999_999))
        nextNode = block.u32(at: base + 60)
    }

    /// Stores an extension, or removes the one that is there. The rest of the padding stays as it is.
    @_lifetime(block: copy block)
    static func store(_ value: HeaderExtension?, into block: inout MutableRawSpan, generation: Generation) {
        let base = Header.Offset.padding
        guard let value else {
            if block.bytes.u64(at: base) == magic { block.fill(base..<base + byteCount) }
            return
        }
        block.setU64(magic, at: base)
        block.setU32(version, at: base + 8)
        block.setU32(0, at: base + 12)
        block.setU64(generation.rawValue, at: base + 16)
        value.mountID.encode(into: &block, at: base + 24)
        block.setU64(value.sequence, at: base + 40)
        block.setU64(UInt64(bitPattern: value.commitTime.seconds), at: base + 48)
        block.setU32(value.commitTime.nanoseconds, at: base + 56)
        block.setU32(value.nextNode, at: base + 60)
    }
}
