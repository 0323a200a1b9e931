import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// Introduces a scheme to other schemes, by way of the supervisor.
///
/// While a scheme is made, which may need others, a thread of its own listens to the supervisor (`listen`): a server that dies
/// meanwhile is replaced, and the scheme's calls to it go on. Afterwards the control loop listens.
public final class SchemeConnector: Sendable {
    private struct State {
        var queue: [ReceivedControl] = []
        var clients: [UInt32: SchemeClient] = [:]
        var answers: [UInt32: ReceivedControl] = [:]
        var early: [UInt32: [ControlMessage]] = [:]
        /// Questions whose answers the control loop passes on.
        var awaited: Set<UInt32> = []
        var isListening = false
        var isDisconnected = false
    }
    private let socket: ControlSocket
    private let state = Locked(State())
    private let arrived = ConditionVariable()
    /// Held to receive, and to put what came into the queue: it stays in order, although more than one thread may receive.
    private let reception = Locked(())

    init(_ socket: ControlSocket) { self.socket = socket }

    /// Opens a channel to another scheme.
    ///
    /// - Parameter scheme: its name, which the manifest must allow. ENODEV if it is offline, EACCES if it isn't granted.
    public func connect(to scheme: String, geometry: ChannelGeometry = .small) throws(SchemeStartError) -> SchemeClient
    {
        do throws(ChannelError) {
            let channel = try ChannelClient(geometry, name: "to-\(scheme)")
            let id = socket.newID()
            try socket.send(
                ControlMessage(.connect, id: id, geometry: geometry, fields: [.init("scheme", scheme)]),
                descriptors: [
                    ("request", channel.requestDescriptor.rawValue), ("reply", channel.replyDescriptor.rawValue),
                ])
            let answer = try waitForAnswer(id)
            guard answer.message.kind == .done else {
                let code = Errno(rawValue: Int32(truncatingIfNeeded: answer.message.number))
                throw ChannelError.system(code.rawValue > 0 ? code : .ioError, call: "connect to \(scheme)")
            }
            let number = answer.message.channel
            let client = SchemeClient(channel, scheme: scheme) { [weak self] in
                self?.pump() ?? false
            } suspects: { [socket] in
                try? socket.send(.suspect(number, because: ControlMessage.nonsense), wait: false)
            }
            let early = state.withLock { state -> [ControlMessage] in
                state.clients[answer.message.channel] = client
                return state.early.removeValue(forKey: answer.message.channel) ?? []
            }
            // What happened to the server between the answer and now.
            for message in early { serverChanged(message) }
            return client
        } catch {
            throw .channel(error)
        }
    }

    /// Has the supervisor connect a socket to an endpoint that this scheme was granted, and hold it under a name.
    ///
    /// Any thread but the control loop's, which may be waiting for just this. The socket doesn't block, and may not be connected
    /// yet. ETIMEDOUT if the supervisor doesn't answer for long: then it may hold a socket by this name, or still be about to.
    public func dial(_ endpoint: String, as name: String) throws(ChannelError) -> SharedDescriptor {
        let id = socket.newID()
        state.withLock { _ = $0.awaited.insert(id) }
        defer {
            // An answer that comes later finds nobody.
            state.withLock { state in
                state.awaited.remove(id)
                state.answers[id] = nil
            }
        }
        try socket.send(
            ControlMessage(.dial, id: id, fields: [.init("endpoint", endpoint), .init("name", name)]))
        let answer = try awaitPassedOn(id)
        guard answer.message.kind == .done, let descriptor = answer.descriptor(name) else {
            let code = Errno(rawValue: Int32(truncatingIfNeeded: answer.message.number))
            throw .system(code.rawValue > 0 ? code : .ioError, call: "connect")
        }
        return descriptor
    }

    /// Waits for who listens to pass an answer on. A control loop that has something else to do doesn't listen: then this does.
    private func awaitPassedOn(_ id: UInt32) throws(ChannelError) -> ReceivedControl {
        let deadline = Clock.monotonicNanoseconds() &+ Self.answerLimit
        while true {
            let now = Clock.monotonicNanoseconds()
            let answer = state.wait(on: arrived, deadline: min(deadline, now &+ Self.patience)) {
                state -> ReceivedControl?? in
                if let answer = state.answers.removeValue(forKey: id) { return .some(answer) }
                return state.isDisconnected ? .some(nil) : nil
            }
            if let answer {
                guard let answer else { throw .disconnected }
                return answer
            }
            guard now < deadline else { throw .system(.timedOut, call: "dial") }
            if state.withLock({ $0.isListening }) { continue }
            try reception.withLock { _ throws(ChannelError) in
                while let received = try socket.receive(wait: false) {
                    if !isPassedOn(received) { state.withLock { $0.queue.append(received) } }
                }
            }
        }
    }

