// A channel is two memories. The request memory is written by the client alone (the server maps it read-only), the
// reply memory by the server alone.
//
//     request memory                                reply memory
//     +------------------------------------+        +------------------------------------+
//     | header        one page             |        | header        one page             |
//     |   0  magic, version, geometry      |        |   0  magic, version, geometry      |
//     | 128  submission tail  (futex)      |        | 128  completion tail  (futex)      |
//     | 132  processor of the client       |        |                                    |
//     | 192  completion head               |        | 192  submission head               |
//     | 196  event head                    |        | 196  event tail                    |
//     | 256  client state: awake, asleep   |        | 256  server state: awake, asleep   |
//     | 320  epoch            (futex)      |        | 320  heartbeat                     |
//     | 324  start position                |        | 328  committed sequence            |
//     | 328  generation of this memory     |        | 336  applied sequence              |
//     |                                    |        | 344  recovered sequence            |
//     |                                    |        | 352  incarnation, 356 status       |
//     |                                    |        | 1024 marks: 16 workers x 64 bytes  |
//     +------------------------------------+        +------------------------------------+
//     | statistics    of the client        |        | statistics    of the server        |
//     +------------------------------------+        +------------------------------------+
//     | submission ring: record index, u32 |        | completion ring: record index, u32 |
//     +------------------------------------+        +------------------------------------+
//     | request records, 512 bytes each:   |        | event ring, 32 bytes each          |
//     |   0 submission entry               |        +------------------------------------+
//     |  64 arguments                      |        | reply records, 256 bytes each:     |
//     | 128 the client's book-keeping      |        |   0 completion entry               |
//     | 256 inline payload                 |        |  64 inline reply                   |
//     +------------------------------------+        +------------------------------------+
//     | client area: what must outlive it  |        | reply area: pages for read data,   |
//     +------------------------------------+        |   listings; given out by the client|
//     | payload area: pages for written    |        +------------------------------------+
//     |   data and long names              |
//     +------------------------------------+
//
// Both rings have as many places as there are records, and a record is in a ring at most once: a ring is never full, so
// there is no waiting for room in it. Positions count up without end and wrap at 2^32.

/// The sizes that both sides of a channel agree on. They come with the descriptors in the control message, never from the memory.
public struct ChannelGeometry: Sendable, Equatable {
    /// Bytes on the wire.
    public static let byteCount = 32
    /// Request records, a power of two.
    public let recordCount: Int
    /// Bytes of the payload area: bounds the log.
    public let payloadBytes: Int
    /// Bytes of the reply area.
    public let replyBytes: Int
    /// Bytes of the client area.
    public let clientAreaBytes: Int
    /// Places of the event ring, a power of two.
    public let eventCount: Int

    /// A channel for a file system: 8,192 records, 64 MiB of log, 16 MiB of replies.
    public static let standard = ChannelGeometry(
        uncheckedRecordCount: 8192, payloadBytes: 64 << 20, replyBytes: 16 << 20, clientAreaBytes: 4 << 20,
        eventCount: 1024)
    /// A channel for a scheme with little traffic: 256 records, 4 MiB each way.
    public static let small = ChannelGeometry(
        uncheckedRecordCount: 256, payloadBytes: 4 << 20, replyBytes: 4 << 20, clientAreaBytes: 1 << 20,
        eventCount: 256)

    private init(
        uncheckedRecordCount recordCount: Int, payloadBytes: Int, replyBytes: Int, clientAreaBytes: Int, eventCount: Int
    ) {
        self.recordCount = recordCount
        self.payloadBytes = payloadBytes
        self.replyBytes = replyBytes
        self.clientAreaBytes = clientAreaBytes
        self.eventCount = eventCount
    }

    /// A geometry, or nil if a count is no power of two, a size no multiple of the page, or one is out of limits.
    public init?(recordCount: Int, payloadBytes: Int, replyBytes: Int, clientAreaBytes: Int, eventCount: Int) {
        func isPower(_ count: Int) -> Bool { count > 0 && count & (count - 1) == 0 }
        func isArea(_ bytes: Int) -> Bool {
            bytes >= 0 && bytes <= ProtocolLimits.maximumAreaBytes && bytes % ProtocolLimits.pageBytes == 0
        }
        guard isPower(recordCount), recordCount >= ProtocolLimits.minimumRecordCount,
            recordCount <= ProtocolLimits.maximumRecordCount, isPower(eventCount),
            eventCount <= ProtocolLimits.maximumRecordCount, isArea(payloadBytes), isArea(replyBytes),
            isArea(clientAreaBytes)
        else { return nil }
        self.init(
            uncheckedRecordCount: recordCount, payloadBytes: payloadBytes, replyBytes: replyBytes,
            clientAreaBytes: clientAreaBytes, eventCount: eventCount)
    }

