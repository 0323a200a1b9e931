import SchemeProtocol

/// A request record in the hands of who fills it.
public struct RequestSlot: Sendable, Equatable {
    /// The index of the record.
    public let tag: UInt32
    /// The use of the record.
    public let generation: UInt32
    /// The payload pages, in bytes from the start of the payload area; empty if there are none (an inline payload, or none).
    public internal(set) var payload: Range<Int>
    /// The reply pages, in bytes from the start of the reply area; empty if there are none.
    public internal(set) var reply: Range<Int>
}

/// A completed request, checked. Every value is the server's, inside its limits: `result` is a count or an errno, the reply's
/// bytes lie inside the room that the request gave.
public struct Completion: Sendable {
    /// The index of the request's record; the record stays taken until `ChannelClient.release`.
    public let tag: UInt32
    /// The use of the record.
    public let generation: UInt32
    /// What was asked.
    public let opcode: Opcode
    /// Zero or more: done; less: an errno, negated, down to -4095.
    public let result: Int64
    /// The number of the change, 0 if nothing changed.
    public let sequence: UInt64
    /// First value; meaning by opcode.
    public let value0: UInt64
    /// Second value; meaning by opcode.
    public let value1: UInt64
    /// The number by which the client's user knows the request.
    public let cookie: UInt64
    /// Where the reply's bytes lie in the reply memory.
    let replyRange: Range<Int>
    /// From submission to now, in nanoseconds.
    public let nanoseconds: UInt64
    /// What the server says it took, in nanoseconds.
    public let serverNanoseconds: UInt64
    /// The request was replayed: who asked got the answer long ago.
    public let isReplay: Bool
    /// Given by the client itself, not by the server (quarantine, scheme offline).
    public let isLocal: Bool

    /// Bytes of reply.
    public var replyByteCount: Int { replyRange.count }

    /// The errno, or nil if it was done.
    public var errno: Int32? { result < 0 ? Int32(truncatingIfNeeded: -result) : nil }
}

/// What a server did against the protocol. Counted, never trusted again; the harm is its own requests'.
public struct ProtocolViolations: Sendable, Equatable {
    /// Positions of a ring that can't be.
    public var positions: UInt64 = 0
    /// Tags out of range, or of requests that it doesn't have.
    public var tags: UInt64 = 0
    /// Completions with values out of limits: completed with EIO.
    public var values: UInt64 = 0
    /// All of them.
    public var total: UInt64 { positions &+ tags &+ values }

    mutating func add(_ other: ProtocolViolations) {
        positions &+= other.positions
        tags &+= other.tags
        values &+= other.values
    }
}
