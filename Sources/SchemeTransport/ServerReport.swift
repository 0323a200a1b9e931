import Platform
import SchemeProtocol
import SystemPackage

/// What a server says of itself in the reply memory. Claims, good for watching: nothing depends on their truth but the server's
/// own requests.
public struct ServerReport: Sendable {
    /// A request that a worker has in hand.
    public struct Mark: Sendable {
        /// The index of the request's record.
        public let tag: UInt32
        /// The use of the record.
        public let generation: UInt32
        /// What it is.
        public let opcode: Opcode?
        /// Since when, in nanoseconds of the monotonic clock.
        public let since: UInt64
    }
    /// Counts up as long as the server lives.
    public let heartbeat: UInt64
    /// Everything up to here is durable.
    public let committedSequence: UInt64
    /// The last number given out.
    public let appliedSequence: UInt64
    /// The number found in the durable state at the start.
    public let recoveredSequence: UInt64
    /// The incarnation that serves.
    public let incarnation: UInt32
    /// What it is doing.
    public let status: ServerStatus
    /// Requests in the ring that it hasn't taken.
    public let waiting: Int
    /// What its workers have in hand.
    public let marks: [Mark]

    init(_ reply: SharedMapping, _ request: SharedMapping) {
        heartbeat = reply.load64(ChannelLayout.heartbeatOffset)
        committedSequence = reply.load64Acquiring(ChannelLayout.committedSequenceOffset)
        appliedSequence = reply.load64(ChannelLayout.appliedSequenceOffset)
        recoveredSequence = reply.load64(ChannelLayout.recoveredSequenceOffset)
        incarnation = reply.load32(ChannelLayout.incarnationOffset)
        status = ServerStatus(rawValue: reply.load32Acquiring(ChannelLayout.statusOffset)) ?? .none
        let head = reply.load32(ChannelLayout.submissionHeadOffset)
        let tail = request.load32(ChannelLayout.submissionTailOffset)
        waiting = Untrusted(tail).distance(from: head, atMost: ProtocolLimits.maximumRecordCount) ?? 0
        marks = (0..<ProtocolLimits.maximumWorkers).compactMap { worker in
            let base = ChannelLayout.marksOffset + worker * ChannelLayout.markBytes
            let opcode = reply.load64(base + 8)
            guard opcode != 0 else { return nil }
            let mark = reply.load64(base)
            return Mark(
                tag: UInt32(truncatingIfNeeded: mark), generation: UInt32(truncatingIfNeeded: mark >> 32),
                opcode: UInt16(exactly: opcode - 1).flatMap { Opcode(rawValue: $0) }, since: reply.load64(base + 16))
        }
    }
}

/// Looks at a channel without taking part: for the supervisor's watch and the scheme `sys`.
public final class ChannelObserver: Sendable {
    /// Where everything lies.
    public let layout: ChannelLayout
    private let request: SharedMapping
    private let reply: SharedMapping

    /// Maps both memories for reading.
    public init(
        request: SharedDescriptor, reply: SharedDescriptor, geometry: ChannelGeometry
    ) throws(ChannelError) {
        let layout = ChannelLayout(geometry)
        try ChannelHeader.verify(request, layout.requestMemoryBytes)
        try ChannelHeader.verify(reply, layout.replyMemoryBytes)
        self.layout = layout
        self.request = try system("mmap") { () throws(Errno) in
            try SharedMapping(request.rawValue, byteCount: layout.requestMemoryBytes, writable: false)
        }
        self.reply = try system("mmap") { () throws(Errno) in
            try SharedMapping(reply.rawValue, byteCount: layout.replyMemoryBytes, writable: false)
        }
    }

    /// What the server says of itself.
    public var server: ServerReport { ServerReport(reply, request) }

    /// The counters of both sides.
    public var statistics: ChannelStatistics { ChannelStatistics(request: request, reply: reply) }

    /// The request that has been with the server for the longest time.
    public var oldestInFlight: RequestRecord? {
        var oldest: RequestRecord?
        for tag in 0..<layout.geometry.recordCount {
            guard let record = RequestRecord(request, layout, tag: tag), record.state == .submitted, record.wasPublished
            else { continue }
            if oldest.map({ record.submittedAt < $0.submittedAt }) ?? true { oldest = record }
        }
        return oldest
    }
}
