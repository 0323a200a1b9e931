import Platform
import SchemeProtocol
import Synchronization

/// What draining threads share, behind the completion lock.
struct CompletionSide {
    let sleeper: Sleeper
    var head: UInt32
    var eventHead: UInt32

    init(_ request: SharedMapping, _ reply: SharedMapping) {
        sleeper = Sleeper(
            own: request, stateOffset: ChannelLayout.clientStateOffset, peer: reply,
            tailOffset: ChannelLayout.completionTailOffset)
        head = request.load32(ChannelLayout.completionHeadOffset)
        eventHead = request.load32(ChannelLayout.eventHeadOffset)
    }
}

extension ChannelClient {
    /// Takes completions and gives each to `body`; returns how many. Zero at once if another thread is draining.
    ///
    /// - Parameter body: runs with the completion lock held; see the rules of `ChannelClient`.
    @discardableResult
    public func drain(limit: Int = .max, _ body: (Completion) -> Void) -> Int {
        completion.withLockIfAvailable { side in drain(&side, limit, body) } ?? 0
    }

    /// Waits until there is a completion or an event, or the time limit has passed; then drains.
    ///
    /// - Parameter nanoseconds: nil to wait without limit.
    /// - Returns: how many completions there were; 0 also if another thread is draining.
    @discardableResult
    public func waitAndDrain(nanoseconds: UInt64? = nil, limit: Int = .max, _ body: (Completion) -> Void) -> Int {
        completion.withLockIfAvailable { side in
            let count = drain(&side, limit, body)
            if count > 0 { return count }
            sleeps.add(1, ordering: .sequentiallyConsistent)
            if isWoken.exchange(false, ordering: .sequentiallyConsistent) == false {
                side.sleeper.sleep(head: side.head, nanoseconds: nanoseconds)
            }
            sleeps.add(1, ordering: .sequentiallyConsistent)
            return drain(&side, limit, body)
        } ?? 0
    }

    /// Wakes whoever sleeps in `waitAndDrain`, or is about to: for the end of a process, or a completion given by the client
    /// itself. If nobody does, the next sleep ends at once.
    public func wakeDrainer() {
        isWoken.store(true, ordering: .sequentiallyConsistent)
        // Only the sleep that was seen: who sleeps again at once would be woken for ever.
        let seen = sleeps.load(ordering: .sequentiallyConsistent)
        while seen % 2 == 1, sleeps.load(ordering: .sequentiallyConsistent) == seen {
            reply.futexWake(ChannelLayout.completionTailOffset, count: Int32.max)
            SystemCall.sleep(nanoseconds: 20_000)
        }
        if let clientBell { SystemCall.signalEvent(clientBell.rawValue) }
    }

    /// Announces that this thread polls `clientBell`. False if there is something to drain first.
    public func prepareToPoll() -> Bool {
        completion.withLockIfAvailable { side in
            local.withLock { $0.isEmpty } && side.sleeper.prepareToPoll(head: side.head)
        } ?? false
    }

    /// Ends the announcement: after poll, before draining.
    public func endPoll() {
        if let clientBell { SystemCall.clearEvent(clientBell.rawValue) }
        completion.withLock { $0.sleeper.awake() }
    }

    /// The reply's bytes. The server can still change them: copy what must not change between check and use.
    @_lifetime(borrow self)
    public func reply(_ completion: Completion) -> RawSpan {
        reply.bytes(completion.replyRange.lowerBound, count: completion.replyRange.count, heldBy: self)
    }

    /// The reply's bytes of a record that is completed and not released: for a successor.
    @_lifetime(borrow self)
    public func reply(of record: RequestRecord) -> RawSpan {
        let range = replyRange(
            tag: record.tag,
            flags: CompletionFlags(
                rawValue: request.load32(
                    layout.requestRecords + Int(record.tag) * ProtocolLimits.requestRecordBytes
                        + Bookkeeping.completionFlags)),
            length: Untrusted(record.replyLength), entry: record.entry)
        return reply.bytes(range?.lowerBound ?? 0, count: range?.count ?? 0, heldBy: self)
    }

