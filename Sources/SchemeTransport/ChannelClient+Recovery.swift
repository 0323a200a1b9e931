import Platform
import SchemeProtocol

// How a client brings the next incarnation of a server up to date. One thread does this, in this order:
//
//  1. holdBack          from now on submitted requests wait here
//  2. drain             until nothing comes: what the dead server posted counts
//  3. startEpoch        the new server may take requests, from an empty ring
//  4. submit hello (inRecovery), drain its completion: the recovered sequence number S
//  5. submit adoptHandle for each open handle (inRecovery)
//  6. log(after: S), replay each; compare the completions with what is recorded
//  7. submit replayFinished (inRecovery)
//  8. requestsInFlight (asked for before 4): resubmit each, or failLocally what has to end here
//  9. resume            what was held back goes out
//
// If the server dies meanwhile, begin again at 2: nothing is lost by it. The same steps from 4 on bring up a server after
// `init(adopting:)` if it died together with the client.

extension ChannelClient {
    /// Keeps requests submitted from now on back, in their order.
    public func holdBack() {
        submission.withLock { $0.isHeld = true }
    }

    /// Begins a new epoch: the incarnation of that number starts with an empty ring. Call when everything was drained.
    ///
    /// Requests that the dead server worked on (by its marks) are blamed for its death.
    ///
    /// - Parameter blame: added to `RequestRecord.blame` of what the server had in hand.
    public func startEpoch(_ incarnation: UInt32, blame weight: UInt32 = 1) {
        completion.withLock { completionSide in
            // A dead server's completions may not come any more: its successor begins with what is there.
            completionSide.head = reply.load32Acquiring(ChannelLayout.completionTailOffset)
            request.store32Releasing(ChannelLayout.completionHeadOffset, completionSide.head)
            submission.withLock { side in
                for worker in 0..<ProtocolLimits.maximumWorkers { blame(worker, weight, &side) }
                for tag in 0..<UInt32(side.usedRecords) {
                    if endWithEpoch(tag, &side) { local.withLock { $0.append((tag, Self.connectionReset)) } }
                }
                request.store32(ChannelLayout.startPositionOffset, side.tail)
                request.store32Releasing(ChannelLayout.epochOffset, incarnation)
            }
            request.futexWake(ChannelLayout.epochOffset, count: Int32.max)
        }
    }

    /// The incarnation of the epoch that was begun last; 0 before the first.
    public var epoch: UInt32 { request.load32Acquiring(ChannelLayout.epochOffset) }

    /// The errno of a step of recovery that the server didn't live to answer: ECONNRESET.
    public static let connectionReset: Int32 = 104

    /// Takes back what only made sense for the incarnation that died. True for a step of its recovery: it has no answer any more.
    private func endWithEpoch(_ tag: UInt32, _ side: inout SubmissionSide) -> Bool {
        let base = side.base(tag)
        switch side.state(tag) {
        case .completed, .retained:
            side.setFlags(tag, side.flags(tag) & ~(Bookkeeping.replaying | Bookkeeping.published))
            return false
        case .submitted:
            guard side.flags(tag) & Bookkeeping.published != 0 else { return false }
            let opcode = Opcode(rawValue: UInt16(truncatingIfNeeded: request.load32(base)))
            return opcode == .hello || opcode == .adoptHandle || opcode == .replayFinished
        default: return false
        }
    }

    private func blame(_ worker: Int, _ weight: UInt32, _ side: inout SubmissionSide) {
        let mark = reply.load64(ChannelLayout.marksOffset + worker * ChannelLayout.markBytes)
        let opcode = reply.load64(ChannelLayout.marksOffset + worker * ChannelLayout.markBytes + 8)
        guard opcode != 0,
            let tag = Untrusted(UInt32(truncatingIfNeeded: mark)).index(below: layout.geometry.recordCount)
        else { return }
        let base = side.base(UInt32(tag))
        guard request.load32(base + 4) == UInt32(truncatingIfNeeded: mark >> 32),
            side.state(UInt32(tag)) == .submitted
        else { return }
        request.store32(base + Bookkeeping.blame, request.load32(base + Bookkeeping.blame) &+ weight)
    }

