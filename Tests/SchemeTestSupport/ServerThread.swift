import Platform
import SchemeKit
import SchemeProtocol
import SchemeTransport

/// A server of a channel on threads of this process.
public final class ServerThread: Sendable {
    /// The server.
    public let server: ChannelServer
    /// What it serves.
    public let dispatcher: Dispatcher
    private let threads: [JoinHandle]

    /// Serves a scheme on a channel.
    public init(
        _ channel: ChannelClient, _ scheme: any NodeScheme, workers: Int = 1, incarnation: UInt32 = 1,
        epoch: UInt32 = 0
    ) throws {
        let server = try ChannelServer(
            number: 1, geometry: channel.layout.geometry, request: channel.requestDescriptor,
            reply: channel.replyDescriptor, incarnation: incarnation)
        let dispatcher = Dispatcher(scheme)
        self.server = server
        self.dispatcher = dispatcher
        let recovered = scheme.recoveredSequence
        var threads: [JoinHandle] = []
        for worker in 0..<workers {
            threads.append(
                try spawnThread(name: "server-\(worker)") {
                    guard server.begin(epoch: epoch) else { return }
                    if worker == 0 { server.announce(recoveredSequence: recovered) }
                    ChannelWorker(server, dispatcher, worker: worker).run()
                })
        }
        self.threads = threads
    }

    /// Ends the threads.
    public func stop() {
        server.stop()
        for thread in threads { thread.join() }
    }
}

extension ChannelClient {
    /// Submits and waits; the completion is not released.
    public func callAndWait(
        _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments(), payload: [UInt8] = [],
        inRecovery: Bool = false
    ) throws -> Completion {
        guard
            let slot = reserve(
                payloadBytes: payload.count,
                replyBytes: Int(entry.length) > ProtocolLimits.inlineReplyBytes ? Int(entry.length) : 0, important: true
            )
        else { throw PeerError.wrong("no room") }
        if !payload.isEmpty {
            var room = self.payload(slot)
            let span = payload.span
            room.copyBytes(from: unsafe span.bytes)
        }
        submit(slot, entry, arguments, payload: 0..<payload.count, inRecovery: inRecovery)
        var result: Completion?
        while result == nil {
            waitAndDrain(nanoseconds: 100_000_000) { completion in
                if completion.tag == slot.tag { result = completion } else { release(completion) }
            }
        }
        guard let result else { throw PeerError.wrong("no completion") }
        return result
    }

    /// The reply's bytes, copied.
    public func replyBytes(_ completion: Completion) -> [UInt8] {
        let span = reply(completion)
        return (0..<span.byteCount).map { unsafe span.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
    }
}