    /// The geometry at the start of `bytes`, or nil if it is too short or not a possible one.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        self.init(
            recordCount: Int(bytes.wire(0, as: UInt32.self)), payloadBytes: Int(bytes.wire(4, as: UInt32.self)),
            replyBytes: Int(bytes.wire(8, as: UInt32.self)), clientAreaBytes: Int(bytes.wire(12, as: UInt32.self)),
            eventCount: Int(bytes.wire(16, as: UInt32.self)))
    }

    /// Writes the geometry to the first 32 bytes; false if there are fewer.
    @discardableResult
    public func encode(into bytes: inout MutableRawSpan) -> Bool {
        guard bytes.byteCount >= Self.byteCount else { return false }
        bytes.setWire(0, UInt32(recordCount))
        bytes.setWire(4, UInt32(payloadBytes))
        bytes.setWire(8, UInt32(replyBytes))
        bytes.setWire(12, UInt32(clientAreaBytes))
        bytes.setWire(16, UInt32(eventCount))
        bytes.setWire(20, UInt32(0))
        bytes.setWire(24, UInt64(0))
        return true
    }
}

/// Where everything lies in the two memories of a channel, in bytes from their starts. Computed from the geometry alone.
public struct ChannelLayout: Sendable, Equatable {
    /// "SBreques": the first eight bytes of a request memory.
    public static let requestMagic: UInt64 = 0x7365_7571_6572_4253
    /// "SBreplym": the first eight bytes of a reply memory.
    public static let replyMagic: UInt64 = 0x6d79_6c70_6572_4253
    /// Offset of the version in either header; the geometry follows eight bytes later.
    public static let versionOffset = 8
    /// Offset of the geometry in either header.
    public static let geometryOffset = 16

    // The request memory's header.
    /// The position up to which requests were submitted; the word a server sleeps on.
    public static let submissionTailOffset = 128
    /// Where the client submitted last: the number of the processor, plus one; 0 if it doesn't say. A hint.
    public static let clientProcessorOffset = 132
    /// The position up to which completions were taken.
    public static let completionHeadOffset = 192
    /// The position up to which events were taken.
    public static let eventHeadOffset = 196
    /// Whether the client must be rung (`SleepState`).
    public static let clientStateOffset = 256
    /// The incarnation that the client is ready for; the word an early server sleeps on.
    public static let epochOffset = 320
    /// The position in the submission ring at which the incarnation of the epoch begins.
    public static let startPositionOffset = 324
    /// Counts the request memories of the channel: one for each incarnation of the client.
    public static let memoryGenerationOffset = 328

    // The reply memory's header.
    /// The position up to which completions were posted; the word a client sleeps on.
    public static let completionTailOffset = 128
    /// The position up to which requests were taken.
    public static let submissionHeadOffset = 192
    /// The position up to which events were posted.
    public static let eventTailOffset = 196
    /// Whether the server must be rung (`SleepState`).
    public static let serverStateOffset = 256
    /// Counts up as long as the server lives; u64.
    public static let heartbeatOffset = 320
    /// Everything up to this sequence number is durable; u64.
    public static let committedSequenceOffset = 328
    /// The last sequence number that was given out; u64.
    public static let appliedSequenceOffset = 336
    /// The sequence number that the incarnation found in its durable state; u64.
    public static let recoveredSequenceOffset = 344
    /// The incarnation that serves; u32.
    public static let incarnationOffset = 352
    /// What the server is doing (`ServerStatus`); u32.
    public static let statusOffset = 356
    /// Where the workers' marks start: u64 tag and generation, u64 opcode + 1, u64 start in monotonic nanoseconds.
    public static let marksOffset = 1024
    /// Bytes from one worker's mark to the next.
    public static let markBytes = 64

    /// Where the statistics start in either memory.
    public static let statisticsOffset = ProtocolLimits.pageBytes
    /// Bytes of the statistics in either memory.
    public static let statisticsBytes = ProtocolLimits.opcodeCount * OperationStatistics.byteCount

