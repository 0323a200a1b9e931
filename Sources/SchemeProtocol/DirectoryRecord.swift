/// One entry of a directory listing as it lies in a reply: a stream of these, each a multiple of 8 bytes long.
///
///      0  node u64
///      8  next position u64       where a listing goes on after this entry
///     16  bytes of this record u32
///     20  bytes of name u16
///     22  kind u8                 as d_type of readdir(3)
///     23  flags u8                bit 0: attributes follow
///     24  attributes (112 bytes, if flagged), name, zeros up to a multiple of 8
public struct DirectoryRecord: Sendable, Equatable {
    /// Bytes before attributes and name.
    public static let headerBytes = 24
    /// The scheme's number of the node.
    public var node: UInt64
    /// Where a listing goes on after this entry.
    public var nextPosition: UInt64
    /// As d_type of readdir(3): the mode's type bits shifted right by 12.
    public var kind: UInt8
    /// The node's attributes, if asked for.
    public var attributes: NodeAttributes?

    /// An entry.
    public init(node: UInt64, nextPosition: UInt64, kind: UInt8, attributes: NodeAttributes? = nil) {
        self.node = node
        self.nextPosition = nextPosition
        self.kind = kind
        self.attributes = attributes
    }

    /// Bytes that an entry takes with a name of `nameBytes`.
    public static func byteCount(nameBytes: Int, attributes: Bool) -> Int {
        (headerBytes + (attributes ? NodeAttributes.byteCount : 0) + nameBytes + 7) & ~7
    }

    /// Writes the entry at `position` of `bytes` and moves `position` behind it; false, and nothing written, if it doesn't fit.
    public func append(name: RawSpan, to bytes: inout MutableRawSpan, at position: inout Int) -> Bool {
        let count = Self.byteCount(nameBytes: name.byteCount, attributes: attributes != nil)
        guard name.byteCount <= Int(UInt16.max), position >= 0, count <= bytes.byteCount - position else {
            return false
        }
        bytes.setWire(position, node)
        bytes.setWire(position + 8, nextPosition)
        bytes.setWire(position + 16, UInt32(count))
        bytes.setWire(position + 20, UInt16(name.byteCount))
        bytes.setWire(position + 22, kind)
        bytes.setWire(position + 23, attributes == nil ? UInt8(0) : 1)
        var next = position + Self.headerBytes
        if let attributes {
            var target = bytes._mutatingExtracting(next..<(next + NodeAttributes.byteCount))
            attributes.encode(into: &target)
            next += NodeAttributes.byteCount
        }
        bytes.setBytes(next, name)
        var padding = next + name.byteCount
        while padding < position + count {
            bytes.setWire(padding, UInt8(0))
            padding += 1
        }
        position += count
        return true
    }

    /// The entry at `position` of a listing, with the range of its name; nil at the end and at anything malformed.
    ///
    /// `position` is moved behind the entry. The listing must be the reader's own copy, or checked names can change.
    public static func next(in bytes: RawSpan, at position: inout Int) -> (record: DirectoryRecord, name: Range<Int>)? {
        guard position >= 0, bytes.byteCount - position >= headerBytes else { return nil }
        let count = Int(bytes.wire(position + 16, as: UInt32.self))
        let nameBytes = Int(bytes.wire(position + 20, as: UInt16.self))
        let flags = bytes.wire(position + 23, as: UInt8.self)
        let hasAttributes = flags & 1 != 0
        guard count <= bytes.byteCount - position, count == byteCount(nameBytes: nameBytes, attributes: hasAttributes)
        else { return nil }
        var record = DirectoryRecord(
            node: bytes.wire(position, as: UInt64.self), nextPosition: bytes.wire(position + 8, as: UInt64.self),
            kind: bytes.wire(position + 22, as: UInt8.self))
        var nameStart = position + headerBytes
        if hasAttributes {
            record.attributes = NodeAttributes(
                decoding: bytes.extracting(nameStart..<(nameStart + NodeAttributes.byteCount)))
            nameStart += NodeAttributes.byteCount
        }
        position += count
        return (record, nameStart..<(nameStart + nameBytes))
    }
}

