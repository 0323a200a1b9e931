import Platform
import SchemeProtocol

/// What has become of a request record. Only the client writes it; it is what a successor of the client finds.
public enum RecordState: UInt32, Sendable {
    /// Not in use.
    case free = 0
    /// Taken, being filled.
    case reserved = 1
    /// Given to the server, or waiting to be given while the server is away.
    case submitted = 2
    /// Completed; the result is recorded, and wasn't yet told to who asked.
    case completed = 3
    /// Told; kept until the server reports its change as committed.
    case retained = 4
}

/// The client's book-keeping in a request record, from byte 128 on. Offsets from the start of the record.
enum Bookkeeping {
    static let state = 128
    static let flags = 132
    static let cookie = 136
    static let sequence = 144
    static let result = 152
    static let position = 160
    static let blame = 164
    static let submittedAt = 168
    static let payloadPage = 176
    static let payloadPages = 180
    static let replyPage = 184
    static let replyPages = 188
    static let value0 = 192
    static let value1 = 200
    static let replyLength = 208
    static let completionFlags = 212
    static let notes = 216
    /// Eight-byte notes that the client's user keeps with a request.
    static let noteCount = 5

    /// The record was put into the ring of the epoch that is current, or was.
    static let published: UInt32 = 1
    /// The record is with the server a second time, as a replay.
    static let replaying: UInt32 = 2
    /// Nobody waits for it any more: freed when it completes.
    static let abandoned: UInt32 = 4
    /// It was submitted quietly: nobody waits, so its answer may lie for long.
    static let quiet: UInt32 = 8
}

/// A request, as it lies in the channel's memory: what a successor, the trace and `sys` see.
public struct RequestRecord: Sendable {
    /// The index of the record.
    public let tag: UInt32
    /// What has become of it.
    public let state: RecordState
    /// What was asked.
    public let entry: SubmissionEntry
    /// The rest of what was asked.
    public let arguments: RequestArguments
    /// The number by which the client's user knows it.
    public let cookie: UInt64
    /// The number of the change, 0 before completion or if it changed nothing.
    public let sequence: UInt64
    /// The recorded result.
    public let result: Int64
    /// The recorded first value of the completion.
    public let value0: UInt64
    /// The recorded second value of the completion.
    public let value1: UInt64
    /// Bytes of reply.
    public let replyLength: UInt32
    /// How much it is to blame for deaths of servers that had it in hand: the sum of what `ChannelClient.startEpoch` was given.
    public let blame: UInt32
    /// When it was submitted, in nanoseconds of the monotonic clock.
    public let submittedAt: UInt64
    /// Where in the ring it was put; wraps.
    public let position: UInt32
    /// Whether the server could see it.
    public let wasPublished: Bool
    /// The notes of the client's user.
    public let notes: (UInt64, UInt64, UInt64, UInt64, UInt64)

    /// The opcode, if it is one.
    public var opcode: Opcode? { Opcode(rawValue: entry.opcode) }

    /// Reads a record of a request memory; nil if it is free, or malformed.
    init?(_ memory: SharedMapping, _ layout: ChannelLayout, tag: Int) {
        let base = layout.requestRecords + tag * ProtocolLimits.requestRecordBytes
        guard let state = RecordState(rawValue: memory.load32Acquiring(base + Bookkeeping.state)), state != .free else {
            return nil
        }
        let words = CopiedWords<16>(memory, base)
        guard let entry = SubmissionEntry(decoding: words.bytes),
            let arguments = RequestArguments(decoding: words.bytes.extracting(64..<128))
        else { return nil }
        self.tag = UInt32(truncatingIfNeeded: tag)
        self.state = state
        self.entry = entry
        self.arguments = arguments
        cookie = memory.load64(base + Bookkeeping.cookie)
        sequence = memory.load64(base + Bookkeeping.sequence)
        result = Int64(bitPattern: memory.load64(base + Bookkeeping.result))
        value0 = memory.load64(base + Bookkeeping.value0)
        value1 = memory.load64(base + Bookkeeping.value1)
        replyLength = memory.load32(base + Bookkeeping.replyLength)
        blame = memory.load32(base + Bookkeeping.blame)
        submittedAt = memory.load64(base + Bookkeeping.submittedAt)
        position = memory.load32(base + Bookkeeping.position)
        wasPublished = memory.load32(base + Bookkeeping.flags) & Bookkeeping.published != 0
        func note(_ index: Int) -> UInt64 { memory.load64(base + Bookkeeping.notes + 8 * index) }
        notes = (note(0), note(1), note(2), note(3), note(4))
    }
}

/// Words copied out of shared memory, each read exactly once: whatever the peer does meanwhile, the copy doesn't change.
struct CopiedWords<let count: Int> {
    private var words: InlineArray<count, UInt64>

    init(_ memory: SharedMapping, _ offset: Int) {
        words = InlineArray<count, UInt64> { memory.load64(offset + 8 * $0) }
    }

    /// The copy.
    var bytes: RawSpan {
        @_lifetime(borrow self)
        get { unsafe words.span.bytes }
    }
}
