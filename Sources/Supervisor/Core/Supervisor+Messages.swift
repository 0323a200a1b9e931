import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

extension Supervisor {
    /// Messages taken from one process before others are looked at.
    private static let messageBudget = 64
    /// Descriptors kept for one process: as many as it may have itself. Some are left where few may be open here: a supervisor without
    /// any can start no server again.
    private func heldLimit(_ member: Member) -> Int {
        let own = ResourceLimit.own(ResourceLimit.openFiles).soft
        return Int(clamping: min(member.configuration.manifest.limits.descriptors, own - own / 4))
    }

    /// Takes what a process has sent.
    func receiveMessages(_ member: Member) {
        // What a dead process sent is all there will be: it is read to its end.
        var budget = member.isDying ? Int.max : Self.messageBudget
        while budget > 0 {
            budget -= 1
            guard let control = member.control else { return }
            do throws(ChannelError) {
                guard let received = try control.receive(wait: false) else { return }
                handle(received, from: member)
            } catch .disconnected {
                // The end of the process is told by its pidfd.
                unwatch(control.descriptor.rawValue)
                return
            } catch {
                log("\(member.name): \(error)")
            }
        }
    }

    private func handle(_ received: ReceivedControl, from member: Member) {
        let message = received.message
        switch message.kind {
        case .started: started(member, message)
        case .failed where message.id == 0: startRefused(member, message)
        case .failed, .done: answered(member, message)
        case .connect: connect(member, received)
        case .hold: hold(member, received)
        case .accept: accept(member, message)
        case .dial: dial(member, message)
        case .log: log("\(member.name): \(message["message"] ?? "")")
        case .resumed: resumed(member, message)
        case .unmounted where member.isRouter: mountEnded()
        case .suspect: suspected(member, message)
        default: log("\(member.name): message \(message.kind.rawValue) is not known")
        }
    }

    /// The process itself says that it can't start. At the beginning that is final; later it may be for a reason that passes.
    private func startRefused(_ member: Member, _ message: ControlMessage) {
        let reason = message["message"] ?? "\(Errno(rawValue: Int32(clamping: message.number)))"
        log("\(member.name): cannot start: \(reason)")
        guard member.state == .starting else { return }
        member.deathCause = member.deathCause ?? (reason, now())
        if phase == .starting, member.configuration.isEssential {
            failure = failure ?? .scheme(member.name, reason)
            stop(force: true)
        }
    }

    /// Sends a message; a process that doesn't read its messages hangs.
    @discardableResult
    func send(
        _ message: ControlMessage, to member: Member, descriptors: [(name: String, descriptor: Int32)] = []
    ) -> Bool {
        guard let control = member.control else { return false }
        do throws(ChannelError) {
            try control.send(message, descriptors: descriptors, wait: false)
            return true
        } catch .disconnected {
            return false
        } catch {
            log("\(member.name): \(error)")
            kill(member, because: "does not read its messages")
            return false
        }
    }

    /// Sends a message whose answer somebody waits for.
    func ask(
        _ member: Member, _ message: ControlMessage, _ question: Question,
        descriptors: [(name: String, descriptor: Int32)] = []
    ) -> Bool {
        lastQuestion = lastQuestion == .max ? 1 : lastQuestion + 1
        var message = message
        message.id = lastQuestion
        member.questions[lastQuestion] = question
        if send(message, to: member, descriptors: descriptors) { return true }
        member.questions[message.id] = nil
        return false
    }

    private func answered(_ member: Member, _ message: ControlMessage) {
        guard let question = member.questions.removeValue(forKey: message.id) else { return }
        switch question {
        case .nobody: break
        case .crash(let connection):
            guard message.kind == .failed else { return }
            member.recoveryWaiters.removeAll { $0 == connection }
            member.deathCause = nil
            replyFailure(to: connection, message["message"] ?? "\(member.name) can't do that to itself")
        case .connection(let connection):
            let fields = message.fields.map { ControlJSON.Member($0.key, .string($0.value)) }
            if message.kind == .done {
                reply(to: connection, .object([.init("ok", .bool(true)), .init("fields", .object(fields))]))
            } else {
                replyFailure(to: connection, message["message"] ?? "failed with errno \(message.number)")
            }
        case .connect(let client, let id, let channel):
            if message.kind == .done {
                answerConnect(client, id, channel)
            } else {
                let reason = message["message"] ?? ""
                removeChannel(channel)
                refuseConnect(members[client], id, Errno(rawValue: Int32(clamping: message.number)), reason)
            }
        }
    }

    /// The process is gone: who waits for its answers gets another.
    func failQuestions(_ member: Member) {
        let questions = member.questions
        member.questions = [:]
        for question in questions.values {
            switch question {
            case .nobody, .crash: break
            case .connection(let connection): replyFailure(to: connection, "\(member.name) died before it answered")
            // The channel stays: the next incarnation is told of it at its start.
            case .connect(let client, let id, let channel): answerConnect(client, id, channel)
            }
        }
    }

