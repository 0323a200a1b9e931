/// Flags of a request.
public struct SubmissionFlags: OptionSet, Sendable {
    /// The wire's bits.
    public let rawValue: UInt16
    /// Flags with the wire's bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// The payload lies in the request record instead of the payload area.
    public static let inlinePayload = SubmissionFlags(rawValue: 1 << 0)
    /// The request was acknowledged before and is repeated for a new incarnation; `RequestArguments.sequence` is its number.
    public static let replay = SubmissionFlags(rawValue: 1 << 1)
    /// The request was given to an incarnation that died before it completed it.
    public static let resubmitted = SubmissionFlags(rawValue: 1 << 2)
    /// Set-user-id, set-group-id and file capabilities must be dropped (FUSE's KILL_SUIDGID).
    public static let killPrivileges = SubmissionFlags(rawValue: 1 << 3)
    /// The kernel writes back cached pages: the handle may be any of the node's, the caller isn't the writer.
    public static let fromCache = SubmissionFlags(rawValue: 1 << 5)
    /// A write to a disk: done when everything written before is on the medium, answered when this is, too (PREFLUSH and FUA).
    public static let afterFlush = SubmissionFlags(rawValue: 1 << 6)
    /// The client wants to know what a change of names made of the directory: `DirectoryState` may follow in the reply.
    public static let tellsDirectory = SubmissionFlags(rawValue: 1 << 7)
    /// A write of several pieces, to a server that said `OpenedFlags.scattersWrites`: a `ScatterTable` in the payload's first page says
    /// where each goes. With `afterFlush` that holds for the last piece: it is written when all others are on the medium.
    public static let scattered = SubmissionFlags(rawValue: 1 << 8)
}

/// The first 64 bytes of a request record: what is asked, of what, by whom and when.
///
///      0  opcode u16      2  flags u16         4  generation u32
///      8  node u64
///     16  handle u64
///     24  offset u64
///     32  length u32     36  payload offset u32
///     40  payload length u32              44  reply offset u32
///     48  time i64
///     56  uid u32        60  gid u32
///
/// The tag of a request is the index of its record, which the submission ring holds.
public struct SubmissionEntry: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 64
    /// The wire's opcode: not checked yet.
    public var opcode: UInt16
    /// How the request is to be understood.
    public var flags: SubmissionFlags
    /// Counts the uses of the record, so that a late completion of an earlier use is known as such.
    public var generation: UInt32
    /// The node the call is about, or 0.
    public var node: UInt64
    /// The handle the call goes through, chosen by the client at the time of opening; 0 for none.
    public var handle: UInt64
    /// Position in bytes, or a directory position.
    public var offset: UInt64
    /// Bytes that the reply may have in the reply area, from `replyOffset` on.
    public var length: UInt32
    /// Where the payload starts, in bytes from the start of the payload area (not used by an inline payload).
    public var payloadOffset: UInt32
    /// Bytes of payload.
    public var payloadLength: UInt32
    /// Where the reply's bytes go, in bytes from the start of the reply area.
    public var replyOffset: UInt32
    /// The time of the call in nanoseconds since 1970: what a server stamps on what it changes (servers read no clock).
    public var time: Int64
    /// The caller's user.
    public var uid: UInt32
    /// The caller's group.
    public var gid: UInt32

    /// A request without payload and reply.
    public init(
        _ opcode: Opcode, flags: SubmissionFlags = [], node: UInt64 = 0, handle: UInt64 = 0, offset: UInt64 = 0,
        length: UInt32 = 0, time: Int64 = 0, uid: UInt32 = 0, gid: UInt32 = 0
    ) {
        self.opcode = opcode.rawValue
        self.flags = flags
        self.generation = 0
        self.node = node
        self.handle = handle
        self.offset = offset
        self.length = length
        self.payloadOffset = 0
        self.payloadLength = 0
        self.replyOffset = 0
        self.time = time
        self.uid = uid
        self.gid = gid
    }

    /// The entry at the start of `bytes`, or nil if there are fewer than 64. Nothing is checked: every value is the peer's.
    @inlinable
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        opcode = bytes.wire(0, as: UInt16.self)
        flags = SubmissionFlags(rawValue: bytes.wire(2, as: UInt16.self))
        generation = bytes.wire(4, as: UInt32.self)
        node = bytes.wire(8, as: UInt64.self)
        handle = bytes.wire(16, as: UInt64.self)
        offset = bytes.wire(24, as: UInt64.self)
        length = bytes.wire(32, as: UInt32.self)
        payloadOffset = bytes.wire(36, as: UInt32.self)
        payloadLength = bytes.wire(40, as: UInt32.self)
        replyOffset = bytes.wire(44, as: UInt32.self)
        time = bytes.wire(48, as: Int64.self)
        uid = bytes.wire(56, as: UInt32.self)
        gid = bytes.wire(60, as: UInt32.self)
    }

    /// Writes the entry to the first 64 bytes; false if there are fewer.
    @inlinable
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, opcode)
        bytes.setWire(2, flags.rawValue)
        bytes.setWire(4, generation)
        bytes.setWire(8, node)
        bytes.setWire(16, handle)
        bytes.setWire(24, offset)
        bytes.setWire(32, length)
        bytes.setWire(36, payloadOffset)
        bytes.setWire(40, payloadLength)
        bytes.setWire(44, replyOffset)
        bytes.setWire(48, time)
        bytes.setWire(56, uid)
        bytes.setWire(60, gid)
        return true
    }
}

