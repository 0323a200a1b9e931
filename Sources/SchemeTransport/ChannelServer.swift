import Platform
import SchemeProtocol
import Synchronization
import SystemPackage

/// The server's side of a channel: takes requests, answers them.
///
/// Rules:
/// - One thread at a time takes requests (`lead`); it may answer them itself and stay in the lead, or leave with one that takes
///   long, so that the next thread leads. A request in hand belongs to the thread that took it.
/// - Any thread answers, in any order, each request once.
/// - Everything in the request memory is the client's: entries are copied once, then checked; what fails is answered
///   with an errno here and never seen by the scheme. Payload is read in place and can change while it is read: copy what
///   must not change between check and use.
public final class ChannelServer: @unchecked Sendable {
    /// Where everything lies.
    public let layout: ChannelLayout
    /// Which channel this is, among those of the server.
    public let number: UInt32
    let request: SharedMapping
    let reply: SharedMapping
    /// What we poll, if we poll.
    public let serverBell: SharedDescriptor?
    /// The payload area as a buffer for block devices.
    public let payloadBuffer: AlignedBuffer
    private let taking: Locked<TakingSide>
    private let posting: Locked<PostingSide>
    /// A thread is in, or about to be in, a sleep on the request memory.
    private let isSleeping = Atomic(false)
    /// The request memory is being replaced: don't sleep on it.
    private let isReplacing = Atomic(false)
    private let isStopping = Atomic(false)
    private let outstanding = Atomic<Int>(0)

    /// Attaches to the memories that a client made.
    ///
    /// - Parameters:
    ///   - incarnation: which start of the server this is, from 1.
    public init(
        number: UInt32 = 0, geometry: ChannelGeometry, request requestFile: SharedDescriptor,
        reply replyFile: SharedDescriptor, incarnation: UInt32, serverBell: SharedDescriptor? = nil,
        clientBell: SharedDescriptor? = nil
    ) throws(ChannelError) {
        let layout = ChannelLayout(geometry)
        try ChannelHeader.verify(requestFile, layout.requestMemoryBytes, required: .futureWrite)
        try ChannelHeader.verify(replyFile, layout.replyMemoryBytes)
        let request = try system("mmap") { () throws(Errno) in
            try SharedMapping(requestFile.rawValue, byteCount: layout.requestMemoryBytes, writable: false)
        }
        let reply = try system("mmap") { () throws(Errno) in
            try SharedMapping(replyFile.rawValue, byteCount: layout.replyMemoryBytes, writable: true)
        }
        try ChannelHeader.check(request, magic: ChannelLayout.requestMagic, geometry)
        // Written anew, not checked: what a predecessor that was taken over left there must not keep us from serving.
        ChannelHeader.write(reply, magic: ChannelLayout.replyMagic, geometry)
        self.layout = layout
        self.number = number
        self.request = request
        self.reply = reply
        self.serverBell = serverBell
        payloadBuffer = request.buffer(layout.payloadArea, count: geometry.payloadBytes)
        let sleeper = Sleeper(
            own: reply, stateOffset: ChannelLayout.serverStateOffset, peer: request,
            tailOffset: ChannelLayout.submissionTailOffset)
        sleeper.awake()
        taking = Locked(TakingSide(sleeper: sleeper, head: 0))
        posting = Locked(PostingSide(reply, request, clientBell))
        for worker in 0..<ProtocolLimits.maximumWorkers {
            reply.store64(ChannelLayout.marksOffset + worker * ChannelLayout.markBytes + 8, 0)
        }
        reply.store32(ChannelLayout.incarnationOffset, incarnation)
        reply.store32Releasing(ChannelLayout.statusOffset, ServerStatus.starting.rawValue)
    }

    // MARK: Beginning and ending

