import Platform
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport

/// Calls through a channel, in any order of completion: what completes is kept until somebody asks for it.
final class Caller {
    struct Answer {
        let result: Int64
        let value0: UInt64
        let text: String
    }

    private let channel: ChannelClient
    private var answers: [UInt32: Answer] = [:]

    init(_ channel: ChannelClient) { self.channel = channel }

    func submit(
        _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments(), payload: String = "",
        inRecovery: Bool = false
    ) throws -> RequestSlot {
        let channel = channel
        let bytes = Array(payload.utf8)
        let room = Int(entry.length) > ProtocolLimits.inlineReplyBytes ? Int(entry.length) : 0
        guard let slot = channel.reserve(payloadBytes: bytes.count, replyBytes: room, important: true) else {
            throw PeerError.wrong("no room")
        }
        if !bytes.isEmpty {
            var target = channel.payload(slot)
            let span = bytes.span
            target.copyBytes(from: unsafe span.bytes)
        }
        answers[slot.tag] = nil
        channel.submit(slot, entry, arguments, payload: 0..<bytes.count, inRecovery: inRecovery)
        return slot
    }

    func call(
        _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments(), payload: String = "",
        inRecovery: Bool = false
    ) throws -> Answer {
        wait(for: try submit(entry, arguments, payload: payload, inRecovery: inRecovery).tag)
    }

    func wait(for tag: UInt32) -> Answer {
        while true {
            if let answer = answers.removeValue(forKey: tag) { return answer }
            channel.waitAndDrain(nanoseconds: 100_000_000) { keep($0) }
        }
    }

    /// Keeps what has completed, without waiting.
    func take() { channel.drain { keep($0) } }

    private func keep(_ completion: Completion) {
        answers[completion.tag] = Answer(
            result: completion.result, value0: completion.value0,
            text: String(decoding: channel.replyBytes(completion), as: UTF8.self))
        channel.release(completion)
    }
}
