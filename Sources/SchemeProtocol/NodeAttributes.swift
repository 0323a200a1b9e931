/// A moment on the wire: seconds since 1970 (signed) and nanoseconds below one thousand million.
public struct WireTime: Sendable, Equatable {
    /// Seconds since 1970; negative before.
    public var seconds: Int64
    /// Nanoseconds, 0 to 999,999,999.
    public var nanoseconds: UInt32

    /// A moment; nanoseconds beyond a second are cut to the last one.
    @inlinable
    public init(seconds: Int64, nanoseconds: UInt32) {
        self.seconds = seconds
        self.nanoseconds = min(nanoseconds, 999_999_999)
    }

    /// The moment `nanoseconds` after 1970 (before, if negative): the form of `SubmissionEntry.time`.
    @inlinable
    public init(sinceEpoch nanoseconds: Int64) {
        var seconds = nanoseconds / 1_000_000_000
        var rest = nanoseconds % 1_000_000_000
        if rest < 0 {
            seconds -= 1
            rest += 1_000_000_000
        }
        self.init(seconds: seconds, nanoseconds: UInt32(rest))
    }
}

/// The file type bits of a mode (inode(7)).
public enum ModeBits {
    /// The bits that hold the type.
    public static let typeMask: UInt32 = 0o170000
    /// A socket.
    public static let socket: UInt32 = 0o140000
    /// A symbolic link.
    public static let symbolicLink: UInt32 = 0o120000
    /// A regular file.
    public static let regular: UInt32 = 0o100000
    /// A block device.
    public static let blockDevice: UInt32 = 0o060000
    /// A directory.
    public static let directory: UInt32 = 0o040000
    /// A character device.
    public static let characterDevice: UInt32 = 0o020000
    /// A FIFO.
    public static let fifo: UInt32 = 0o010000
}

/// What stat(2) tells of a node, and for how long the kernel may believe it.
///
///      0  node u64          8  generation u64
///     16  size u64         24  blocks of 512 bytes u64
///     32  atime s i64      40  mtime s i64     48  ctime s i64     56  btime s i64
///     64  atime ns u32     68  mtime ns u32    72  ctime ns u32    76  btime ns u32
///     80  mode u32         84  links u32       88  uid u32         92  gid u32
///     96  device u32      100  block size u32
///    104  attributes valid for, milliseconds u32
///    108  name valid for, milliseconds u32
public struct NodeAttributes: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 112
    /// The scheme's number of the node; stable, never 0.
    public var node: UInt64
    /// Tells apart two nodes that had the same number one after the other.
    public var generation: UInt64
    /// Size in bytes.
    public var size: UInt64
    /// Space used, in units of 512 bytes.
    public var blocks: UInt64
    /// Last access.
    public var accessTime: WireTime
    /// Last change of contents.
    public var modificationTime: WireTime
    /// Last change of the node.
    public var changeTime: WireTime
    /// When it was made.
    public var birthTime: WireTime
    /// Type and permission bits.
    public var mode: UInt32
    /// Number of names.
    public var links: UInt32
    /// The owner.
    public var uid: UInt32
    /// The owning group.
    public var gid: UInt32
    /// Device number of a device node, in the kernel's 32-bit form.
    public var device: UInt32
    /// Preferred size of transfers.
    public var blockSize: UInt32
    /// For how long the attributes may be cached, in milliseconds.
    public var attributesValid: UInt32
    /// For how long the name that led here may be cached, in milliseconds.
    public var nameValid: UInt32

    /// Attributes; what isn't given is zero.
    public init(
        node: UInt64, generation: UInt64 = 0, mode: UInt32, size: UInt64 = 0, blocks: UInt64 = 0, links: UInt32 = 1,
        uid: UInt32 = 0, gid: UInt32 = 0, device: UInt32 = 0, blockSize: UInt32 = 4096,
        accessTime: WireTime = WireTime(seconds: 0, nanoseconds: 0),
        modificationTime: WireTime = WireTime(seconds: 0, nanoseconds: 0),
        changeTime: WireTime = WireTime(seconds: 0, nanoseconds: 0),
        birthTime: WireTime = WireTime(seconds: 0, nanoseconds: 0), attributesValid: UInt32 = 0, nameValid: UInt32 = 0
    ) {
        self.node = node
        self.generation = generation
        self.size = size
        self.blocks = blocks
        self.accessTime = accessTime
        self.modificationTime = modificationTime
        self.changeTime = changeTime
        self.birthTime = birthTime
        self.mode = mode
        self.links = links
        self.uid = uid
        self.gid = gid
        self.device = device
        self.blockSize = blockSize
        self.attributesValid = attributesValid
        self.nameValid = nameValid
    }

    /// The attributes at the start of `bytes`, or nil if there are fewer than 112. Only the nanoseconds are brought in range.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        func time(_ index: Int) -> WireTime {
            WireTime(
                seconds: bytes.wire(32 + 8 * index, as: Int64.self),
                nanoseconds: bytes.wire(64 + 4 * index, as: UInt32.self))
        }
        node = bytes.wire(0, as: UInt64.self)
        generation = bytes.wire(8, as: UInt64.self)
        size = bytes.wire(16, as: UInt64.self)
        blocks = bytes.wire(24, as: UInt64.self)
        accessTime = time(0)
        modificationTime = time(1)
        changeTime = time(2)
        birthTime = time(3)
        mode = bytes.wire(80, as: UInt32.self)
        links = bytes.wire(84, as: UInt32.self)
        uid = bytes.wire(88, as: UInt32.self)
        gid = bytes.wire(92, as: UInt32.self)
        device = bytes.wire(96, as: UInt32.self)
        blockSize = bytes.wire(100, as: UInt32.self)
        attributesValid = bytes.wire(104, as: UInt32.self)
        nameValid = bytes.wire(108, as: UInt32.self)
    }

    /// Writes the attributes to the first 112 bytes; false if there are fewer.
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, node)
        bytes.setWire(8, generation)
        bytes.setWire(16, size)
        bytes.setWire(24, blocks)
        bytes.setWire(32, accessTime.seconds)
        bytes.setWire(40, modificationTime.seconds)
        bytes.setWire(48, changeTime.seconds)
        bytes.setWire(56, birthTime.seconds)
        bytes.setWire(64, accessTime.nanoseconds)
        bytes.setWire(68, modificationTime.nanoseconds)
        bytes.setWire(72, changeTime.nanoseconds)
        bytes.setWire(76, birthTime.nanoseconds)
        bytes.setWire(80, mode)
        bytes.setWire(84, links)
        bytes.setWire(88, uid)
        bytes.setWire(92, gid)
        bytes.setWire(96, device)
        bytes.setWire(100, blockSize)
        bytes.setWire(104, attributesValid)
        bytes.setWire(108, nameValid)
        return true
    }
}

