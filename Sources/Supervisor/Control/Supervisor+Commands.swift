import Glibc
import Platform
import Sandbox
import SchemeProtocol
import SchemeTransport

// The control socket: one JSON object per line, answered by one per line, in any order of completion.
//
//     {"command":"status"}                                              everything about the mount
//     {"command":"crash","scheme":S,"how":"signal","signal":9}          kills; answers with the timeline of the recovery.
//                                                                       4, 8, 11: it dies of a fault of its own
//     {"command":"crash","scheme":S,"how":"hang"}                       stops it; the supervisor finds out
//     {"command":"crash","scheme":S,"how":"exit"|"corrupt-reply"|"operation","operation":O}
//                                                                       has the server do it to itself
//     {"command":"restart","scheme":S}                                  finishes and starts it; brings it back from offline
//     {"command":"upgrade"}                                             new programs for all, the mount stays
//     {"command":"set","scheme":S,"fields":{...}}                       settings of a server (faults of the disk)
//     {"command":"get","scheme":S}                                      what a server says of itself
//     {"command":"trace"}                                               the memory of a trace (TraceRing), as a descriptor
//     {"command":"stop","force":false}                                  unmounts and ends; answers when all is over
//
// Answers: {"ok":true,...} or {"ok":false,"error":"..."}.

extension Supervisor {
    func acceptConnections() {
        while let number = control?.accept(), let connection = control?.connections[number] {
            watch(connection.descriptor.rawValue, EventToken(.connection, Int(number)))
        }
    }

    func handleConnection(_ number: UInt32) {
        guard let connection = control?.connections[number] else { return }
        guard let lines = connection.takeLines(), connection.flush() else {
            drop(number)
            return
        }
        for line in lines {
            do throws(ControlJSONError) {
                command(try ControlJSON(parsing: line), from: number)
            } catch {
                replyFailure(to: number, "\(error)")
            }
        }
        listen(to: number)
    }

    private func drop(_ number: UInt32) {
        guard let connection = control?.connections.removeValue(forKey: number) else { return }
        unwatch(connection.descriptor.rawValue)
    }

    /// Waits for room, too, while something has to be sent.
    private func listen(to number: UInt32) {
        guard let connection = control?.connections[number] else { return }
        let events: PollEvents = connection.hasOutgoing ? [.readable, .writable] : .readable
        try? poll.modify(
            connection.descriptor.rawValue, events, token: EventToken(.connection, Int(number)).raw)
    }

    func reply(to number: UInt32, _ answer: ControlJSON) {
        guard let connection = control?.connections[number] else { return }
        if connection.send(answer.text) { listen(to: number) } else { drop(number) }
    }

    func replyFailure(to number: UInt32, _ reason: String) {
        reply(to: number, .make(["ok": .bool(false), "error": .string(reason)]))
    }

    private func sendTraceMemory(to number: UInt32) {
        guard let connection = control?.connections[number] else { return }
        let answer = ControlJSON.make(["ok": .bool(true)])
        if !connection.send(answer.text, descriptor: traceMemory.rawValue) { drop(number) }
    }

    private func command(_ request: ControlJSON, from number: UInt32) {
        guard let name = request["command"]?.string else {
            replyFailure(to: number, "no command")
            return
        }
        switch name {
        case "status": reply(to: number, .make(["ok": .bool(true), "status": statusJSON()]))
        case "trace": sendTraceMemory(to: number)
        case "stop": stop(force: request["force"]?.bool ?? false, for: number)
        case "upgrade": upgrade(for: number)
        case "crash", "restart", "set", "get":
            guard let scheme = request["scheme"]?.string, let member = member(named: scheme) else {
                replyFailure(to: number, "no such scheme: \(request["scheme"]?.string ?? "")")
                return
            }
            switch name {
            case "crash": crash(member, request, from: number)
            case "restart": restart(member, for: number)
            case "set":
                let fields = request["fields"]?.members ?? []
                forward(
                    ControlMessage(.set, fields: fields.map { .init($0.name, Self.text($0.value)) }), to: member, number
                )
            default: forward(ControlMessage(.get), to: member, number)
            }
        default: replyFailure(to: number, "no such command: \(name)")
        }
    }

    private static func text(_ value: ControlJSON) -> String { value.string ?? value.text }

    private func forward(_ message: ControlMessage, to member: Member, _ number: UInt32) {
        if !ask(member, message, .connection(number)) { replyFailure(to: number, "\(member.name) is not running") }
    }