    /// All live records, in no order: for a successor, the trace and `sys`.
    public func records(_ body: (RequestRecord) -> Void) {
        for tag in 0..<submission.withLock({ $0.usedRecords }) {
            if let record = RequestRecord(request, layout, tag: tag) { body(record) }
        }
    }

    /// The record of a tag; nil if it is free.
    public func record(tag: UInt32) -> RequestRecord? {
        guard tag < layout.geometry.recordCount else { return nil }
        return RequestRecord(request, layout, tag: Int(tag))
    }

    /// The changes after a sequence number, in order: what has to be replayed to a server that recovered that number.
    public func log(after sequence: UInt64) -> [RequestRecord] {
        var result: [RequestRecord] = []
        records { record in
            if record.state == .completed || record.state == .retained, record.sequence > sequence {
                result.append(record)
            }
        }
        return result.sorted { $0.sequence < $1.sequence }
    }

    /// Gives an acknowledged change to the server again. It gets a completion with `isReplay`.
    ///
    /// The server answers in the reply record alone: the request asks for no reply bytes.
    public func replay(_ record: RequestRecord) {
        submission.withLock { side in
            guard let state = side.state(record.tag), state == .completed || state == .retained else { return }
            let base = side.base(record.tag)
            guard request.load32(base + 4) == record.entry.generation else { return }
            var entry = record.entry
            entry.flags.insert(.replay)
            if state == .retained { entry.length = min(entry.length, UInt32(ProtocolLimits.inlineReplyBytes)) }
            var arguments = record.arguments
            arguments.sequence = record.sequence
            var bytes = request.mutableBytes(base, count: SubmissionEntry.byteCount, heldBy: self)
            entry.encode(into: &bytes)
            var more = request.mutableBytes(base + 64, count: RequestArguments.byteCount, heldBy: self)
            arguments.encode(into: &more)
            side.setFlags(record.tag, side.flags(record.tag) | Bookkeeping.replaying)
            side.publish(record.tag)
            side.ringer.ring()
        }
    }

    /// What the dead server had been given and didn't complete, in the order in which it was given.
    public func requestsInFlight() -> [RequestRecord] {
        var result: [RequestRecord] = []
        records { record in
            guard record.state == .submitted, record.wasPublished else { return }
            switch record.opcode {
            case .hello, .adoptHandle, .replayFinished: break
            default: result.append(record)
            }
        }
        return result.sorted { Int32(bitPattern: $0.position &- $1.position) < 0 }
    }

    /// Gives a request in flight to the new incarnation.
    public func resubmit(_ record: RequestRecord) {
        submission.withLock { side in
            let base = side.base(record.tag)
            guard side.state(record.tag) == .submitted, request.load32(base + 4) == record.entry.generation else {
                return
            }
            var entry = record.entry
            entry.flags.insert(.resubmitted)
            var bytes = request.mutableBytes(base, count: SubmissionEntry.byteCount, heldBy: self)
            entry.encode(into: &bytes)
            side.publish(record.tag)
            side.ringer.ring()
        }
    }

    /// Completes a request in flight or held back with an errno, without the server: quarantine, or a scheme that is offline.
    ///
    /// Only while no server runs, or for requests that the running one wasn't given.
    public func failLocally(_ record: RequestRecord, errno: Int32) {
        local.withLock { $0.append((record.tag, errno)) }
        submission.withLock { side in side.held.removeAll { $0 == record.tag } }
        wakeDrainer()
    }

    /// Lets requests through again, first those that were held back.
    public func resume() {
        submission.withLock { side in
            for tag in side.held { side.publish(tag) }
            if !side.held.isEmpty { side.ringer.ring() }
            side.held.removeAll(keepingCapacity: true)
            side.isHeld = false
        }
    }

    /// Requests held back at the moment.
    public func requestsHeld() -> [RequestRecord] {
        let tags = submission.withLock { $0.held }
        return tags.compactMap { record(tag: $0) }
    }

    /// What the server says of itself.
    public var server: ServerReport { ServerReport(reply, request) }

    /// The counters of both sides.
    public var statistics: ChannelStatistics { ChannelStatistics(request: request, reply: reply) }
}
