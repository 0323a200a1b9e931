import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

// From the death of a server to its successor's first answer (the steps of ChannelClient+Recovery):
//
//      serverDied   new requests wait, nobody takes completions; those that were posted are taken here
//      recover      hello -> the sequence number that its durable state contains
//                   adoptHandle for each open file
//                   replay of the changes behind that number, in their order, compared with what was acknowledged
//                   replayFinished
//                   what was in flight goes out again, what killed two servers gets EIO
//                   everybody goes on
//
// A successor that dies during this ends it; the next one begins it again.

/// Waits for a moment.
func pauseThread(nanoseconds: Int) {
    var time = timespec(tv_sec: nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
    _ = unsafe nanosleep(&time, nil)
}

extension SchemeRoute {
    /// The blame for a death that may be the request's own doing, and for one that somebody else ordered.
    static var guilt: UInt32 { 8 }
    private static var suspicion: UInt32 { 1 }
    /// A request with so much blame gets EIO: two servers died of it, or it was there each time that many were killed.
    private static var blameLimit: UInt32 { 16 }

    /// Nothing goes out until a server is there: the state of a route whose server hasn't started yet.
    public func holdBack() {
        client.holdBack()
    }

    /// The server is wholly dead: what it posted counts, what it didn't waits for the next one.
    ///
    /// - Parameter wasKilled: by somebody else (SIGKILL), so that hardly a request is to blame.
    public func serverDied(wasKilled: Bool = false) {
        timeline.serverDied()
        noteDeath(wasKilled: wasKilled)
        incarnation.store(0, ordering: .sequentiallyConsistent)
        client.holdBack()
        exchange.pause()
        drainAll()
    }

    /// Says how the last server died, for the blame of what it had in hand.
    public func noteDeath(wasKilled: Bool) {
        blame.store(wasKilled ? Self.suspicion : Self.guilt, ordering: .sequentiallyConsistent)
    }

    /// The incarnation of the server that was brought up last, as it stands in the channel's client area: 0 before the first.
    public static func recoveredIncarnation(_ client: ChannelClient) -> UInt32 {
        let bytes = client.clientArea(0, count: 4)
        return unsafe bytes.bytes.unsafeLoad(as: UInt32.self)
    }

    /// Writes down that a server is up to date: a new router need not bring it up.
    public func noteRecovered(_ number: UInt32) {
        let client = client
        var bytes = client.clientArea(0, count: 4)
        bytes.storeBytes(of: number, as: UInt32.self)
    }

    private func drainAll() {
        while client.drain({ completion in exchange.deliver(completion) }) > 0 {}
    }

    /// The supervisor starts no more servers: everything ends with ENODEV, at once.
    public func goOffline() {
        timeline.wentOffline()
        client.holdBack()
        availability.store(.offline, ordering: .sequentiallyConsistent)
        exchange.pause()
        failHeld()
        exchange.resume()
    }

    /// Ends what waits for a server that won't come.
    func failHeld() {
        for record in client.requestsHeld() { client.failLocally(record, errno: ENODEV) }
        for record in client.requestsInFlight() { client.failLocally(record, errno: ENODEV) }
    }

    /// Brings the next incarnation up to date and lets everybody go on. False if it died meanwhile.
    public func recover(incarnation number: UInt32, isSuperseded: () -> Bool = { false }) -> RecoveryReport? {
        incarnation.store(number, ordering: .sequentiallyConsistent)
        client.holdBack()
        exchange.pause()
        drainAll()
        var report = RecoveryReport(incarnation: number)
        timeline.serverStarted()
        client.startEpoch(number, blame: blame.exchange(Self.guilt, ordering: .sequentiallyConsistent))
        guard let hello = ask(SubmissionEntry(.hello), RequestArguments(word0: UInt64(number)), isSuperseded) else {
            return nil
        }
        report.recoveredSequence = hello.value0
        guard handOver(isSuperseded, &report), replay(after: hello.value0, isSuperseded, &report),
            ask(SubmissionEntry(.replayFinished), RequestArguments(), isSuperseded) != nil
        else { return nil }
        for record in client.requestsInFlight() {
            if record.deaths >= Self.blameLimit {
                report.quarantined += 1
                client.failLocally(record, errno: EIO)
            } else {
                report.resubmitted += 1
                client.resubmit(record)
            }
        }
        points?.reached(.upToDate)
        // Before anything is let through: a router that dies from here on leaves a server that is up to date.
        noteRecovered(number)
        availability.store(.available, ordering: .sequentiallyConsistent)
        client.resume()
        exchange.resume()
        // What was failed here wakes nobody by itself if nobody waits on the channel yet.
        client.wakeDrainer()
        timeline.resumed(report)
        return report
    }

    /// Tells the server of the open files, also of those that the log will close.
    private func handOver(_ isSuperseded: () -> Bool, _ report: inout RecoveryReport) -> Bool {
        for file in handles.records() where file.closedBy == 0 || file.closedBy > report.recoveredSequence {
            var arguments = RequestArguments(flags: file.flags)
            arguments.word0 = file.generation
            arguments.word1 = file.openedAfter
            guard
                ask(SubmissionEntry(.adoptHandle, node: file.node, handle: file.handle), arguments, isSuperseded) != nil
            else {
                return false
            }
            report.handles += 1
        }
        points?.reached(.handedOver)
        return true
    }

    /// Repeats acknowledged changes. A result that differs from the acknowledged one is a fault, reported and never hidden.
    private func replay(
        after sequence: UInt64, _ isSuperseded: () -> Bool, _ report: inout RecoveryReport
    ) -> Bool {
        guard !faults.contains(.noLog) else { return true }
        var expected: [UInt32: RequestRecord] = [:]
        let log = client.log(after: sequence)
        for record in log {
            expected[record.tag] = record
            client.replay(record)
        }
        while !expected.isEmpty {
            client.waitAndDrain(nanoseconds: 20_000_000) { completion in
                exchange.deliver(completion)
                guard completion.isReplay, let record = expected.removeValue(forKey: completion.tag) else { return }
                // The second value is the number of the node that the reply is about: the kernel knows it by that.
                let isSameNode = record.result < 0 || record.value1 == completion.value1
                if record.result != completion.result || !isSameNode {
                    report.mismatches.append(
                        RecoveryReport.Mismatch(
                            opcode: completion.opcode, acknowledged: record.result, repeated: completion.result,
                            nodes: isSameNode ? nil : (record.value1, completion.value1)))
                }
            }
            if isSuperseded() { return false }
        }
        report.replayed = log.count
        return true
    }

    /// Asks the new incarnation something before the others may. Nil if it died.
    private func ask(
        _ entry: SubmissionEntry, _ arguments: RequestArguments, _ isSuperseded: () -> Bool
    ) -> Completion? {
        var slot = client.reserve(important: true)
        while slot == nil {
            // Every record waits for this recovery: those that are committed already can go.
            if isSuperseded() { return nil }
            pauseThread(nanoseconds: 1_000_000)
            slot = client.reserve(important: true)
        }
        guard let slot else { return nil }
        client.submit(slot, entry, arguments, inRecovery: true)
        var answer: Completion?
        while answer == nil {
            client.waitAndDrain(nanoseconds: 20_000_000) { completion in
                if completion.tag == slot.tag, !completion.isReplay {
                    answer = completion
                    client.release(completion)
                } else {
                    exchange.deliver(completion)
                }
            }
            if isSuperseded() { return nil }
        }
        return answer
    }

    /// Looks after the route every few seconds: what was changed becomes durable, what nobody asks for any more is freed.
    public func tend() {
        orphans.expire()
        let server = client.server
        handles.collect(committed: server.committedSequence)
        if client.fill.retained > 0, availability.load(ordering: .relaxed) == .available,
            incarnation.load(ordering: .relaxed) != 0, !isCommitting.isPending.exchange(true, ordering: .relaxed)
        {
            requestCommit()
        }
    }
}