    /// The geometry that all was computed from.
    public let geometry: ChannelGeometry
    /// Where the submission ring starts in the request memory.
    public let submissionRing: Int
    /// Where the request records start.
    public let requestRecords: Int
    /// Where the client area starts.
    public let clientArea: Int
    /// Where the payload area starts.
    public let payloadArea: Int
    /// Bytes of the request memory.
    public let requestMemoryBytes: Int
    /// Where the completion ring starts in the reply memory.
    public let completionRing: Int
    /// Where the event ring starts.
    public let eventRing: Int
    /// Where the reply records start.
    public let replyRecords: Int
    /// Where the reply area starts.
    public let replyArea: Int
    /// Bytes of the reply memory.
    public let replyMemoryBytes: Int

    /// The layout of a geometry.
    public init(_ geometry: ChannelGeometry) {
        func pageUp(_ bytes: Int) -> Int { (bytes + ProtocolLimits.pageBytes - 1) & ~(ProtocolLimits.pageBytes - 1) }
        let afterStatistics = Self.statisticsOffset + pageUp(Self.statisticsBytes)
        self.geometry = geometry
        submissionRing = afterStatistics
        requestRecords = submissionRing + pageUp(geometry.recordCount * 4)
        clientArea = requestRecords + pageUp(geometry.recordCount * ProtocolLimits.requestRecordBytes)
        payloadArea = clientArea + geometry.clientAreaBytes
        requestMemoryBytes = payloadArea + geometry.payloadBytes
        completionRing = afterStatistics
        eventRing = completionRing + pageUp(geometry.recordCount * 4)
        replyRecords = eventRing + pageUp(geometry.eventCount * EventEntry.byteCount)
        replyArea = replyRecords + pageUp(geometry.recordCount * ProtocolLimits.replyRecordBytes)
        replyMemoryBytes = replyArea + geometry.replyBytes
    }
}

/// Whether, and how, a side must be rung.
public enum SleepState: UInt32, Sendable {
    /// It will look by itself.
    case awake = 0
    /// It sleeps on the futex word, or is about to.
    case onFutex = 1
    /// It sleeps in poll on the eventfd, or is about to.
    case onEvent = 2
}

/// What a server is doing, as it says in the reply memory.
public enum ServerStatus: UInt32, Sendable {
    /// No incarnation has attached yet.
    case none = 0
    /// It opens its state.
    case starting = 1
    /// It serves; the recovered sequence number is valid.
    case serving = 2
    /// It ended by its own will, everything committed.
    case finished = 3
}

/// Counters of one opcode: who wrote them says whose time they measure.
///
///      0  count u64     8  errors u64    16  bytes in u64    24  bytes out u64
///     32  nanoseconds in all u64         40  longest, nanoseconds u64
///     48  histogram: 36 x u32, place i counts the times of 2^i up to 2^(i+1) nanoseconds
public struct OperationStatistics: Sendable, Equatable {
    /// Bytes in memory.
    public static let byteCount = 192
    /// Places of the histogram.
    public static let bucketCount = 36
    /// Completed requests.
    public var count: UInt64
    /// Of these, with an errno.
    public var errors: UInt64
    /// Payload bytes of the requests.
    public var bytesIn: UInt64
    /// Reply bytes.
    public var bytesOut: UInt64
    /// The sum of all times in nanoseconds.
    public var totalNanoseconds: UInt64
    /// The longest time in nanoseconds.
    public var longestNanoseconds: UInt64
    /// Place i counts the times of 2^i up to 2^(i+1) nanoseconds.
    public var histogram: [UInt32]

    /// The counters at the start of `bytes`, or nil if there are fewer than 192.
    public init?(decoding bytes: RawSpan) {
        guard bytes.byteCount >= Self.byteCount else { return nil }
        count = bytes.wire(0, as: UInt64.self)
        errors = bytes.wire(8, as: UInt64.self)
        bytesIn = bytes.wire(16, as: UInt64.self)
        bytesOut = bytes.wire(24, as: UInt64.self)
        totalNanoseconds = bytes.wire(32, as: UInt64.self)
        longestNanoseconds = bytes.wire(40, as: UInt64.self)
        histogram = (0..<Self.bucketCount).map { bytes.wire(48 + 4 * $0, as: UInt32.self) }
    }

    /// An estimate of the time, in nanoseconds, that a share of the requests (0 to 1) stayed below: the upper end of its place.
    public func quantile(_ share: Double) -> UInt64 {
        let all = histogram.reduce(UInt64(0)) { $0 &+ UInt64($1) }
        guard all > 0 else { return 0 }
        let wanted = Double(all) * share
        var seen: UInt64 = 0
        for (place, hits) in histogram.enumerated() {
            seen &+= UInt64(hits)
            if Double(seen) >= wanted { return min(1 << UInt64(place + 1), max(longestNanoseconds, 1)) }
        }
        return longestNanoseconds
    }
}