    /// What the server did against the protocol so far.
    ///
    /// Doesn't wait for who drains, which may be asleep.
    public var violations: ProtocolViolations { violationCounts.withLock { $0 } }

    /// Takes events and gives each to `body`. Returns false if some were lost because nobody took them in time: look at everything.
    public func drainEvents(_ body: (EventEntry) -> Void) -> Bool {
        completion.withLock { side in
            let count = layout.geometry.eventCount
            let tail = reply.load32Acquiring(ChannelLayout.eventTailOffset)
            var isComplete = true
            if Untrusted(tail).distance(from: side.eventHead, atMost: count) == nil {
                side.eventHead = tail
                isComplete = false
            }
            while side.eventHead != tail {
                let place = Int(side.eventHead) & (count - 1)
                let words = CopiedWords<4>(reply, layout.eventRing + place * EventEntry.byteCount)
                if let event = EventEntry(decoding: words.bytes) { body(event) }
                side.eventHead &+= 1
            }
            request.store32Releasing(ChannelLayout.eventHeadOffset, side.eventHead)
            return isComplete
        }
    }

    /// Where a reply lies, if it is inside the room that the request gave.
    private func replyRange(
        tag: UInt32, flags: CompletionFlags, length: Untrusted<UInt32>, entry: SubmissionEntry
    ) -> Range<Int>? {
        if flags.contains(.inlineReply) {
            guard let count = length.length(atMost: ProtocolLimits.inlineReplyBytes) else { return nil }
            let start =
                layout.replyRecords + Int(tag) * ProtocolLimits.replyRecordBytes + ProtocolLimits.inlineReplyOffset
            return start..<(start + count)
        }
        guard let count = length.length(atMost: Int(entry.length)),
            count <= layout.geometry.replyBytes - min(Int(entry.replyOffset), layout.geometry.replyBytes)
        else { return nil }
        let start = layout.replyArea + Int(entry.replyOffset)
        return start..<(start + count)
    }

