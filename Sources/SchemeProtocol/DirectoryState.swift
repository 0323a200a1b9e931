/// What a change inside a directory changes of the directory's own attributes: the end of the reply to a request with
/// `SubmissionFlags.tellsDirectory`.
///
///      0  size u64          8  blocks of 512 bytes u64
///     16  mtime s i64      24  ctime s i64
///     32  mtime ns u32     36  ctime ns u32    40  links u32    44  zero u32
public struct DirectoryState: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 48
    /// Size in bytes.
    public var size: UInt64
    /// Space used, in units of 512 bytes.
    public var blocks: UInt64
    /// Last change of contents.
    public var modificationTime: WireTime
    /// Last change of the node.
    public var changeTime: WireTime
    /// Number of names.
    public var links: UInt32

    /// The changeable part of a directory's attributes.
    public init(_ attributes: NodeAttributes) {
        size = attributes.size
        blocks = attributes.blocks
        modificationTime = attributes.modificationTime
        changeTime = attributes.changeTime
        links = attributes.links
    }

    /// The state at the start of `bytes`, or nil if there are fewer than 48. Only the nanoseconds are brought in range.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        size = bytes.wire(0, as: UInt64.self)
        blocks = bytes.wire(8, as: UInt64.self)
        modificationTime = WireTime(
            seconds: bytes.wire(16, as: Int64.self), nanoseconds: bytes.wire(32, as: UInt32.self))
        changeTime = WireTime(seconds: bytes.wire(24, as: Int64.self), nanoseconds: bytes.wire(36, as: UInt32.self))
        links = bytes.wire(40, as: UInt32.self)
    }

    /// Writes the state to the first 48 bytes; false if there are fewer.
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, size)
        bytes.setWire(8, blocks)
        bytes.setWire(16, modificationTime.seconds)
        bytes.setWire(24, changeTime.seconds)
        bytes.setWire(32, modificationTime.nanoseconds)
        bytes.setWire(36, changeTime.nanoseconds)
        bytes.setWire(40, links)
        bytes.setWire(44, UInt32(0))
        return true
    }

    /// Brings a directory's attributes up to date.
    public func apply(to attributes: inout NodeAttributes) {
        attributes.size = size
        attributes.blocks = blocks
        attributes.modificationTime = modificationTime
        attributes.changeTime = changeTime
        attributes.links = links
    }
}