/// Which attributes setattr changes, and to what.
///
///      0  present u32 (bit per field, in the order below)    4  mode u32
///      8  uid u32      12  gid u32
///     16  size u64
///     24  atime s i64      32  mtime s i64      40  ctime s i64
///     48  atime ns u32     52  mtime ns u32     56  ctime ns u32     60  options u32 (bit 0: drop privileges)
///
/// The router turns "now" into the request's time.
public struct AttributeChangeSet: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 64
    /// New permission bits (no type).
    public var mode: UInt32?
    /// New owner.
    public var uid: UInt32?
    /// New group.
    public var gid: UInt32?
    /// New size in bytes.
    public var size: UInt64?
    /// New access time.
    public var accessTime: WireTime?
    /// New modification time.
    public var modificationTime: WireTime?
    /// New change time, where the kernel dictates it.
    public var changeTime: WireTime?
    /// Set-user-id and set-group-id must go (a change of owner or size by someone without the privilege).
    public var killPrivileges: Bool

    /// No changes.
    public init() { killPrivileges = false }

    /// Whether an owner or the permissions are changed: what a node that has none to change refuses.
    public var changesPermissions: Bool { mode != nil || uid != nil || gid != nil }

    /// Whether these are the times that a kernel keeps while it collects writes, and nothing else.
    public var areKeptTimes: Bool {
        modificationTime != nil && changeTime != nil && accessTime == nil && size == nil && !changesPermissions
            && !killPrivileges
    }

    /// The changes at the start of `bytes`, or nil if there are fewer than 64 or unknown fields are present.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        let present = bytes.wire(0, as: UInt32.self)
        guard present < 128 else { return nil }
        func time(_ bit: Int, _ index: Int) -> WireTime? {
            guard present & (1 << bit) != 0 else { return nil }
            return WireTime(
                seconds: bytes.wire(24 + 8 * index, as: Int64.self),
                nanoseconds: bytes.wire(48 + 4 * index, as: UInt32.self))
        }
        mode = present & 1 != 0 ? bytes.wire(4, as: UInt32.self) : nil
        uid = present & 2 != 0 ? bytes.wire(8, as: UInt32.self) : nil
        gid = present & 4 != 0 ? bytes.wire(12, as: UInt32.self) : nil
        size = present & 8 != 0 ? bytes.wire(16, as: UInt64.self) : nil
        accessTime = time(4, 0)
        modificationTime = time(5, 1)
        changeTime = time(6, 2)
        killPrivileges = bytes.wire(60, as: UInt32.self) & 1 != 0
    }

    /// Writes the changes to the first 64 bytes; false if there are fewer.
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        var present: UInt32 = 0
        if mode != nil { present |= 1 }
        if uid != nil { present |= 2 }
        if gid != nil { present |= 4 }
        if size != nil { present |= 8 }
        if accessTime != nil { present |= 16 }
        if modificationTime != nil { present |= 32 }
        if changeTime != nil { present |= 64 }
        bytes.setWire(0, present)
        bytes.setWire(4, mode ?? 0)
        bytes.setWire(8, uid ?? 0)
        bytes.setWire(12, gid ?? 0)
        bytes.setWire(16, size ?? 0)
        bytes.setWire(24, accessTime?.seconds ?? 0)
        bytes.setWire(32, modificationTime?.seconds ?? 0)
        bytes.setWire(40, changeTime?.seconds ?? 0)
        bytes.setWire(48, accessTime?.nanoseconds ?? 0)
        bytes.setWire(52, modificationTime?.nanoseconds ?? 0)
        bytes.setWire(56, changeTime?.nanoseconds ?? 0)
        bytes.setWire(60, killPrivileges ? UInt32(1) : 0)
        return true
    }
}
