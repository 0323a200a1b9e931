/// A completed request, as a trace shows it.
///
///      0  (the ring's stamp)            8  submitted at, monotonic nanoseconds u64
///     16  nanoseconds in all u64       24  nanoseconds in the server u64
///     32  node u64    40  handle u64   48  offset u64    56  length u64
///     64  result i64  72  found node u64
///     80  opcode u16  82  flags u16    84  channel u32   88  uid u32   92  pid u32
///     96  bytes of the first name u32 100  bytes of text u32
///    104  text: the name, or both names one behind the other, cut off at 152 bytes
public struct TraceEvent: Sendable, Equatable {
    /// Bytes in memory.
    public static let byteCount = 256
    /// The most text that is kept.
    public static let textLimit = 152

    /// How the request came to its end.
    public struct Flags: OptionSet, Sendable {
        /// The bits in memory.
        public let rawValue: UInt16
        /// Flags of bits.
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        /// Repeated for a new server: the application had its answer long ago.
        public static let replay = Flags(rawValue: 1)
        /// Ended by the client itself: quarantine, or the scheme is offline.
        public static let local = Flags(rawValue: 2)
    }

    /// When the client gave it to the server, in nanoseconds of the monotonic clock.
    public var submittedAt: UInt64 = 0
    /// From then until the client had the answer.
    public var nanoseconds: UInt64 = 0
    /// Of these, what the server says that it took.
    public var serverNanoseconds: UInt64 = 0
    /// The node it is about.
    public var node: UInt64 = 0
    /// The handle it goes through, 0 for none.
    public var handle: UInt64 = 0
    /// Position in bytes, or a directory position.
    public var offset: UInt64 = 0
    /// Bytes asked for or given.
    public var length: UInt64 = 0
    /// Zero or more: done; less: an errno, negated.
    public var result: Int64 = 0
    /// The node that was found or made, 0 for none; of a rename, the directory that it goes to.
    public var found: UInt64 = 0
    /// What was asked: the wire's opcode.
    public var opcode: UInt16 = 0
    /// How it ended.
    public var flags: Flags = []
    /// The channel's number with the supervisor.
    public var channel: UInt32 = 0
    /// The caller's user.
    public var uid: UInt32 = 0
    /// The caller's process, or 0.
    public var pid: UInt32 = 0
    /// Bytes of the first name; those beyond `textLimit` are not in `text`.
    public var nameByteCount: UInt32 = 0
    /// The names.
    public var text: [UInt8] = []

    /// An event with nothing in it.
    public init() {}

    /// The event in 256 bytes; nil if there are fewer, or the text is too long: the writer is not to be trusted.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        submittedAt = bytes.wire(8, as: UInt64.self)
        nanoseconds = bytes.wire(16, as: UInt64.self)
        serverNanoseconds = bytes.wire(24, as: UInt64.self)
        node = bytes.wire(32, as: UInt64.self)
        handle = bytes.wire(40, as: UInt64.self)
        offset = bytes.wire(48, as: UInt64.self)
        length = bytes.wire(56, as: UInt64.self)
        result = bytes.wire(64, as: Int64.self)
        found = bytes.wire(72, as: UInt64.self)
        opcode = bytes.wire(80, as: UInt16.self)
        flags = Flags(rawValue: bytes.wire(82, as: UInt16.self))
        channel = bytes.wire(84, as: UInt32.self)
        uid = bytes.wire(88, as: UInt32.self)
        pid = bytes.wire(92, as: UInt32.self)
        nameByteCount = bytes.wire(96, as: UInt32.self)
        let count = Int(bytes.wire(100, as: UInt32.self))
        guard count <= Self.textLimit else { return nil }
        text = (0..<count).map { bytes.wire(104 + $0, as: UInt8.self) }
    }
}
