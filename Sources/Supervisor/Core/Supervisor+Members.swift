import Glibc
import Platform
import Sandbox
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// The number of this process.
func processNumber() -> Int { Int(getpid()) }

// From the start of a process to its death:
//
//     idle, waiting -> start -> starting -> started -> serving -> died -> waiting -> ...
//                        |         |                      |                  |
//                        +---------+-- failed, died ------+                  +-> offline (restart by hand)

extension Supervisor {
    func member(named name: String) -> Member? { members.first { $0.name == name } }

    /// Starts whatever isn't up and whose needs are.
    func startWhatCan() {
        for member in members where member.state == .idle {
            let needs = member.isRouter ? members.filter { !$0.isRouter }.map(\.name) : member.configuration.uses
            // At the beginning the order spares everybody a recovery. The router waits for nobody that is offline.
            let isReady = needs.allSatisfy { name in
                guard let needed = self.member(named: name) else { return true }
                switch needed.state {
                case .serving: return true
                case .offline: return member.isRouter
                default: return false
                }
            }
            if isReady { start(member) }
        }
    }

    /// Starts the next incarnation.
    func start(_ member: Member) {
        if member.isRouter, let mount { unwatch(mount.descriptor.rawValue) }
        member.incarnation &+= 1
        member.readyAt = nil
        member.retryAt = nil
        member.stoppedAt = nil
        member.deathCause = nil
        member.isAtFault = false
        member.state = .starting
        member.deadline = now() &+ configuration.limits.start
        do {
            let incarnation = member.incarnation
            let process: StartedProcess
            let ours: ControlSocket
            if let spare = takeSpare(member, incarnation: incarnation), isConfigured(spare, member) {
                process = spare.process
                ours = spare.control
            } else {
                let theirs: ControlSocket
                (ours, theirs) = try ControlSocket.pair()
                try configure(member, through: ours)
                process = try createProcess(member, incarnation: incarnation, socket: theirs)
            }
            member.process = process
            member.control = ours
            watch(process.starting.status.rawValue, EventToken(.start, member.index, incarnation: incarnation))
            watch(
                process.starting.process.descriptor.rawValue,
                EventToken(.process, member.index, incarnation: incarnation))
            watch(ours.descriptor.rawValue, EventToken(.control, member.index, incarnation: incarnation))
        } catch {
            startFailed(member, "\(error)")
        }
        updateStatus()
    }

    /// Creates a process in the member's sandbox, with its end of the control socket.
    func createProcess(
        _ member: Member, incarnation: UInt32, socket: ControlSocket, isSpare: Bool = false
    ) throws -> StartedProcess {
        let null = try SystemCall.open("/dev/null", O_RDWR)
        var environment = [
            "SALTBRIDGE_ROLE=\(member.isRouter ? "router" : "scheme")", "SALTBRIDGE_SCHEME=\(member.name)",
            "\(ProcessEnvironment.control)=3", "SALTBRIDGE_INCARNATION=\(incarnation)",
        ]
        if isSpare { environment.append("\(ProcessEnvironment.spare)=1") }
        return StartedProcess(
            try member.sandbox.start(
                arguments: member.configuration.arguments, environment: environment,
                descriptors: [null.rawValue, 2, 2, socket.descriptor.rawValue]))
    }

    /// Sends all that the process needs before it exists: it finds it when it looks.
    func configure(_ member: Member, through socket: ControlSocket) throws(ChannelError) {
        let own = channels.values.filter { $0.client == member.index }.sorted { $0.number < $1.number }
        var fields = [ControlMessage.Field("scheme", member.name)]
        fields += member.configuration.settings.map { ControlMessage.Field($0.key, $0.value) }
        var descriptors = member.configuration.descriptors.map { (name: $0.name, descriptor: $0.descriptor.rawValue) }
        if member.isRouter {
            fields.append(.init("adopt", "\(own.count)"))
            let visible = members.filter { !$0.isRouter && $0.configuration.isVisible }
            fields.append(.init("schemes", visible.map(\.name).joined(separator: ",")))
            if let mount { descriptors.append((name: "fuse", descriptor: mount.descriptor.rawValue)) }
            descriptors.append((name: "supervisor", descriptor: statusMemory.descriptor.rawValue))
            descriptors.append((name: "trace", descriptor: traceMemory.rawValue))
        }
        var held = member.held.map { (name: $0.name, descriptor: $0.descriptor.rawValue) }[...]
        let limit = ProtocolLimits.maximumControlDescriptors
        let room = max(0, limit - descriptors.count)
        descriptors += held.prefix(room)
        held = held.dropFirst(room)
        if !held.isEmpty { fields.append(.init("held", "\((held.count + limit - 1) / limit)")) }
        try socket.send(
            ControlMessage(.configure, number: UInt64(member.incarnation), fields: fields), descriptors: descriptors,
            wait: false)
        while !held.isEmpty {
            try socket.send(ControlMessage(.held), descriptors: Array(held.prefix(limit)), wait: false)
            held = held.dropFirst(limit)
        }
        if member.isRouter {
            for channel in own {
                let server = members[channel.server]
                try socket.send(
                    ControlMessage(
                        .adopt, channel: channel.number, number: UInt64(server.incarnation),
                        geometry: channel.geometry,
                        fields: [
                            .init("scheme", server.name), .init("state", serverState(server)),
                            .init("killed", server.wasKilled ? "1" : "0"),
                        ]),
                    descriptors: channel.descriptors, wait: false)
            }
        }
        for channel in channels.values.sorted(by: { $0.number < $1.number }) where channel.server == member.index {
            channel.attachedTo = member.incarnation
            try socket.send(
                attachMessage(channel, epoch: member.incarnation, id: 0), descriptors: channel.descriptors, wait: false)
        }
    }