    func drain(_ side: inout CompletionSide, _ limit: Int, _ body: (Completion) -> Void) -> Int {
        var done = 0
        while done < limit, let given = local.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
            if let completion = takeLocal(given.tag, given.errno) {
                body(completion)
                done += 1
            }
        }
        let count = layout.geometry.recordCount
        let tail = reply.load32Acquiring(ChannelLayout.completionTailOffset)
        guard tail != side.head else { return done }
        guard Untrusted(tail).distance(from: side.head, atMost: count) != nil else {
            // Not a position that an honest server can reach: nothing between is believed.
            violationCounts.withLock { $0.positions &+= 1 }
            side.head = tail
            request.store32Releasing(ChannelLayout.completionHeadOffset, tail)
            return done
        }
        let now = Clock.monotonicNanoseconds()
        var violations = ProtocolViolations()
        defer { if violations.total > 0 { violationCounts.withLock { $0.add(violations) } } }
        while side.head != tail, done < limit {
            let place = Int(side.head) & (count - 1)
            let tag = Untrusted(reply.load32(layout.completionRing + 4 * place))
            if let completion = take(tag, now, &violations) {
                // The head moves after the result was recorded: a successor sees the completion again, or recorded.
                side.head &+= 1
                request.store32Releasing(ChannelLayout.completionHeadOffset, side.head)
                body(completion)
                done += 1
            } else {
                side.head &+= 1
                request.store32Releasing(ChannelLayout.completionHeadOffset, side.head)
            }
        }
        return done
    }

    /// Checks one completion and records it; nil if it is none of ours.
    private func take(_ untrusted: Untrusted<UInt32>, _ now: UInt64, _ violations: inout ProtocolViolations)
        -> Completion?
    {
        guard let index = untrusted.index(below: layout.geometry.recordCount) else {
            violations.tags &+= 1
            return nil
        }
        let base = layout.requestRecords + index * ProtocolLimits.requestRecordBytes
        let state = RecordState(rawValue: request.load32Acquiring(base + Bookkeeping.state))
        let flags = request.load32(base + Bookkeeping.flags)
        let isReplay = flags & Bookkeeping.replaying != 0
        guard flags & Bookkeeping.published != 0,
            state == .submitted || isReplay && (state == .completed || state == .retained),
            let entry = SubmissionEntry(decoding: request.bytes(base, count: SubmissionEntry.byteCount, heldBy: self)),
            let opcode = Opcode(rawValue: entry.opcode)
        else {
            violations.tags &+= 1
            return nil
        }
        let replyRecord = layout.replyRecords + index * ProtocolLimits.replyRecordBytes
        let words = CopiedWords<8>(reply, replyRecord)
        guard var answer = CompletionEntry(decoding: words.bytes), answer.tag == index,
            answer.generation == entry.generation
        else {
            violations.tags &+= 1
            return nil
        }
        let tag = UInt32(index)
        var range = replyRange(
            tag: tag, flags: answer.flags, length: Untrusted(answer.replyLength), entry: entry)
        if range == nil || answer.result < -4095 || (answer.sequence != 0 && !opcode.isLogged) {
            violations.values &+= 1
            answer = CompletionEntry(tag: tag, generation: answer.generation, result: -5)
            range = nil
        }
        let submitted = request.load64(base + Bookkeeping.submittedAt)
        var nanoseconds = now >= submitted ? now - submitted : 0
        if request.load32(base + Bookkeeping.flags) & Bookkeeping.quiet != 0 {
            // How long it lay before somebody happened to look is no one's wait.
            nanoseconds = min(nanoseconds, answer.serverNanoseconds)
        }
        record(tag, answer, isReplay: isReplay)
        StatisticsWriter(request).count(
            opcode, errored: answer.result < 0, bytesIn: Int(entry.payloadLength), bytesOut: range?.count ?? 0,
            nanoseconds)
        return Completion(
            tag: tag, generation: entry.generation, opcode: opcode, result: answer.result, sequence: answer.sequence,
            value0: answer.value0, value1: answer.value1, cookie: request.load64(base + Bookkeeping.cookie),
            replyRange: range ?? layout.replyArea..<layout.replyArea, nanoseconds: nanoseconds,
            serverNanoseconds: answer.serverNanoseconds, isReplay: isReplay, isLocal: false)
    }

    /// Writes the answer into the book-keeping. A replay's answer isn't recorded: the first one counts, who replays compares.
    private func record(_ tag: UInt32, _ answer: CompletionEntry, isReplay: Bool) {
        submission.withLock { side in
            let base = side.base(tag)
            let flags = side.flags(tag) & ~(Bookkeeping.published | Bookkeeping.replaying)
            guard !isReplay else { return side.setFlags(tag, flags) }
            request.store64(base + Bookkeeping.sequence, answer.sequence)
            request.store64(base + Bookkeeping.result, UInt64(bitPattern: answer.result))
            request.store64(base + Bookkeeping.value0, answer.value0)
            request.store64(base + Bookkeeping.value1, answer.value1)
            request.store32(base + Bookkeeping.replyLength, answer.replyLength)
            request.store32(base + Bookkeeping.completionFlags, answer.flags.rawValue)
            side.inFlight -= 1
            side.setState(tag, .completed)
            // Last: a record that is submitted and isn't published looks to a successor as if the server had never got it.
            side.setFlags(tag, flags)
        }
    }

    private func takeLocal(_ tag: UInt32, _ errno: Int32) -> Completion? {
        guard let found = RequestRecord(request, layout, tag: Int(tag)), found.state == .submitted,
            let opcode = found.opcode
        else { return nil }
        let answer = CompletionEntry(tag: tag, generation: found.entry.generation, result: -Int64(errno))
        record(tag, answer, isReplay: false)
        return Completion(
            tag: tag, generation: found.entry.generation, opcode: opcode, result: answer.result, sequence: 0, value0: 0,
            value1: 0, cookie: found.cookie, replyRange: layout.replyArea..<layout.replyArea, nanoseconds: 0,
            serverNanoseconds: 0, isReplay: false, isLocal: true)
    }
}