    /// Waits until the client is ready for this epoch, then begins where it says. False if the limit passed, or `stop` was called.
    ///
    /// With several threads each calls it: one waits, the others wait for that one.
    ///
    /// - Parameter whenBegun: called by the one that waited, before any thread takes a request: another may wait here for as long as
    ///   the first one leads.
    public func begin(epoch: UInt32, nanoseconds: UInt64? = nil, whenBegun: () -> Void = {}) -> Bool {
        taking.withLock { side in
            if side.hasBegun { return !isStopped }
            guard awaitEpoch(epoch, nanoseconds) else { return false }
            side.head = request.load32(ChannelLayout.startPositionOffset)
            side.hasBegun = true
            reply.store32Releasing(ChannelLayout.submissionHeadOffset, side.head)
            whenBegun()
            return true
        }
    }

    private func awaitEpoch(_ epoch: UInt32, _ nanoseconds: UInt64?) -> Bool {
        let end = nanoseconds.map { Clock.monotonicNanoseconds() &+ $0 }
        while true {
            let now = request.load32Acquiring(ChannelLayout.epochOffset)
            if Int32(bitPattern: now &- epoch) >= 0 { return true }
            if isStopping.load(ordering: .acquiring) { return false }
            if let end, Clock.monotonicNanoseconds() >= end { return false }
            request.futexWait(ChannelLayout.epochOffset, while: now, nanoseconds: 50_000_000)
        }
    }

    /// Goes on in the epoch of the client at the position that the reply memory has: a new channel, or one whose server lives.
    public func beginWhereItStands() {
        let head = reply.load32(ChannelLayout.submissionHeadOffset)
        taking.withLock { side in
            side.head = head
            side.hasBegun = true
        }
    }

    /// Says that the server serves, and which sequence number its durable state holds.
    public func announce(recoveredSequence: UInt64) {
        reply.store64(ChannelLayout.recoveredSequenceOffset, recoveredSequence)
        reply.store64Releasing(ChannelLayout.committedSequenceOffset, recoveredSequence)
        reply.store64(ChannelLayout.appliedSequenceOffset, recoveredSequence)
        reply.store32Releasing(ChannelLayout.statusOffset, ServerStatus.serving.rawValue)
    }

    /// Says that the server ended by its own will.
    public func announceFinished() {
        reply.store32Releasing(ChannelLayout.statusOffset, ServerStatus.finished.rawValue)
    }

    /// Reports everything up to a sequence number as durable: the client forgets those requests.
    public func reportCommitted(_ sequence: UInt64) {
        posting.withLock { side in
            if sequence > reply.load64(ChannelLayout.committedSequenceOffset) {
                reply.store64Releasing(ChannelLayout.committedSequenceOffset, sequence)
            }
            side.ringer.ring()
        }
    }

    /// A sign of life.
    public func beat() {
        reply.store64(ChannelLayout.heartbeatOffset, reply.load64(ChannelLayout.heartbeatOffset) &+ 1)
    }

    /// Ends `lead` on all threads as soon as they look.
    public func stop() {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        wakeSleeper()
    }

    /// Whether `stop` was called.
    public var isStopped: Bool { isStopping.load(ordering: .acquiring) }

    /// Requests taken and not answered yet.
    public var outstandingCount: Int { outstanding.load(ordering: .acquiring) }

    /// Goes on with a copy of the request memory that a new client made. Any thread; requests in hand are not disturbed, as what is
    /// alive lies at the same places.
    public func replaceRequestMemory(_ descriptor: SharedDescriptor) throws(ChannelError) {
        try ChannelHeader.verify(descriptor, layout.requestMemoryBytes, required: .futureWrite)
        let probe = try system("mmap") { () throws(Errno) in
            try SharedMapping(descriptor.rawValue, byteCount: layout.requestMemoryBytes, writable: false)
        }
        try ChannelHeader.check(probe, magic: ChannelLayout.requestMagic, layout.geometry)
        isReplacing.store(true, ordering: .sequentiallyConsistent)
        defer { isReplacing.store(false, ordering: .sequentiallyConsistent) }
        wakeSleeper()
        try system("mmap") { () throws(Errno) in try request.replace(with: descriptor.rawValue) }
    }