/// The second 64 bytes of a request record: what only some calls need.
///
///      0  pid u32      4  flags u32
///      8  sequence u64
///     16  word 0 ... word 5, u64 each
public struct RequestArguments: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 64
    /// The caller's process, or 0.
    public var pid: UInt32
    /// The call's own flags: open flags, rename flags, whence, events.
    public var flags: UInt32
    /// In a replayed request, the number that its first completion carried.
    public var sequence: UInt64
    /// Meaning by opcode: see the opcode table.
    public var word0: UInt64
    /// Meaning by opcode.
    public var word1: UInt64
    /// Meaning by opcode.
    public var word2: UInt64
    /// Meaning by opcode.
    public var word3: UInt64
    /// Meaning by opcode.
    public var word4: UInt64
    /// Meaning by opcode.
    public var word5: UInt64

    /// Arguments; what isn't given is zero.
    public init(
        pid: UInt32 = 0, flags: UInt32 = 0, sequence: UInt64 = 0, word0: UInt64 = 0, word1: UInt64 = 0,
        word2: UInt64 = 0, word3: UInt64 = 0, word4: UInt64 = 0, word5: UInt64 = 0
    ) {
        self.pid = pid
        self.flags = flags
        self.sequence = sequence
        self.word0 = word0
        self.word1 = word1
        self.word2 = word2
        self.word3 = word3
        self.word4 = word4
        self.word5 = word5
    }

    /// The arguments at the start of `bytes`, or nil if there are fewer than 64. Nothing is checked.
    @inlinable
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        pid = bytes.wire(0, as: UInt32.self)
        flags = bytes.wire(4, as: UInt32.self)
        sequence = bytes.wire(8, as: UInt64.self)
        word0 = bytes.wire(16, as: UInt64.self)
        word1 = bytes.wire(24, as: UInt64.self)
        word2 = bytes.wire(32, as: UInt64.self)
        word3 = bytes.wire(40, as: UInt64.self)
        word4 = bytes.wire(48, as: UInt64.self)
        word5 = bytes.wire(56, as: UInt64.self)
    }

    /// Writes the arguments to the first 64 bytes; false if there are fewer.
    @inlinable
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, pid)
        bytes.setWire(4, flags)
        bytes.setWire(8, sequence)
        bytes.setWire(16, word0)
        bytes.setWire(24, word1)
        bytes.setWire(32, word2)
        bytes.setWire(40, word3)
        bytes.setWire(48, word4)
        bytes.setWire(56, word5)
        return true
    }
}
