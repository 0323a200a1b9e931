import Platform
import SchemeProtocol

/// What submitting threads share, behind the submission lock.
struct SubmissionSide: ~Copyable {
    let layout: ChannelLayout
    let request: SharedMapping
    var ringer: Ringer
    /// Records that are free, the one used last on top: its cache lines are warm.
    var free: [UInt32] = []
    var payloadPages: PageAllocator
    var replyPages: PageAllocator
    var tail: UInt32
    /// Requests kept for their changes, in the order of release.
    var retained: [UInt32] = []
    /// Payload pages of these.
    var retainedPages = 0
    /// Requests wait in `held` instead of going into the ring: the server is away.
    var isHeld = false
    var held: [UInt32] = []
    /// With the server, or held.
    var inFlight = 0
    /// The newest entry of the ring was put in without a ring.
    var hasUnrung = false
    /// No record from this one on was ever taken: its memory isn't there yet, and looking at it would bring it.
    var usedRecords = 0
    var committedSeen: UInt64 = 0

    init(_ layout: ChannelLayout, _ request: SharedMapping, _ reply: SharedMapping, _ bell: SharedDescriptor?) {
        self.layout = layout
        self.request = request
        ringer = Ringer(
            own: request, tailOffset: ChannelLayout.submissionTailOffset, peer: reply,
            stateOffset: ChannelLayout.serverStateOffset, bell: bell)
        payloadPages = PageAllocator(byteCount: layout.geometry.payloadBytes)
        replyPages = PageAllocator(byteCount: layout.geometry.replyBytes)
        tail = request.load32(ChannelLayout.submissionTailOffset)
        free.reserveCapacity(layout.geometry.recordCount)
        retained.reserveCapacity(layout.geometry.recordCount)
    }

    func base(_ tag: UInt32) -> Int { layout.requestRecords + Int(tag) * ProtocolLimits.requestRecordBytes }

    func state(_ tag: UInt32) -> RecordState? { RecordState(rawValue: request.load32(base(tag) + Bookkeeping.state)) }

    func setState(_ tag: UInt32, _ state: RecordState) {
        request.store32Releasing(base(tag) + Bookkeeping.state, state.rawValue)
    }

    func flags(_ tag: UInt32) -> UInt32 { request.load32(base(tag) + Bookkeeping.flags) }

    func setFlags(_ tag: UInt32, _ flags: UInt32) { request.store32(base(tag) + Bookkeeping.flags, flags) }

    /// Puts a record into the ring. The position is recorded first: a record is known as published if, and only if, the tail has
    /// passed its position.
    mutating func publish(_ tag: UInt32) {
        let base = base(tag)
        request.store32(base + Bookkeeping.position, tail)
        setFlags(tag, flags(tag) | Bookkeeping.published)
        let place = Int(tail) & (layout.geometry.recordCount - 1)
        request.store32(layout.submissionRing + 4 * place, tag)
        tail &+= 1
        request.store32Releasing(ChannelLayout.submissionTailOffset, tail)
    }

    /// Gives pages back and puts the record on the free list.
    mutating func freeRecord(_ tag: UInt32) {
        let base = base(tag)
        freeReply(tag)
        let count = Int(request.load32(base + Bookkeeping.payloadPages))
        payloadPages.give(Int(request.load32(base + Bookkeeping.payloadPage)), count)
        request.store32(base + Bookkeeping.payloadPages, 0)
        setState(tag, .free)
        free.append(tag)
    }

    mutating func freeReply(_ tag: UInt32) {
        let base = base(tag)
        replyPages.give(
            Int(request.load32(base + Bookkeeping.replyPage)), Int(request.load32(base + Bookkeeping.replyPages)))
        request.store32(base + Bookkeeping.replyPages, 0)
    }

    /// Frees what the server reports as committed. Cheap when the number hasn't changed.
    mutating func collect(committed: UInt64) {
        guard committed != committedSeen else { return }
        committedSeen = committed
        var kept = 0
        for index in retained.indices {
            let tag = retained[index]
            let base = base(tag)
            let isReplaying = flags(tag) & Bookkeeping.replaying != 0
            if request.load64(base + Bookkeeping.sequence) <= committed, !isReplaying {
                retainedPages -= Int(request.load32(base + Bookkeeping.payloadPages))
                freeRecord(tag)
            } else {
                retained[kept] = tag
                kept += 1
            }
        }
        retained.removeLast(retained.count - kept)
    }
}