    /// Gets whoever sleeps out of the sleep: he sees why when he looks.
    private func wakeSleeper() {
        repeat {
            request.futexWake(ChannelLayout.submissionTailOffset, count: Int32.max)
            if let serverBell { SystemCall.signalEvent(serverBell.rawValue) }
            if isSleeping.load(ordering: .sequentiallyConsistent) {
                SystemCall.sleep(nanoseconds: 50_000)
            }
        } while isSleeping.load(ordering: .sequentiallyConsistent)
    }

    // MARK: Taking

    /// Takes the lead and gives each request to `body` until it returns false, or the server stops.
    ///
    /// - Parameter body: true to stay in the lead. Answer the request in it, or return false and answer later.
    /// - Returns: false if the server stops.
    public func lead(worker: Int, _ body: (IncomingRequest) -> Bool) -> Bool {
        // Before it waits for the lead: to wait is no work.
        let arrival = Clock.monotonicNanoseconds()
        return taking.withLock { side in
            let isKnown = side.companions.indices.contains(worker)
            if isKnown { side.companions[worker].cameBack(at: arrival, client: clientProcessor) }
            var turn: UInt64?
            while true {
                if isStopping.load(ordering: .acquiring) { return false }
                if let request = take(&side, worker) {
                    let start = turn ?? request.takenAt
                    turn = start
                    if !body(request) {
                        // To move bytes keeps a processor busy; what else takes long (a sync) mostly waits.
                        if isKnown, request.opcode == .read || request.opcode == .write {
                            side.companions[worker].left(since: start)
                        }
                        return true
                    }
                } else {
                    if let start = turn.take(), isKnown {
                        side.companions[worker].finishedTurn(
                            Clock.monotonicNanoseconds() &- start, client: clientProcessor)
                    }
                    rest(&side)
                }
            }
        }
    }

    /// Where the client submitted last, plus one; 0: unknown.
    private var clientProcessor: UInt32 { request.load32(ChannelLayout.clientProcessorOffset) }

    /// Takes one request if there is one; doesn't wait. For servers that poll on more than this channel.
    public func takeIfAvailable(worker: Int = 0) -> IncomingRequest? {
        taking.withLock { take(&$0, worker) }
    }

    /// Announces that this thread polls `serverBell`. False if there is something to take first.
    public func prepareToPoll() -> Bool { taking.withLock { $0.sleeper.prepareToPoll(head: $0.head) } }

    /// Ends the announcement.
    public func endPoll() {
        if let serverBell { SystemCall.clearEvent(serverBell.rawValue) }
        taking.withLock { $0.sleeper.awake() }
    }

    private func rest(_ side: inout TakingSide) {
        isSleeping.store(true, ordering: .sequentiallyConsistent)
        if isReplacing.load(ordering: .sequentiallyConsistent) || isStopping.load(ordering: .sequentiallyConsistent) {
            isSleeping.store(false, ordering: .sequentiallyConsistent)
            if isReplacing.load(ordering: .sequentiallyConsistent) {
                SystemCall.sleep(nanoseconds: 50_000)
            }
            return
        }
        side.sleeper.sleep(head: side.head, nanoseconds: nil)
        isSleeping.store(false, ordering: .sequentiallyConsistent)
    }