    /// The word for a client.
    func serverState(_ server: Member) -> String {
        switch server.state {
        case .serving: "serving"
        case .offline, .finished, .finishing: "offline"
        default: "starting"
        }
    }

    func attachMessage(_ channel: Channel, epoch: UInt32, id: UInt32) -> ControlMessage {
        ControlMessage(
            .attach, id: id, channel: channel.number, number: UInt64(epoch), geometry: channel.geometry,
            fields: [.init("client", members[channel.client].name)])
    }

    /// The child has reached its program, or has said why not.
    func startReported(_ member: Member) {
        guard let process = member.process, !process.hasStarted else { return }
        unwatch(process.starting.status.rawValue)
        process.hasStarted = true
        if let failure = process.starting.waitForStart() {
            let error = SandboxError.start(name: member.name, failure)
            try? process.starting.process.send(signal: SIGKILL)
            _ = try? process.starting.process.waitForEnd()
            forgetProcess(member)
            startFailed(member, "\(error)")
        } else {
            member.recovery?.startedAt = now()
        }
    }

    /// The sandbox can't be set up, or the program says that it can't start: trying again makes no difference, unless it could before.
    func startFailed(_ member: Member, _ reason: String) {
        log("\(member.name): \(reason)")
        member.deadline = nil
        guard member.hasServed, phase.startsProcesses else {
            goOffline(member, reason)
            return
        }
        startAgain(member, member.history.died(at: now(), readyAt: nil, configuration.policy), reason, now())
        updateStatus()
    }

    /// Does what the policy says about a death.
    private func startAgain(_ member: Member, _ decision: RestartPolicy.Decision, _ reason: String, _ time: UInt64) {
        switch decision {
        case .offline:
            let cannotStart = member.readyAt == nil
            goOffline(member, reason)
            // What it needs may come back: a disk that fails for a while, say.
            if cannotStart, member.hasServed {
                member.failedRetries += 1
                member.retryAt = time &+ configuration.policy.retryDelay(after: member.failedRetries)
            }
        case .restart(let at):
            if at <= time {
                start(member)
            } else {
                member.state = .waiting(until: at)
                if member.isRouter { watchMount() }
            }
        }
    }

    /// Tries whether what is offline because it couldn't start can by now.
    func retry(_ member: Member) {
        member.retryAt = nil
        guard member.state.isOffline, phase.startsProcesses else { return }
        member.recovery = RecoveryTimeline(
            incarnation: member.incarnation &+ 1, cause: "tried again", orderedAt: nil, detectedAt: now())
        start(member)
    }

    /// The process says that it is up.
    func started(_ member: Member, _ message: ControlMessage) {
        guard member.state == .starting, let process = member.process else { return }
        // The message can be faster than the report of the start.
        startReported(member)
        guard member.isAlive else { return }
        if member.isDying {
            // Its last message, read after its end: it was up, but nobody needs to know.
            member.readyAt = now()
            return
        }
        do {
            try member.sandbox.verify(process.processID)
        } catch {
            kill(member, because: "not confined")
            reapAtOnce(member)
            startFailed(member, "\(error)")
            return
        }
        member.state = .serving
        member.hasServed = true
        member.failedRetries = 0
        member.recovered = message.number
        member.deadline = nil
        resetWatch(of: member)
        connectWaiting(member)
        member.readyAt = now()
        member.recovery?.readyAt = member.readyAt
        tellClients(of: member, "started")
        if member.awaitedResumes.isEmpty { recoveryEnded(member) }
        startWhatCan()
        becomeReadyIfAllIs()
        updateStatus()
    }

    private func becomeReadyIfAllIs() {
        guard phase == .starting, members.allSatisfy({ $0.state == .serving || $0.state.isOffline }) else { return }
        phase = .serving
        let ready = onReady
        onReady = nil
        ready?()
    }

    /// Something happened to the process: it is gone, stopped or goes on.
    func processChanged(_ member: Member) {
        while let process = member.process {
            guard let change = try? process.starting.process.nextChange() else { return }
            switch change {
            case .ended(let end):
                died(member, end)
                return
            case .stopped: if member.stoppedAt == nil { member.stoppedAt = now() }
            case .continued: member.stoppedAt = nil
            }
        }
    }