/// What statvfs(3) tells of a file system.
///
/// Nine u64 in the order of the properties.
public struct FileSystemFigures: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 72
    /// The unit of the block counts, in bytes.
    public var blockSize: UInt64
    /// Blocks in all.
    public var blocks: UInt64
    /// Blocks free.
    public var freeBlocks: UInt64
    /// Blocks that an ordinary user may use.
    public var availableBlocks: UInt64
    /// Nodes in all.
    public var files: UInt64
    /// Nodes free.
    public var freeFiles: UInt64
    /// The longest name in bytes.
    public var maximumName: UInt64
    /// The preferred transfer size in bytes.
    public var fragmentSize: UInt64
    /// Bit 0: read-only.
    public var flags: UInt64

    /// Figures.
    public init(
        blockSize: UInt64 = 4096, blocks: UInt64 = 0, freeBlocks: UInt64 = 0, availableBlocks: UInt64 = 0,
        files: UInt64 = 0, freeFiles: UInt64 = 0, maximumName: UInt64 = 255, fragmentSize: UInt64 = 4096,
        flags: UInt64 = 0
    ) {
        self.blockSize = blockSize
        self.blocks = blocks
        self.freeBlocks = freeBlocks
        self.availableBlocks = availableBlocks
        self.files = files
        self.freeFiles = freeFiles
        self.maximumName = maximumName
        self.fragmentSize = fragmentSize
        self.flags = flags
    }

    /// The figures at the start of `bytes`, or nil if there are fewer than 72.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        self.init(
            blockSize: bytes.wire(0, as: UInt64.self), blocks: bytes.wire(8, as: UInt64.self),
            freeBlocks: bytes.wire(16, as: UInt64.self), availableBlocks: bytes.wire(24, as: UInt64.self),
            files: bytes.wire(32, as: UInt64.self), freeFiles: bytes.wire(40, as: UInt64.self),
            maximumName: bytes.wire(48, as: UInt64.self), fragmentSize: bytes.wire(56, as: UInt64.self),
            flags: bytes.wire(64, as: UInt64.self))
    }

    /// Writes the figures to the first 72 bytes; false if there are fewer.
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, blockSize)
        bytes.setWire(8, blocks)
        bytes.setWire(16, freeBlocks)
        bytes.setWire(24, availableBlocks)
        bytes.setWire(32, files)
        bytes.setWire(40, freeFiles)
        bytes.setWire(48, maximumName)
        bytes.setWire(56, fragmentSize)
        bytes.setWire(64, flags)
        return true
    }
}

/// A lock as fcntl(2) describes it.
///
///      0  owner u64    8  start u64    16  end u64 (inclusive)    24  type u32 (F_RDLCK 0, F_WRLCK 1, F_UNLCK 2)    28  pid u32
public struct FileLock: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 32
    /// Who holds it: the kernel's lock owner.
    public var owner: UInt64
    /// First byte.
    public var start: UInt64
    /// Last byte, included; all ones for the end of the file.
    public var end: UInt64
    /// 0 shared, 1 exclusive, 2 none.
    public var type: UInt32
    /// The holder's process.
    public var pid: UInt32

    /// A lock.
    public init(owner: UInt64, start: UInt64, end: UInt64, type: UInt32, pid: UInt32) {
        self.owner = owner
        self.start = start
        self.end = end
        self.type = type
        self.pid = pid
    }

    /// The lock at the start of `bytes`, or nil if there are fewer than 32.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        self.init(
            owner: bytes.wire(0, as: UInt64.self), start: bytes.wire(8, as: UInt64.self),
            end: bytes.wire(16, as: UInt64.self), type: bytes.wire(24, as: UInt32.self),
            pid: bytes.wire(28, as: UInt32.self))
    }

    /// Writes the lock to the first 32 bytes; false if there are fewer.
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, owner)
        bytes.setWire(8, start)
        bytes.setWire(16, end)
        bytes.setWire(24, type)
        bytes.setWire(28, pid)
        return true
    }
}
