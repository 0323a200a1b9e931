/// Flags of a completion.
public struct CompletionFlags: OptionSet, Sendable {
    /// The wire's bits.
    public let rawValue: UInt32
    /// Flags with the wire's bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The reply's bytes lie in the reply record instead of the reply area.
    public static let inlineReply = CompletionFlags(rawValue: 1 << 0)
}

/// What a server says about an opened file (`CompletionEntry.value0` of open, create, tmpfile, opendir, openat).
public struct OpenedFlags: OptionSet, Sendable {
    /// The wire's bits.
    public let rawValue: UInt64
    /// Flags with the wire's bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Every read and write must reach the server: sizes and contents are not the kernel's to cache.
    public static let directIO = OpenedFlags(rawValue: 1 << 0)
    /// What the kernel cached of the file before is still right.
    public static let keepCache = OpenedFlags(rawValue: 1 << 1)
    /// Offsets mean nothing: a stream.
    public static let stream = OpenedFlags(rawValue: 1 << 2)
    /// The entries of the directory may be cached.
    public static let cacheDirectory = OpenedFlags(rawValue: 1 << 3)
    /// Several direct writes at once are allowed.
    public static let parallelDirectWrites = OpenedFlags(rawValue: 1 << 4)
    /// Closing needs no flush.
    public static let noFlush = OpenedFlags(rawValue: 1 << 5)
    /// The server knows `SubmissionFlags.afterFlush`: one request in place of flush, write, flush.
    public static let writesAfterFlush = OpenedFlags(rawValue: 1 << 6)
    /// The server knows `SubmissionFlags.scattered`: several ranges in one write.
    public static let scattersWrites = OpenedFlags(rawValue: 1 << 7)
}

/// The first 64 bytes of a reply record: what became of a request.
///
///      0  tag u32          4  generation u32
///      8  result i64
///     16  sequence u64
///     24  reply length u32   28  flags u32
///     32  value 0 u64
///     40  value 1 u64
///     48  nanoseconds in the server u64
///     56  unused u64
public struct CompletionEntry: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 64
    /// The index of the request's record.
    public var tag: UInt32
    /// The use of the record that this completes.
    public var generation: UInt32
    /// Zero or more: done (a count, an offset, ready events); less: an errno, negated.
    public var result: Int64
    /// The number of the change that the request made, or 0 if it changed nothing: with a number, the request is kept until the
    /// server's committed sequence number has reached it.
    public var sequence: UInt64
    /// Bytes of reply, in the reply record or the reply area.
    public var replyLength: UInt32
    /// How the completion is to be understood.
    public var flags: CompletionFlags
    /// Meaning by opcode: see the opcode table.
    public var value0: UInt64
    /// Meaning by opcode.
    public var value1: UInt64
    /// How long the server worked on it.
    public var serverNanoseconds: UInt64

    /// A completion without reply bytes.
    public init(
        tag: UInt32 = 0, generation: UInt32 = 0, result: Int64, sequence: UInt64 = 0, replyLength: UInt32 = 0,
        flags: CompletionFlags = [], value0: UInt64 = 0, value1: UInt64 = 0, serverNanoseconds: UInt64 = 0
    ) {
        self.tag = tag
        self.generation = generation
        self.result = result
        self.sequence = sequence
        self.replyLength = replyLength
        self.flags = flags
        self.value0 = value0
        self.value1 = value1
        self.serverNanoseconds = serverNanoseconds
    }

    /// The entry at the start of `bytes`, or nil if there are fewer than 64. Nothing is checked: every value is the peer's.
    @inlinable
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        tag = bytes.wire(0, as: UInt32.self)
        generation = bytes.wire(4, as: UInt32.self)
        result = bytes.wire(8, as: Int64.self)
        sequence = bytes.wire(16, as: UInt64.self)
        replyLength = bytes.wire(24, as: UInt32.self)
        flags = CompletionFlags(rawValue: bytes.wire(28, as: UInt32.self))
        value0 = bytes.wire(32, as: UInt64.self)
        value1 = bytes.wire(40, as: UInt64.self)
        serverNanoseconds = bytes.wire(48, as: UInt64.self)
    }

    /// Writes the entry to the first 64 bytes; false if there are fewer.
    @inlinable
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, tag)
        bytes.setWire(4, generation)
        bytes.setWire(8, result)
        bytes.setWire(16, sequence)
        bytes.setWire(24, replyLength)
        bytes.setWire(28, flags.rawValue)
        bytes.setWire(32, value0)
        bytes.setWire(40, value1)
        bytes.setWire(48, serverNanoseconds)
        bytes.setWire(56, UInt64(0))
        return true
    }
}

/// A notification from server to client, not asked for at the moment it comes.
///
///      0  kind u32      4  flags u32 (events)
///      8  node u64
///     16  handle u64
///     24  value u64
public struct EventEntry: Sendable, Equatable {
    /// What a notification says.
    public enum Kind: UInt32, Sendable {
        /// Events are ready on a handle (fevent, poll).
        case ready = 1
        /// Cached data of a node, from offset `value` on, is no longer right.
        case invalidateData = 2
        /// Cached entries of a directory are no longer right.
        case invalidateDirectory = 3
    }
    /// Bytes on the wire.
    public static let byteCount = 32
    /// The wire's kind: not checked yet.
    public var kind: UInt32
    /// Ready events (poll(2) bits).
    public var flags: UInt32
    /// The node it is about.
    public var node: UInt64
    /// The handle it is about.
    public var handle: UInt64
    /// Meaning by kind.
    public var value: UInt64

    /// A notification.
    public init(_ kind: Kind, flags: UInt32 = 0, node: UInt64 = 0, handle: UInt64 = 0, value: UInt64 = 0) {
        self.kind = kind.rawValue
        self.flags = flags
        self.node = node
        self.handle = handle
        self.value = value
    }

    /// The notification at the start of `bytes`, or nil if there are fewer than 32. Nothing is checked.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        kind = bytes.wire(0, as: UInt32.self)
        flags = bytes.wire(4, as: UInt32.self)
        node = bytes.wire(8, as: UInt64.self)
        handle = bytes.wire(16, as: UInt64.self)
        value = bytes.wire(24, as: UInt64.self)
    }

    /// Writes the notification to the first 32 bytes; false if there are fewer.
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, kind)
        bytes.setWire(4, flags)
        bytes.setWire(8, node)
        bytes.setWire(16, handle)
        bytes.setWire(24, value)
        return true
    }
}