    func forgetProcess(_ member: Member) {
        if let process = member.process {
            unwatch(process.starting.process.descriptor.rawValue)
            if !process.hasStarted { unwatch(process.starting.status.rawValue) }
        }
        if let control = member.control { unwatch(control.descriptor.rawValue) }
        member.process = nil
        member.control = nil
        member.stoppedAt = nil
        member.deadline = nil
        failQuestions(member)
    }

    /// The process is wholly gone.
    private func died(_ member: Member, _ end: ProcessEnd) {
        let time = now()
        // What it said last may explain its end.
        member.isDying = true
        receiveMessages(member)
        member.isDying = false
        guard member.isAlive else { return }
        // A start that fails in the child ends the child: the report comes first.
        if let process = member.process, !process.hasStarted {
            startReported(member)
            guard member.isAlive else { return }
        }
        let wasFinishing = member.state == .finishing
        let cause = member.deathCause
        forgetProcess(member)
        dropClientChannels(member)
        if wasFinishing {
            finishedOrRestart(member, end, time)
            return
        }
        member.deathCount += 1
        let isPlanned = member.configuration.settings.contains { $0.key == "crash-plan" }
        member.wasKilled =
            isPlanned && end == .exited(ProtocolLimits.plannedCrashStatus)
            || !member.isAtFault && (cause != nil || end == .signaled(SIGKILL))
        log("\(member.name): \(cause?.text ?? end.description) (incarnation \(member.incarnation))")
        member.recovery = RecoveryTimeline(
            incarnation: member.incarnation &+ 1, cause: cause?.text ?? end.description, orderedAt: cause?.at,
            detectedAt: time)
        member.awaitedResumes = []
        tellClients(of: member, "died")
        guard phase.startsProcesses else {
            member.state = .finished
            return
        }
        // Whoever ordered it waits for the end of the recovery.
        let isOrdered = !member.recoveryWaiters.isEmpty
        let decision = member.history.died(
            at: time, readyAt: member.readyAt, isOrdered: isOrdered, configuration.policy)
        startAgain(member, decision, "died too often: \(end.description)", time)
        updateStatus()
    }

    private func finishedOrRestart(_ member: Member, _ end: ProcessEnd, _ time: UInt64) {
        if end != .exited(0) { log("\(member.name): \(end.description) while it finished") }
        switch member.afterFinish {
        case .stay: member.state = .finished
        case .restart:
            member.recovery = RecoveryTimeline(
                incarnation: member.incarnation &+ 1, cause: "restart", orderedAt: member.deathCause?.at,
                detectedAt: time)
            tellClients(of: member, "died")
            start(member)
        }
        if phase == .finishing { finishNext() }
        updateStatus()
    }

    /// Starts it no more until it is asked for by hand or, if it served before, it is time to try again; its clients answer ENODEV.
    func goOffline(_ member: Member, _ reason: String) {
        if member.isRouter { watchMount() }
        dropSpare(member)
        member.state = .offline(reason)
        member.recovery = nil
        log("\(member.name) is offline: \(reason)")
        tellClients(of: member, "offline")
        connectWaiting(member)
        answerRecoveryWaiters(member, failure: "\(member.name) is offline: \(reason)")
        if phase == .starting {
            if member.configuration.isEssential {
                failure = failure ?? .scheme(member.name, reason)
                stop(force: true)
            } else {
                startWhatCan()
                becomeReadyIfAllIs()
            }
        }
        updateStatus()
    }

    /// Ends a process that must go.
    ///
    /// - Parameter isAtFault: because of what it does or doesn't.
    func kill(_ member: Member, because cause: String, signal: Int32 = SIGKILL, isAtFault: Bool = true) {
        guard let process = member.process else { return }
        member.isAtFault = member.isAtFault || isAtFault
        if member.deathCause == nil { member.deathCause = (cause, now()) }
        try? process.starting.process.send(signal: signal)
    }

    /// After a SIGKILL: the end is near, and there is nothing else to do.
    private func reapAtOnce(_ member: Member) {
        guard let process = member.process else { return }
        _ = try? process.starting.process.waitForEnd()
        forgetProcess(member)
        dropClientChannels(member)
    }

    func deadlinePassed(_ member: Member) {
        member.deadline = nil
        switch member.state {
        case .starting: kill(member, because: "did not get ready in time")
        case .finishing: kill(member, because: "did not finish in time")
        default: break
        }
    }

    func killAll() {
        for member in members { dropSpare(member) }
        for member in members where member.isAlive {
            kill(member, because: "the supervisor ends")
            reapAtOnce(member)
        }
        mount?.endNow()
    }
}

extension MemberState {
    var isOffline: Bool { if case .offline = self { true } else { false } }
}