    private func take(_ side: inout TakingSide, _ worker: Int) -> IncomingRequest? {
        let count = layout.geometry.recordCount
        while true {
            let tail = request.load32Acquiring(ChannelLayout.submissionTailOffset)
            guard tail != side.head else { return nil }
            guard Untrusted(tail).distance(from: side.head, atMost: count) != nil else {
                // Not a position that an honest client can reach: nothing between is believed.
                side.head = tail
                reply.store32Releasing(ChannelLayout.submissionHeadOffset, tail)
                return nil
            }
            let place = Int(side.head) & (count - 1)
            let tag = Untrusted(request.load32(layout.submissionRing + 4 * place)).index(below: count)
            side.head &+= 1
            // The mark is set before the head moves: a request that kills the server is either marked or still in the ring.
            if let tag, let taken = IncomingRequest.read(self, tag: tag, worker: worker) {
                mark(taken)
                reply.store32Releasing(ChannelLayout.submissionHeadOffset, side.head)
                outstanding.add(1, ordering: .relaxed)
                return taken
            }
            reply.store32Releasing(ChannelLayout.submissionHeadOffset, side.head)
            if let tag { refuse(tag) }
        }
    }

    /// Answers an entry that makes no sense, so that an honest client with a fault in it doesn't wait for ever.
    private func refuse(_ tag: Int) {
        let base = layout.requestRecords + tag * ProtocolLimits.requestRecordBytes
        let generation = request.load32(base + 4)
        let opcode = UInt16(truncatingIfNeeded: request.load32(base))
        let errno: Errno = Opcode(rawValue: opcode) == nil ? .noFunction : .invalidArgument
        let entry = CompletionEntry(
            tag: UInt32(truncatingIfNeeded: tag), generation: generation, result: -Int64(errno.rawValue))
        posting.withLock { $0.post(entry, layout) }
    }

    // MARK: Marks

    private func mark(_ taken: IncomingRequest) {
        let base = ChannelLayout.marksOffset + taken.worker * ChannelLayout.markBytes
        reply.store64(base, UInt64(taken.tag) | UInt64(taken.entry.generation) << 32)
        reply.store64(base + 16, taken.takenAt)
        reply.store64Releasing(base + 8, UInt64(taken.opcode.rawValue) + 1)
    }

    /// Says that the worker doesn't work on the request any more although it isn't answered: it waits for another one.
    public func park(_ taken: IncomingRequest) {
        let base = ChannelLayout.marksOffset + taken.worker * ChannelLayout.markBytes
        if reply.load64(base) == UInt64(taken.tag) | UInt64(taken.entry.generation) << 32 { reply.store64(base + 8, 0) }
    }

    /// Whether the client still waits for the answer to a request (tag, and generation from bit 32 on), as far as it knows: it
    /// may not have taken what was posted just now.
    public func isOutstanding(_ requestID: UInt64) -> Bool {
        let tag = UInt32(truncatingIfNeeded: requestID)
        guard let index = Untrusted(tag).index(below: layout.geometry.recordCount) else { return false }
        let base = layout.requestRecords + index * ProtocolLimits.requestRecordBytes
        return request.load32(base + 4) == UInt32(truncatingIfNeeded: requestID >> 32)
            && request.load32Acquiring(base + Bookkeeping.state) == RecordState.submitted.rawValue
    }

    // MARK: Answering

    /// The room for the reply: what the request gave, at least the 192 bytes of the reply record.
    @_lifetime(borrow self)
    public func replyRoom(_ taken: IncomingRequest) -> MutableRawSpan {
        let inline =
            layout.replyRecords + Int(taken.tag) * ProtocolLimits.replyRecordBytes
            + ProtocolLimits.inlineReplyOffset
        return taken.replyRange.count > ProtocolLimits.inlineReplyBytes
            ? reply.mutableBytes(taken.replyRange.lowerBound, count: taken.replyRange.count, heldBy: self)
            : reply.mutableBytes(inline, count: ProtocolLimits.inlineReplyBytes, heldBy: self)
    }