extension ChannelClient {
    /// Takes a record and room for payload and reply.
    ///
    /// - Parameters:
    ///   - payloadBytes: up to 256 lie in the record itself; more take pages.
    ///   - replyBytes: beyond the 192 of the reply record; 0 if those suffice.
    ///   - important: may use the last eighth of the records, kept for what makes room (commits, reads, cancels).
    /// - Returns: nil if there is no room: ask for a commit, or wait for completions.
    public func reserve(payloadBytes: Int = 0, replyBytes: Int = 0, important: Bool = false) -> RequestSlot? {
        precondition(payloadBytes >= 0 && replyBytes >= 0)
        let committed = reply.load64Acquiring(ChannelLayout.committedSequenceOffset)
        return submission.withLock { side -> RequestSlot? in
            side.collect(committed: committed)
            guard side.free.count > (important ? 0 : layout.geometry.recordCount / 8), let tag = side.free.last else {
                return nil
            }
            let base = side.base(tag)
            var payload = 0..<0
            var replyRange = 0..<0
            if payloadBytes > ProtocolLimits.inlinePayloadBytes {
                let count = PageAllocator.pages(payloadBytes)
                guard let page = side.payloadPages.take(count) else { return nil }
                payload = (page * ProtocolLimits.pageBytes)..<((page + count) * ProtocolLimits.pageBytes)
                request.store32(base + Bookkeeping.payloadPage, UInt32(page))
                request.store32(base + Bookkeeping.payloadPages, UInt32(count))
            } else {
                request.store32(base + Bookkeeping.payloadPages, 0)
            }
            if replyBytes > 0 {
                let count = PageAllocator.pages(replyBytes)
                guard let page = side.replyPages.take(count) else {
                    side.payloadPages.give(
                        payload.lowerBound / ProtocolLimits.pageBytes, payload.count / ProtocolLimits.pageBytes)
                    return nil
                }
                replyRange = (page * ProtocolLimits.pageBytes)..<((page + count) * ProtocolLimits.pageBytes)
                request.store32(base + Bookkeeping.replyPage, UInt32(page))
                request.store32(base + Bookkeeping.replyPages, UInt32(count))
            } else {
                request.store32(base + Bookkeeping.replyPages, 0)
            }
            side.free.removeLast()
            side.usedRecords = max(side.usedRecords, Int(tag) + 1)
            let generation = request.load32(base + 4) &+ 1
            request.store32(base + 4, generation)
            request.store32(base + Bookkeeping.flags, 0)
            request.store32(base + Bookkeeping.blame, 0)
            request.store64(base + Bookkeeping.sequence, 0)
            side.setState(tag, .reserved)
            return RequestSlot(tag: tag, generation: generation, payload: payload, reply: replyRange)
        }
    }

    /// Gives a reserved slot room for a reply, when that is known only after the payload was read into it.
    public func setReply(_ slot: inout RequestSlot, byteCount: Int) -> Bool {
        let count = PageAllocator.pages(byteCount)
        let base = layout.requestRecords + Int(slot.tag) * ProtocolLimits.requestRecordBytes
        guard slot.reply.isEmpty, count > 0, let page = submission.withLock({ $0.replyPages.take(count) }) else {
            return false
        }
        request.store32(base + Bookkeeping.replyPage, UInt32(page))
        request.store32(base + Bookkeeping.replyPages, UInt32(count))
        slot.reply = (page * ProtocolLimits.pageBytes)..<((page + count) * ProtocolLimits.pageBytes)
        return true
    }

    /// Gives back the payload pages behind the first `byteCount` bytes; all of them with 0.
    public func trim(_ slot: inout RequestSlot, toPayloadBytes byteCount: Int) {
        let keep = PageAllocator.pages(byteCount)
        let have = slot.payload.count / ProtocolLimits.pageBytes
        guard keep < have else { return }
        let base = layout.requestRecords + Int(slot.tag) * ProtocolLimits.requestRecordBytes
        let first = slot.payload.lowerBound / ProtocolLimits.pageBytes
        request.store32(base + Bookkeeping.payloadPages, UInt32(keep))
        submission.withLock { $0.payloadPages.give(first + keep, have - keep) }
        slot.payload = slot.payload.lowerBound..<(slot.payload.lowerBound + keep * ProtocolLimits.pageBytes)
    }

