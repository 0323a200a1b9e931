import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

extension Supervisor {
    /// Channels of one client at most.
    private static let channelLimit = 64

    /// A client has made a channel and wants it served, or goes on with one that its dead predecessor had.
    func connect(_ client: Member, _ received: ReceivedControl) {
        let message = received.message
        if message.channel != 0 {
            replaceRequestMemory(client, received)
            return
        }
        let name = message["scheme"] ?? ""
        guard let server = member(named: name), !server.isRouter,
            client.isRouter || client.configuration.uses.contains(name)
        else {
            refuseConnect(client, message.id, .noSuchFileOrDirectory, "no scheme \(name)")
            return
        }
        if case .offline(let reason) = server.state {
            refuseConnect(client, message.id, Errno(rawValue: ENODEV), "\(name) is offline: \(reason)")
            return
        }
        if !client.isRouter, server.state != .serving {
            // A scheme has nobody to tell it later while it starts: it gets its answer when the other one serves.
            server.waitingConnects.append((client.index, received))
            return
        }
        guard let geometry = message.geometry, let request = received.descriptor("request"),
            let memory = received.descriptor("reply"),
            channels.values.count(where: { $0.client == client.index }) < Self.channelLimit
        else {
            refuseConnect(client, message.id, .invalidArgument, "no geometry or memories, or too many channels")
            return
        }
        lastChannel &+= 1
        let channel = Channel(
            number: lastChannel, client: client.index, server: server.index, geometry: geometry, request: request,
            reply: memory, serverBell: received.descriptor("server-bell"),
            clientBell: received.descriptor("client-bell"))
        guard channel.observer != nil else {
            refuseConnect(client, message.id, .invalidArgument, "the memories are not as they should be")
            return
        }
        channels[channel.number] = channel
        channel.attachedTo = server.incarnation
        let question = Question.connect(client: client.index, id: message.id, channel: channel.number)
        switch server.state {
        case .serving:
            // A new channel at a server that serves: nothing has to be recovered, epoch 0 is there already.
            let isAsked = ask(
                server, attachMessage(channel, epoch: 0, id: 0), question, descriptors: channel.descriptors)
            if !isAsked { answerConnect(client.index, message.id, channel.number) }
        case .starting:
            send(attachMessage(channel, epoch: server.incarnation, id: 0), to: server, descriptors: channel.descriptors)
            answerConnect(client.index, message.id, channel.number)
        default: answerConnect(client.index, message.id, channel.number)
        }
    }

    /// Answers those that have waited for a server: it serves, or is offline.
    func connectWaiting(_ server: Member) {
        let waiting = server.waitingConnects
        server.waitingConnects = []
        for (client, message) in waiting where members[client].isAlive { connect(members[client], message) }
    }

    private func replaceRequestMemory(_ client: Member, _ received: ReceivedControl) {
        let message = received.message
        guard let channel = channels[message.channel], channel.client == client.index,
            let request = received.descriptor("request")
        else {
            refuseConnect(client, message.id, .invalidArgument, "no such channel, or no memory")
            return
        }
        channel.request = request
        channel.observe()
        let server = members[channel.server]
        let question = Question.connect(client: client.index, id: message.id, channel: channel.number)
        let isAsked =
            server.isAlive
            && ask(
                server, ControlMessage(.replaceRequestMemory, channel: channel.number), question,
                descriptors: [(name: "request", descriptor: request.rawValue)])
        if !isAsked { answerConnect(client.index, message.id, channel.number) }
    }

    /// Tells a client the number of its channel and how its server is.
    func answerConnect(_ client: Int, _ id: UInt32, _ number: UInt32) {
        guard let channel = channels[number] else { return }
        let server = members[channel.server]
        send(
            ControlMessage(
                .done, id: id, channel: number, number: UInt64(server.incarnation),
                fields: [.init("state", serverState(server)), .init("scheme", server.name)]),
            to: members[client])
    }

    func refuseConnect(_ client: Member, _ id: UInt32, _ errno: Errno, _ reason: String) {
        send(
            ControlMessage(
                .failed, id: id, number: UInt64(errno.rawValue), fields: [.init("message", reason)]), to: client)
    }

    func removeChannel(_ number: UInt32) {
        guard let channel = channels.removeValue(forKey: number) else { return }
        let server = members[channel.server]
        server.awaitedResumes.remove(number)
        if server.isAlive { _ = ask(server, ControlMessage(.detach, channel: number), .nobody) }
    }

    /// The channels of a dead client. A router's are taken over by the next one; a scheme makes new ones.
    func dropClientChannels(_ member: Member) {
        for server in members { server.waitingConnects.removeAll { $0.client == member.index } }
        if member.isRouter {
            for server in members where !server.awaitedResumes.isEmpty {
                server.awaitedResumes = server.awaitedResumes.filter { channels[$0]?.client != member.index }
                if server.awaitedResumes.isEmpty, server.state == .serving { recoveryEnded(server) }
            }
            return
        }
        for channel in channels.values where channel.client == member.index { removeChannel(channel.number) }
    }

    /// Forgets what was seen of a server that is no more.
    func resetWatch(of server: Member) {
        for channel in channels.values where channel.server == server.index {
            channel.waitingAt = nil
            channel.heartbeatAt = now()
        }
    }

    /// Looks for servers that are alive and do nothing: no sign of life although requests wait, or one in hand for too long.
    func watchChannels(_ time: UInt64) {
        for channel in channels.values {
            let server = members[channel.server]
            // Before the client has begun the server's epoch, it is the client's turn.
            guard server.state == .serving, server.stoppedAt == nil, let report = channel.observer?.server,
                report.status == .serving, report.incarnation == server.incarnation
            else {
                channel.waitingAt = nil
                channel.heartbeatAt = time
                continue
            }
            if report.heartbeat != channel.heartbeat {
                channel.heartbeat = report.heartbeat
                channel.heartbeatAt = time
            }
            if let cause = verdict(on: channel, report, time) { kill(server, because: cause) }
        }
    }

    /// Why the server of a channel has to be taken for dead; nil: it hasn't.
    private func verdict(on channel: Channel, _ report: ServerReport, _ time: UInt64) -> String? {
        // The times in the memory are the server's claims: one from the future is none.
        let longest = report.marks.map { time > $0.since ? time - $0.since : 0 }.max() ?? 0
        if longest >= configuration.limits.hang { return "a request hung" }
        if report.waiting > 0, report.marks.isEmpty {
            let since = channel.waitingAt ?? time
            channel.waitingAt = since
            if time &- since >= configuration.limits.idle { return "took no requests" }
        } else {
            channel.waitingAt = nil
        }
        // A process can be silent for a while for a good reason: a disk that flushes slowly while a channel is being closed.
        // A channel that is new has no sign of life yet; one that was attached since `time` was taken has one from later.
        if channel.heartbeatAt == 0 { channel.heartbeatAt = time }
        let isSilent = time > channel.heartbeatAt && time - channel.heartbeatAt >= 4 &* configuration.limits.idle
        return isSilent && (report.waiting > 0 || !report.marks.isEmpty) ? "gave no sign of life" : nil
    }
}
