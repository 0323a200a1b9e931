import Platform
import SchemeProtocol
import SchemeTransport

/// A client that brings the next incarnation of its server up to date, as the router does: what the steps in
/// ChannelClient+Recovery.swift come to.
public final class RecoveringClient {
    /// The channel.
    public let channel: ChannelClient
    /// How to start the next incarnation.
    private let start: (UInt32) throws -> PeerProcess
    /// The running server.
    public private(set) var peer: PeerProcess
    /// Its number.
    public private(set) var incarnation: UInt32
    /// Replayed requests whose answer wasn't the acknowledged one.
    public private(set) var mismatches = 0
    /// Requests replayed in all.
    public private(set) var replayed = 0
    /// Requests sent again in all.
    public private(set) var resubmitted = 0
    /// Handles that are open, handed over to each incarnation.
    public var handles: [(node: UInt64, handle: UInt64, flags: UInt32)] = []
    /// For the negative control: nothing is replayed.
    public var forgetsTheLog = false
    private let onCompletion: (Completion) -> Void

    /// Starts the first incarnation. Completions come to `onCompletion`, which releases them.
    public init(
        _ channel: ChannelClient, incarnation: UInt32 = 1, start: @escaping (UInt32) throws -> PeerProcess,
        onCompletion: @escaping (Completion) -> Void
    ) throws {
        self.channel = channel
        self.start = start
        self.onCompletion = onCompletion
        self.incarnation = incarnation
        peer = try start(incarnation)
        try attach()
        try bringUp()
    }

    private func attach() throws {
        _ = try peer.wait(for: .started)
        try peer.attach(
            geometry: channel.layout.geometry, request: channel.requestDescriptor, reply: channel.replyDescriptor,
            epoch: incarnation)
    }

    /// Waits for completions for a moment. A server that has died is replaced.
    public func step(nanoseconds: UInt64 = 2_000_000) throws {
        if channel.waitAndDrain(nanoseconds: nanoseconds, onCompletion) == 0, peer.hasEnded { try recover() }
    }

    /// Replaces the server, dead or not.
    public func recover() throws {
        while true {
            channel.holdBack()
            peer.kill()
            incarnation += 1
            do {
                while channel.drain(onCompletion) > 0 {}
                peer = try start(incarnation)
                try attach()
                if try bringUp() { return }
            } catch ChannelError.disconnected {
                continue
            }
        }
    }

    /// False if the server died meanwhile.
    @discardableResult
    private func bringUp() throws -> Bool {
        channel.startEpoch(incarnation)
        while channel.drain(onCompletion) > 0 {}
        let inFlight = channel.requestsInFlight()
        guard let hello = try call(SubmissionEntry(.hello)) else { return false }
        for open in handles {
            guard
                try call(
                    SubmissionEntry(.adoptHandle, node: open.node, handle: open.handle),
                    RequestArguments(flags: open.flags)) != nil
            else { return false }
        }
        let log = forgetsTheLog ? [] : channel.log(after: hello.value0)
        var waiting = Dictionary(uniqueKeysWithValues: log.map { ($0.tag, $0) })
        for record in log { channel.replay(record) }
        while !waiting.isEmpty {
            let count = channel.waitAndDrain(nanoseconds: 2_000_000) { completion in
                guard completion.isReplay, let record = waiting.removeValue(forKey: completion.tag) else {
                    onCompletion(completion)
                    return
                }
                replayed += 1
                if completion.result != record.result || completion.sequence != record.sequence { mismatches += 1 }
            }
            if count == 0, peer.hasEnded { return false }
        }
        guard try call(SubmissionEntry(.replayFinished)) != nil else { return false }
        for record in inFlight { channel.resubmit(record) }
        resubmitted += inFlight.count
        channel.resume()
        return true
    }

    private func call(
        _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments()
    ) throws -> Completion? {
        guard let slot = channel.reserve(important: true) else { throw PeerError.wrong("no room") }
        channel.submit(slot, entry, arguments, inRecovery: true)
        var result: Completion?
        while result == nil {
            let count = channel.waitAndDrain(nanoseconds: 2_000_000) { completion in
                if completion.tag == slot.tag { result = completion } else { onCompletion(completion) }
            }
            if count == 0, peer.hasEnded { return nil }
        }
        if let result { channel.release(result) }
        return result
    }
}