    /// The payload pages of a reserved slot, or its 256 inline bytes if it has none.
    @_lifetime(borrow self)
    public func payload(_ slot: RequestSlot) -> MutableRawSpan {
        slot.payload.isEmpty
            ? request.mutableBytes(inlinePayload(slot.tag), count: ProtocolLimits.inlinePayloadBytes, heldBy: self)
            : request.mutableBytes(
                layout.payloadArea + slot.payload.lowerBound, count: slot.payload.count, heldBy: self)
    }

    /// The 256 bytes of payload in the record itself, also of a slot with pages.
    @_lifetime(borrow self)
    public func inlinePayload(_ slot: RequestSlot) -> MutableRawSpan {
        request.mutableBytes(inlinePayload(slot.tag), count: ProtocolLimits.inlinePayloadBytes, heldBy: self)
    }

    private func inlinePayload(_ tag: UInt32) -> Int {
        layout.requestRecords + Int(tag) * ProtocolLimits.requestRecordBytes + ProtocolLimits.inlinePayloadOffset
    }

    /// The payload of a live record, as it was submitted.
    @_lifetime(borrow self)
    public func payload(of record: RequestRecord) -> RawSpan {
        if record.entry.flags.contains(.inlinePayload) {
            let count = min(Int(record.entry.payloadLength), ProtocolLimits.inlinePayloadBytes)
            return request.bytes(inlinePayload(record.tag), count: count, heldBy: self)
        }
        let limit = layout.geometry.payloadBytes
        let start = min(Int(record.entry.payloadOffset), limit)
        return request.bytes(
            layout.payloadArea + start, count: min(Int(record.entry.payloadLength), limit - start), heldBy: self)
    }