    /// Makes a process die; the answer comes when the next incarnation serves.
    private func crash(_ member: Member, _ request: ControlJSON, from number: UInt32) {
        guard member.isAlive, member.state == .serving else {
            replyFailure(to: number, "\(member.name) is \(member.state.name)")
            return
        }
        switch request["how"]?.string ?? "signal" {
        case "signal":
            let signal = Int32(clamping: request["signal"]?.integer ?? 9)
            if signal == SIGKILL {
                member.recoveryWaiters.append(number)
                kill(member, because: "signal \(signal) (by crash)", isAtFault: false)
            } else if ProcessFault.signals.contains(signal) {
                let fields = [
                    ControlMessage.Field("crash", "signal"), ControlMessage.Field("signal", "\(signal)"),
                ]
                tellToDie(member, fields, because: "signal \(signal) (by crash)", for: number)
            } else {
                let signals = (ProcessFault.signals + [SIGKILL]).sorted().map { "\($0)" }.joined(separator: ", ")
                replyFailure(to: number, "signal \(signal) ends no process of a mount; these do: \(signals)")
            }
        case "hang":
            member.recoveryWaiters.append(number)
            kill(member, because: "hung (by crash)", signal: SIGSTOP, isAtFault: false)
        case "exit", "corrupt-reply", "operation":
            let how = request["how"]?.string ?? ""
            var fields = [ControlMessage.Field("crash", how)]
            if let operation = request["operation"]?.string { fields.append(.init("operation", operation)) }
            tellToDie(member, fields, because: how == "exit" ? "exit (by crash)" : nil, for: number)
        default: replyFailure(to: number, "crash how?")
        }
    }

    /// Has a process do it to itself. One that can't answers that; one that does it later answers the setting first.
    ///
    /// - Parameter cause: of a death at once.
    private func tellToDie(
        _ member: Member, _ fields: [ControlMessage.Field], because cause: String?, for number: UInt32
    ) {
        member.recoveryWaiters.append(number)
        if member.deathCause == nil, let cause { member.deathCause = (cause, now()) }
        _ = ask(member, ControlMessage(.set, fields: fields), .crash(number))
    }

    /// Replaces a process in good order, or brings back one that is offline.
    private func restart(_ member: Member, for number: UInt32) {
        member.recoveryWaiters.append(number)
        member.history.reset()
        switch member.state {
        case .serving: tellToFinish(member, afterwards: .restart)
        case .starting, .finishing: break
        default:
            member.recovery = RecoveryTimeline(
                incarnation: member.incarnation &+ 1, cause: "restart", orderedAt: now(), detectedAt: now())
            start(member)
        }
    }

    /// Opens all programs anew and replaces the processes one after another.
    private func upgrade(for number: UInt32) {
        do {
            for member in members {
                dropSpare(member)
                member.sandbox = try Sandbox(
                    member.configuration.manifest, executablePath: member.configuration.executablePath,
                    index: Member.sandboxIndex(member.index))
            }
        } catch {
            replyFailure(to: number, "\(error)")
            return
        }
        upgradeWaiter = (number, members.filter { !$0.state.isOffline }.map(\.index))
        upgradeNext()
    }

    func upgradeNext() {
        guard let (number, all) = upgradeWaiter else { return }
        var rest = all
        while !rest.isEmpty {
            let member = members[rest.removeFirst()]
            guard member.state == .serving else { continue }
            upgradeWaiter = (number, rest)
            tellToFinish(member, afterwards: .restart)
            return
        }
        upgradeWaiter = nil
        reply(to: number, .make(["ok": .bool(true), "status": statusJSON()]))
    }

    func answerRecoveryWaiters(_ member: Member, _ timeline: RecoveryTimeline) {
        let waiters = member.recoveryWaiters
        member.recoveryWaiters = []
        for waiter in waiters { reply(to: waiter, .make(["ok": .bool(true), "timeline": timeline.json])) }
        upgradeNext()
    }

    func answerRecoveryWaiters(_ member: Member, failure: String) {
        let waiters = member.recoveryWaiters
        member.recoveryWaiters = []
        for waiter in waiters { replyFailure(to: waiter, failure) }
        upgradeNext()
    }

    func answerStopWaiters(failure: String?) {
        let waiters = stopWaiters
        stopWaiters = []
        for waiter in waiters {
            if let failure { replyFailure(to: waiter, failure) } else { reply(to: waiter, .make(["ok": .bool(true)])) }
        }
    }
}
