import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// Introduces a scheme to other schemes, by way of the supervisor. Used on the thread that starts the scheme and runs its control
/// loop, nowhere else.
public final class SchemeConnector: Sendable {
    private struct State {
        var queue: [ReceivedControl] = []
        var clients: [UInt32: SchemeClient] = [:]
    }
    private let socket: ControlSocket
    private let state = Locked(State())

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
            let client = SchemeClient(channel, scheme: scheme) { [weak self] in self?.pump() ?? false }
            state.withLock { $0.clients[answer.message.channel] = client }
            return client
        } catch {
            throw .channel(error)
        }
    }

    private func waitForAnswer(_ id: UInt32) throws(ChannelError) -> ReceivedControl {
        while true {
            guard let received = try socket.receive() else { continue }
            let kind = received.message.kind
            if received.message.id == id, kind == .done || kind == .failed { return received }
            state.withLock { $0.queue.append(received) }
        }
    }

    /// The next message that came while something else was waited for.
    func takeQueued() -> ReceivedControl? {
        state.withLock { $0.queue.isEmpty ? nil : $0.queue.removeFirst() }
    }

    /// Looks for messages during a recovery. True if the server that is being brought up has changed again.
    private func pump() -> Bool {
        while let received = try? socket.receive(wait: false) { state.withLock { $0.queue.append(received) } }
        return state.withLock { $0.queue.contains { $0.message.kind == .serverChanged } }
    }

    func serverChanged(_ message: ControlMessage) {
        guard let client = state.withLock({ $0.clients[message.channel] }) else { return }
        switch message["state"] {
        case "died": client.serverDied()
        case "started": client.serverStarted(UInt32(truncatingIfNeeded: message.number))
        case "offline": client.serverOffline()
        default: break
        }
    }
}
