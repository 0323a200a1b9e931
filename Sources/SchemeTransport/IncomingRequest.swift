import Platform
import SchemeProtocol

/// A request in a server's hand: copied out of shared memory and checked. Opcode, payload range and reply range are sound; nodes,
/// handles, offsets and names are for the scheme to check.
public struct IncomingRequest: Sendable {
    /// The index of its record.
    public let tag: UInt32
    /// What is asked.
    public let opcode: Opcode
    /// The entry as it was when it was checked.
    public let entry: SubmissionEntry
    /// The arguments, from the same moment.
    public let arguments: RequestArguments
    /// Where the payload lies in the request memory.
    let payloadRange: Range<Int>
    /// Where the reply pages lie in the reply memory; empty if the reply has the reply record alone.
    let replyRange: Range<Int>
    /// Bytes that the client gave room for, 0 to 1 MiB and a little.
    public var replyCapacity: Int { max(replyRange.count, ProtocolLimits.inlineReplyBytes) }
    /// Bytes that the client asked for (read, listings, values).
    public var length: Int { Int(entry.length) }
    /// Bytes of payload.
    public var payloadByteCount: Int { payloadRange.count }
    /// When it was taken, in nanoseconds of the monotonic clock.
    public let takenAt: UInt64
    /// The number of the thread that took it.
    public let worker: Int

    /// The request was acknowledged before: apply it as the first time, stamp `arguments.sequence`.
    public var isReplay: Bool { entry.flags.contains(.replay) }

    /// The time of the call.
    public var time: WireTime { WireTime(sinceEpoch: entry.time) }

    /// Copies and checks the record of a tag; nil if it makes no sense.
    static func read(_ server: ChannelServer, tag: Int, worker: Int) -> IncomingRequest? {
        let layout = server.layout
        let base = layout.requestRecords + tag * ProtocolLimits.requestRecordBytes
        let words = CopiedWords<16>(server.request, base)
        guard let entry = SubmissionEntry(decoding: words.bytes),
            let arguments = RequestArguments(decoding: words.bytes.extracting(64..<128)),
            let opcode = Opcode(rawValue: entry.opcode)
        else { return nil }
        let payload: Range<Int>
        let payloadLength = Untrusted(entry.payloadLength)
        if entry.flags.contains(.inlinePayload) {
            guard let count = payloadLength.length(atMost: ProtocolLimits.inlinePayloadBytes) else { return nil }
            let start = base + ProtocolLimits.inlinePayloadOffset
            payload = start..<(start + count)
        } else {
            guard
                let range = Untrusted(entry.payloadOffset).range(
                    length: payloadLength, within: layout.geometry.payloadBytes),
                range.count <= ProtocolLimits.maximumPayloadBytes
            else { return nil }
            payload = (layout.payloadArea + range.lowerBound)..<(layout.payloadArea + range.upperBound)
        }
        let reply: Range<Int>
        if entry.length <= ProtocolLimits.inlineReplyBytes {
            reply = 0..<0
        } else {
            guard
                let range = Untrusted(entry.replyOffset).range(
                    length: Untrusted(entry.length), within: layout.geometry.replyBytes),
                range.count <= ProtocolLimits.maximumPayloadBytes
            else { return nil }
            reply = (layout.replyArea + range.lowerBound)..<(layout.replyArea + range.upperBound)
        }
        return IncomingRequest(
            tag: UInt32(tag), opcode: opcode, entry: entry, arguments: arguments, payloadRange: payload,
            replyRange: reply, takenAt: Clock.monotonicNanoseconds(), worker: worker)
    }
}

extension ChannelServer {
    /// The payload in place. The client can still change it.
    @_lifetime(borrow self)
    public func payload(_ taken: IncomingRequest) -> RawSpan {
        request.bytes(taken.payloadRange.lowerBound, count: taken.payloadRange.count, heldBy: self)
    }

    /// The payload as part of `payloadBuffer`, or nil if it lies in the record.
    public func payloadSlice(_ taken: IncomingRequest) -> BufferSlice? {
        guard taken.payloadRange.lowerBound >= layout.payloadArea, !taken.payloadRange.isEmpty else { return nil }
        let start = taken.payloadRange.lowerBound - layout.payloadArea
        return BufferSlice(payloadBuffer, start..<(start + taken.payloadRange.count))
    }

    /// Copies the payload out, so that it can't change any more; false if the buffer is too small. For names and paths.
    public func copyPayload(_ taken: IncomingRequest, into buffer: AlignedBuffer) -> Bool {
        guard taken.payloadRange.count <= buffer.byteCount else { return false }
        buffer.copyBytes(from: payload(taken), at: 0)
        return true
    }
}