    /// How long to wait before looking whether somebody listens.
    private static let patience: UInt64 = 50_000_000
    /// A supervisor that is alive answers in microseconds.
    private static let answerLimit: UInt64 = 10_000_000_000

    /// The next message for the control loop; doesn't wait.
    func receive() throws(ChannelError) -> ReceivedControl? {
        try reception.withLock { _ throws(ChannelError) in
            if let queued = takeQueued() { return queued }
            return try socket.receive(wait: false)
        }
    }

    /// An answer that came to the control loop.
    func answered(_ received: ReceivedControl) { _ = isPassedOn(received) }

    private func isPassedOn(_ received: ReceivedControl) -> Bool {
        guard received.message.kind == .done || received.message.kind == .failed else { return false }
        let isAwaited = state.withLock { state -> Bool in
            guard state.awaited.remove(received.message.id) != nil else { return false }
            state.answers[received.message.id] = received
            return true
        }
        if isAwaited { arrived.broadcast() }
        return isAwaited
    }

    private func waitForAnswer(_ id: UInt32) throws(ChannelError) -> ReceivedControl {
        if state.withLock({ $0.isListening }) {
            let answer = state.wait(on: arrived) { state -> ReceivedControl?? in
                if let answer = state.answers.removeValue(forKey: id) { return .some(answer) }
                return state.isDisconnected ? .some(nil) : nil
            }
            guard let answer else { throw .disconnected }
            return answer
        }
        while true {
            guard let received = try socket.receive() else { continue }
            let kind = received.message.kind
            if received.message.id == id, kind == .done || kind == .failed { return received }
            state.withLock { $0.queue.append(received) }
        }
    }

    /// Listens on a thread of its own while the body runs.
    func listen<Result>(during body: () throws -> Result) throws -> Result {
        let end = SharedDescriptor(try SystemCall.eventDescriptor())
        state.withLock { $0.isListening = true }
        let thread = try spawnThread(name: "listener", stackSize: 512 << 10) { [self] in
            while takeMessages(until: end) {}
        }
        defer {
            SystemCall.signalEvent(end.rawValue)
            thread.join()
            state.withLock { $0.isListening = false }
        }
        return try body()
    }

    /// Waits for messages and takes them. False at the end.
    private func takeMessages(until end: SharedDescriptor) -> Bool {
        var entries = [
            pollfd(fd: socket.descriptor.rawValue, events: Int16(POLLIN), revents: 0),
            pollfd(fd: end.rawValue, events: Int16(POLLIN), revents: 0),
        ]
        guard (try? SystemCall.poll(&entries, milliseconds: -1)) != nil else { return false }
        if entries[1].revents != 0 { return false }
        do throws(ChannelError) {
            while true {
                if let queued = takeQueuedChange() {
                    sort(queued)
                } else if let received = try socket.receive(wait: false) {
                    sort(received)
                } else {
                    return true
                }
            }
        } catch {
            state.withLock { $0.isDisconnected = true }
            arrived.broadcast()
            return false
        }
    }

    /// A change of a server that came during the recovery from the one before.
    private func takeQueuedChange() -> ReceivedControl? {
        state.withLock { state in
            guard let index = state.queue.firstIndex(where: { $0.message.kind == .serverChanged }) else { return nil }
            return state.queue.remove(at: index)
        }
    }

    private func sort(_ received: ReceivedControl) {
        switch received.message.kind {
        case .serverChanged: serverChanged(received.message)
        case .done, .failed:
            state.withLock { $0.answers[received.message.id] = received }
            arrived.broadcast()
        default: state.withLock { $0.queue.append(received) }
        }
    }

    /// The next message that came while something else was waited for.
    func takeQueued() -> ReceivedControl? {
        state.withLock { $0.queue.isEmpty ? nil : $0.queue.removeFirst() }
    }

    /// Looks for messages during a recovery. True if the server that is being brought up has changed again.
    private func pump() -> Bool {
        reception.withLock { _ in
            while let received = try? socket.receive(wait: false) {
                if !isPassedOn(received) { state.withLock { $0.queue.append(received) } }
            }
        }
        return state.withLock { $0.queue.contains { $0.message.kind == .serverChanged } }
    }

    func serverChanged(_ message: ControlMessage) {
        let known = state.withLock { state -> SchemeClient? in
            if let client = state.clients[message.channel] { return client }
            if state.isListening { state.early[message.channel, default: []].append(message) }
            return nil
        }
        guard let client = known else { return }
        switch message["state"] {
        case "died": client.serverDied()
        case "started": client.serverStarted(UInt32(truncatingIfNeeded: message.number))
        case "offline": client.serverOffline()
        default: break
        }
    }
}
