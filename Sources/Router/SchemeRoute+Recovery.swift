import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

// From the death of a server to its successor's first answer (the steps of ChannelClient+Recovery):
//
//      serverDied   new requests wait, nobody takes completions; those that were posted are taken here
//      recover      hello -> the sequence number that its durable state contains; if the supervisor has told the number already, with
//                   this go adoptHandle and, without a log, replayFinished
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
        forgetAnswers()
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
        // Also what nobody waits for.
        drainAll()
        exchange.resume()
    }

    /// Ends what waits for a server that won't come.
    func failHeld() {
        for record in client.requestsHeld() { client.failLocally(record, errno: ENODEV) }
        for record in client.requestsInFlight() { client.failLocally(record, errno: ENODEV) }
    }

    /// Brings the next incarnation up to date and lets everybody go on. Nil if it died meanwhile, or contradicted itself.
    ///
    /// - Parameter recovered: the number that it found in its durable state, if it has told: all that follows from it is sent at once
    ///   with the question for it.
    public func recover(
        incarnation number: UInt32, recovered: UInt64? = nil, isSuperseded: () -> Bool = { false }
    ) -> RecoveryReport? {
        incarnation.store(number, ordering: .sequentiallyConsistent)
        client.holdBack()
        exchange.pause()
        drainAll()
        var report = RecoveryReport(incarnation: number)
        timeline.serverStarted()
        client.startEpoch(number, blame: blame.exchange(Self.guilt, ordering: .sequentiallyConsistent))
        guard bringUp(recovered, isSuperseded, &report) else { return nil }
        // First those that end here: they must be over for the server when it gets the others.
        for record in client.requestsInFlight() where record.blame >= Self.blameLimit {
            report.quarantined += 1
            client.failLocally(record, errno: EIO)
        }
        if report.quarantined > 0 { drainAll() }
        for record in client.requestsInFlight() {
            report.resubmitted += 1
            client.resubmit(record)
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

    /// A question of a recovery.
    private typealias Question = (entry: SubmissionEntry, arguments: RequestArguments)

    /// From `hello` to `replayFinished`. The server takes questions in their order, so that those whose answers aren't needed for the
    /// next need not be waited for one by one.
    private func bringUp(
        _ recovered: UInt64?, _ isSuperseded: () -> Bool, _ report: inout RecoveryReport
    ) -> Bool {
        var questions = [Question(SubmissionEntry(.hello), RequestArguments(word0: UInt64(report.incarnation)))]
        var isFinished = false
        if let recovered {
            questions += openFiles(after: recovered)
            isFinished = log(after: recovered).isEmpty
            if isFinished { questions.append((SubmissionEntry(.replayFinished), RequestArguments())) }
        }
        guard let sequence = ask(questions, isSuperseded)?.first?.value0 else { return false }
        report.recoveredSequence = sequence
        let files = openFiles(after: sequence)
        if let recovered {
            guard recovered == sequence else { return false }
        } else if ask(files, isSuperseded) == nil {
            return false
        }
        report.handles = files.count
        points?.reached(.handedOver)
        return isFinished
            || replay(after: sequence, isSuperseded, &report)
                && ask([(SubmissionEntry(.replayFinished), RequestArguments())], isSuperseded) != nil
    }

    /// What tells the server of the open files, also of those that the log will close.
    private func openFiles(after sequence: UInt64) -> [Question] {
        handles.records().filter { $0.closedBy == 0 || $0.closedBy > sequence }.map { file in
            var arguments = RequestArguments(flags: file.flags)
            arguments.word0 = file.generation
            arguments.word1 = file.openedAfter
            return (SubmissionEntry(.adoptHandle, node: file.node, handle: file.handle), arguments)
        }
    }

    private func log(after sequence: UInt64) -> [RequestRecord] {
        faults.contains(.noLog) ? [] : client.log(after: sequence)
    }

    /// Repeats acknowledged changes. A result that differs from the acknowledged one is a fault, reported and never hidden.
    private func replay(
        after sequence: UInt64, _ isSuperseded: () -> Bool, _ report: inout RecoveryReport
    ) -> Bool {
        var expected: [UInt32: RequestRecord] = [:]
        let log = log(after: sequence)
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

    /// Asks the new incarnation before the others may: all in this order, and waits for all answers. Nil if it died.
    private func ask(_ questions: [Question], _ isSuperseded: () -> Bool) -> [Completion]? {
        var answers: [Int: Completion] = [:]
        var open: [UInt32: Int] = [:]
        var next = 0
        while answers.count < questions.count {
            while next < questions.count, let slot = client.reserve(important: true) {
                open[slot.tag] = next
                client.submit(slot, questions[next].entry, questions[next].arguments, inRecovery: true)
                next += 1
            }
            if open.isEmpty {
                // Every record waits for this recovery: those that are committed already can go.
                pauseThread(nanoseconds: 1_000_000)
            } else {
                client.waitAndDrain(nanoseconds: 20_000_000) { completion in
                    if !completion.isReplay, let place = open.removeValue(forKey: completion.tag) {
                        answers[place] = completion
                        client.release(completion)
                    } else {
                        exchange.deliver(completion)
                    }
                }
            }
            if isSuperseded() { return nil }
        }
        return questions.indices.compactMap { answers[$0] }
    }

    /// Looks after the route every few seconds: what was changed becomes durable, what nobody asks for any more is freed.
    public func tend() {
        orphans.expire()
        let server = client.server
        handles.collect(committed: server.committedSequence)
        closeKept()
        if client.fill.retained > 0, availability.load(ordering: .relaxed) == .available,
            incarnation.load(ordering: .relaxed) != 0, !isCommitting.isPending.exchange(true, ordering: .relaxed)
        {
            requestCommit()
        }
    }
}