    /// Gives a filled slot to the server.
    ///
    /// - Parameters:
    ///   - entry: what is asked; `length` must not exceed the slot's reply room. Generation, payload and reply offsets are filled in.
    ///   - payload: the part of the slot's payload that is meant, from its start.
    ///   - cookie: the number by which the caller knows the request.
    ///   - inRecovery: goes to the new incarnation although others are held back.
    ///   - inlined: the payload lies in the record although the slot has pages.
    ///   - quietly: a server that sleeps is left asleep: the next request wakes it, or `wakeServer`. Not while requests are held
    ///     back: those are forgotten if this process dies, too, so who asked must wait for the answer.
    /// - Returns: false if it was to be submitted quietly and couldn't: the slot is as it was.
    @discardableResult
    public func submit(
        _ slot: RequestSlot, _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments(),
        payload: Range<Int> = 0..<0, cookie: UInt64 = 0,
        notes: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0),
        inRecovery: Bool = false, inlined: Bool = false, quietly: Bool = false
    ) -> Bool {
        var entry = entry
        entry.generation = slot.generation
        entry.payloadLength = UInt32(payload.count)
        if slot.payload.isEmpty || inlined {
            precondition(payload.lowerBound == 0 && payload.count <= ProtocolLimits.inlinePayloadBytes)
            entry.flags.insert(.inlinePayload)
            entry.payloadOffset = 0
        } else {
            precondition(payload.lowerBound >= 0 && payload.upperBound <= slot.payload.count)
            entry.flags.remove(.inlinePayload)
            entry.payloadOffset = UInt32(slot.payload.lowerBound + payload.lowerBound)
        }
        precondition(Int(entry.length) <= max(slot.reply.count, ProtocolLimits.inlineReplyBytes))
        entry.replyOffset = UInt32(slot.reply.lowerBound)
        let base = layout.requestRecords + Int(slot.tag) * ProtocolLimits.requestRecordBytes
        var bytes = request.mutableBytes(base, count: SubmissionEntry.byteCount, heldBy: self)
        entry.encode(into: &bytes)
        var more = request.mutableBytes(base + 64, count: RequestArguments.byteCount, heldBy: self)
        arguments.encode(into: &more)
        request.store64(base + Bookkeeping.cookie, cookie)
        request.store64(base + Bookkeeping.notes, notes.0)
        request.store64(base + Bookkeeping.notes + 8, notes.1)
        request.store64(base + Bookkeeping.notes + 16, notes.2)
        request.store64(base + Bookkeeping.notes + 24, notes.3)
        request.store64(base + Bookkeeping.notes + 32, notes.4)
        request.store64(base + Bookkeeping.submittedAt, Clock.monotonicNanoseconds())
        return submission.withLock { side in
            if quietly, side.isHeld { return false }
            side.inFlight += 1
            side.setState(slot.tag, .submitted)
            if quietly { side.setFlags(slot.tag, side.flags(slot.tag) | Bookkeeping.quiet) }
            if side.isHeld, !inRecovery {
                side.held.append(slot.tag)
            } else {
                side.publish(slot.tag)
                request.store32(ChannelLayout.clientProcessorOffset, Processors.current.map { $0 &+ 1 } ?? 0)
                side.hasUnrung = quietly
                if !quietly { side.ringer.ring() }
            }
            return true
        }
    }

    /// Wakes the server if it sleeps although there is something to do: after requests that were submitted quietly.
    public func wakeServer() {
        submission.withLock { side in
            guard side.hasUnrung else { return }
            side.hasUnrung = false
            side.ringer.ringAgain()
        }
    }

    /// Gives back a reserved slot that isn't submitted.
    public func abandon(_ slot: RequestSlot) {
        submission.withLock { $0.freeRecord(slot.tag) }
    }

    /// Ends the use of a completed request: its reply isn't needed any more. A change that isn't committed stays in the log.
    public func release(_ completion: Completion) { release(tag: completion.tag) }

    /// Ends the use of a completed request, by its tag.
    public func release(tag: UInt32) {
        let committed = reply.load64Acquiring(ChannelLayout.committedSequenceOffset)
        submission.withLock { side in
            guard side.state(tag) == .completed else { return }
            let base = side.base(tag)
            let sequence = request.load64(base + Bookkeeping.sequence)
            let isReplaying = side.flags(tag) & Bookkeeping.replaying != 0
            if (sequence == 0 || sequence <= committed) && !isReplaying {
                side.freeRecord(tag)
            } else {
                if !isReplaying { side.freeReply(tag) }
                side.retained.append(tag)
                side.retainedPages += Int(request.load32(base + Bookkeeping.payloadPages))
                side.setState(tag, .retained)
            }
            side.collect(committed: committed)
        }
    }

    /// Asks the server to end another request early; nil if there is no room. The cancel has a completion of its own, and
    /// so has its target, always.
    @discardableResult
    public func cancel(tag: UInt32, generation: UInt32, cookie: UInt64 = 0) -> RequestSlot? {
        guard let slot = reserve(important: true) else { return nil }
        submit(
            slot, SubmissionEntry(.cancel), RequestArguments(word0: UInt64(tag), word1: UInt64(generation)),
            cookie: cookie)
        return slot
    }

    /// How full the channel is of requests kept for their changes, 0 to 1: ask for a commit well before 1.
    public var logPressure: Double {
        submission.withLock { side in
            let pages = Double(side.retainedPages) / Double(max(side.payloadPages.pageCount, 1))
            return max(pages, Double(side.retained.count) / Double(layout.geometry.recordCount))
        }
    }

    /// Whether half of the room for replies is taken.
    public var isReplyRoomScarce: Bool {
        submission.withLock { $0.replyPages.takenCount > $0.replyPages.pageCount / 2 }
    }

    /// What the channel holds at the moment.
    public var fill: ChannelFill {
        submission.withLock { side in
            ChannelFill(
                records: layout.geometry.recordCount, freeRecords: side.free.count, inFlight: side.inFlight,
                retained: side.retained.count, payloadPages: side.payloadPages.takenCount,
                replyPages: side.replyPages.takenCount, rings: side.ringer.rings)
        }
    }
}

/// What a channel holds at a moment.
public struct ChannelFill: Sendable, Equatable {
    /// Records in all.
    public let records: Int
    /// Records not in use.
    public let freeRecords: Int
    /// Requests with the server, or held back.
    public let inFlight: Int
    /// Requests kept for their changes.
    public let retained: Int
    /// Payload pages taken.
    public let payloadPages: Int
    /// Reply pages taken.
    public let replyPages: Int
    /// How often the server was woken.
    public let rings: UInt64
}