    private func hold(_ member: Member, _ received: ReceivedControl) {
        for name in received.message.descriptorNames {
            member.held.removeAll { $0.name == name }
            guard let descriptor = received.descriptor(name) else { continue }
            if member.held.count < heldLimit(member) {
                member.held.append((name, descriptor))
            } else {
                log("\(member.name): \(name) is not held: too many descriptors are")
            }
        }
        for field in received.message.fields where field.key == "drop" {
            member.held.removeAll { $0.name == field.value }
        }
        if received.message.id != 0 { send(ControlMessage(.done, id: received.message.id), to: member) }
    }

    /// Takes the next caller of a listening socket and holds it at once.
    private func accept(_ member: Member, _ message: ControlMessage) {
        let listener = message["listener"] ?? ""
        var answer = ControlMessage(
            .held, fields: [.init("listener", listener), .init("name", message["name"] ?? "")])
        do throws(Errno) {
            guard let name = message["name"], let socket = member.held.first(where: { $0.name == listener })?.descriptor
            else { throw .badFileDescriptor }
            guard member.held.count < heldLimit(member) else { throw .tooManyOpenFiles }
            guard let caller = try SystemCall.acceptInternet(socket.rawValue) else { throw .wouldBlock }
            member.held.append((name, caller))
            // A process that is dead already is told at its next start.
            if !member.isDying { send(answer, to: member, descriptors: [(name, caller.rawValue)]) }
        } catch {
            answer.number = UInt64(UInt32(bitPattern: error.rawValue))
            if !member.isDying { send(answer, to: member) }
        }
    }

    /// Connects a socket to an endpoint that the process was granted, and holds it.
    private func dial(_ member: Member, _ message: ControlMessage) {
        do throws(Errno) {
            guard let name = message["name"],
                let endpoint = member.configuration.endpoints.first(where: { $0.name == message["endpoint"] })?.endpoint
            else { throw .permissionDenied }
            guard member.held.count < heldLimit(member) else { throw .tooManyOpenFiles }
            // Nobody is left to use it.
            guard !member.isDying else { return }
            let socket = try SystemCall.beginConnection(to: endpoint)
            member.held.removeAll { $0.name == name }
            member.held.append((name, socket))
            send(ControlMessage(.done, id: message.id), to: member, descriptors: [(name, socket.rawValue)])
        } catch {
            send(
                ControlMessage(.failed, id: message.id, number: UInt64(UInt32(bitPattern: error.rawValue))), to: member)
        }
    }

    // MARK: Recovery

    /// Tells the clients of a server what became of it.
    func tellClients(of server: Member, _ state: String) {
        server.awaitedResumes = []
        for channel in channels.values.sorted(by: { $0.number < $1.number }) where channel.server == server.index {
            let client = members[channel.client]
            guard client.isAlive else { continue }
            // A client that is still waiting for its introduction hears of the server in the answer.
            let isSent = send(
                ControlMessage(
                    .serverChanged, channel: channel.number, number: UInt64(server.incarnation),
                    fields: [
                        .init("state", state), .init("scheme", server.name),
                        .init("killed", server.wasKilled ? "1" : "0"), .init("recovered", "\(server.recovered)"),
                    ]), to: client)
            if isSent, state == "started", client.isRouter, client.state == .serving {
                server.awaitedResumes.insert(channel.number)
            }
        }
    }

    /// A client has brought a server up to date.
    private func resumed(_ client: Member, _ message: ControlMessage) {
        guard let channel = channels[message.channel], channel.client == client.index else { return }
        let server = members[channel.server]
        guard server.incarnation == UInt32(truncatingIfNeeded: message.number) else { return }
        func figure(_ name: String) -> Int { message[name].flatMap { Int($0) } ?? 0 }
        server.recovery?.replayed += figure("replayed")
        server.recovery?.resubmitted += figure("resubmitted")
        server.recovery?.quarantined += figure("quarantined")
        server.recovery?.mismatches += figure("mismatches")
        if figure("mismatches") > 0 {
            log("\(server.name): \(figure("mismatches")) repeated changes had another result than the acknowledged one")
        }
        server.awaitedResumes.remove(channel.number)
        if server.awaitedResumes.isEmpty { recoveryEnded(server) }
    }

    /// Everybody goes on.
    func recoveryEnded(_ member: Member) {
        guard var timeline = member.recovery else { return }
        timeline.resumedAt = now()
        member.recovery = nil
        member.keep(timeline)
        answerRecoveryWaiters(member, timeline)
        updateStatus()
    }

    /// A client says that a server must go.
    private func suspected(_ client: Member, _ message: ControlMessage) {
        guard let channel = channels[message.channel], channel.client == client.index else { return }
        kill(members[channel.server], because: message["reason"] ?? "its client suspects it")
    }
}