    /// Answers a request.
    ///
    /// - Parameters:
    ///   - result: zero or more, or an errno, negated.
    ///   - replyBytes: how many bytes of `replyRoom` were written.
    ///   - sequence: the number of the change, 0 if nothing changed.
    public func complete(
        _ taken: IncomingRequest, result: Int64, replyBytes: Int = 0, sequence: UInt64 = 0, value0: UInt64 = 0,
        value1: UInt64 = 0
    ) {
        let isInline = taken.replyRange.count <= ProtocolLimits.inlineReplyBytes
        let now = Clock.monotonicNanoseconds()
        let time = now >= taken.takenAt ? now - taken.takenAt : 0
        let limit = isInline ? ProtocolLimits.inlineReplyBytes : taken.replyRange.count
        let entry = CompletionEntry(
            tag: taken.tag, generation: taken.entry.generation, result: result, sequence: sequence,
            replyLength: UInt32(min(max(replyBytes, 0), limit)), flags: isInline ? .inlineReply : [], value0: value0,
            value1: value1, serverNanoseconds: time)
        posting.withLock { side in
            side.statistics.count(
                taken.opcode, errored: result < 0, bytesIn: taken.payloadRange.count, bytesOut: Int(entry.replyLength),
                time)
            if sequence > reply.load64(ChannelLayout.appliedSequenceOffset) {
                reply.store64(ChannelLayout.appliedSequenceOffset, sequence)
            }
            side.post(entry, layout)
        }
        park(taken)
        outstanding.subtract(1, ordering: .releasing)
    }

    /// Posts a completion of a request that doesn't exist: what a server does that has lost its mind. For tests.
    public func postNonsense() { posting.withLock { $0.postNonsense(layout) } }

    /// Notifies the client of something it didn't ask for at this moment. If the client doesn't take its events, the oldest are
    /// lost, and it learns that some were.
    public func post(_ event: EventEntry) { posting.withLock { $0.post(event, layout) } }
}

/// What the leading thread has.
private struct TakingSide {
    let sleeper: Sleeper
    var head: UInt32
    var hasBegun = false
    /// By worker.
    var companions = [Companion](repeating: Companion(), count: ProtocolLimits.maximumWorkers)
}

/// What answering threads share.
private struct PostingSide {
    let reply: SharedMapping
    let statistics: StatisticsWriter
    var ringer: Ringer
    var tail: UInt32
    var eventTail: UInt32

    init(_ reply: SharedMapping, _ request: SharedMapping, _ clientBell: SharedDescriptor?) {
        self.reply = reply
        statistics = StatisticsWriter(reply)
        tail = reply.load32(ChannelLayout.completionTailOffset)
        eventTail = reply.load32(ChannelLayout.eventTailOffset)
        ringer = Ringer(
            own: reply, tailOffset: ChannelLayout.completionTailOffset, peer: request,
            stateOffset: ChannelLayout.clientStateOffset, bell: clientBell)
    }

    mutating func post(_ entry: CompletionEntry, _ layout: ChannelLayout) {
        var bytes = reply.mutableBytes(
            layout.replyRecords + Int(entry.tag) * ProtocolLimits.replyRecordBytes, count: CompletionEntry.byteCount)
        entry.encode(into: &bytes)
        let place = Int(tail) & (layout.geometry.recordCount - 1)
        reply.store32(layout.completionRing + 4 * place, entry.tag)
        tail &+= 1
        reply.store32Releasing(ChannelLayout.completionTailOffset, tail)
        ringer.ring()
    }

    mutating func postNonsense(_ layout: ChannelLayout) {
        reply.store32(layout.completionRing + 4 * (Int(tail) & (layout.geometry.recordCount - 1)), .max)
        tail &+= 1
        reply.store32Releasing(ChannelLayout.completionTailOffset, tail)
        ringer.ring()
    }

    mutating func post(_ event: EventEntry, _ layout: ChannelLayout) {
        let place = Int(eventTail) & (layout.geometry.eventCount - 1)
        var bytes = reply.mutableBytes(layout.eventRing + place * EventEntry.byteCount, count: EventEntry.byteCount)
        event.encode(into: &bytes)
        eventTail &+= 1
        reply.store32Releasing(ChannelLayout.eventTailOffset, eventTail)
        // The client sleeps on the completion tail: it looks at the events when it is woken.
        ringer.ring()
    }
}
