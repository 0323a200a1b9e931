import Platform
import Router
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// Brings a scheme's next server up to date, on a thread of its own: the one that listens to the supervisor must hear of
/// that server's death meanwhile.
final class RouteKeeper: Sendable {
    private enum Change {
        case died(wasKilled: Bool)
        case started(UInt32, recovered: UInt64?)
        case offline
    }

    private let route: SchemeRoute
    private let channel: UInt32
    private let socket: ControlSocket
    private let changes = Locked<[Change]>([])
    private let arrived = ConditionVariable()

    init(_ route: SchemeRoute, _ channel: UInt32, _ socket: ControlSocket) throws(Errno) {
        self.route = route
        self.channel = channel
        self.socket = socket
        try spawnThread(name: "keeper", stackSize: 512 << 10) { [self] in
            while true { act(changes.wait(on: arrived) { $0.isEmpty ? nil : $0.removeFirst() }) }
        }
    }

    /// The supervisor told of the server.
    ///
    /// - Parameter wasKilled: of a death: somebody else ordered it.
    /// - Parameter recovered: of a start: the number that it found in its durable state.
    func changed(_ state: String, _ incarnation: UInt32, wasKilled: Bool = false, recovered: UInt64? = nil) {
        let change: Change
        switch state {
        case "died": change = .died(wasKilled: wasKilled)
        case "started": change = .started(incarnation, recovered: recovered)
        case "offline": change = .offline
        default: return
        }
        changes.withLock { $0.append(change) }
        arrived.signal()
    }

    private func act(_ change: Change) {
        switch change {
        case .died(let wasKilled): route.serverDied(wasKilled: wasKilled)
        case .offline: route.goOffline()
        case .started(let incarnation, let recovered):
            // Dead already: the next one is on its way.
            guard !isSuperseded else { return }
            let report = route.recover(
                incarnation: incarnation, recovered: recovered, isSuperseded: { isSuperseded })
            if let report {
                tell(report)
            } else if !isSuperseded {
                // It has told the supervisor another number than us.
                try? socket.send(.suspect(channel, because: "it contradicted itself"), wait: false)
            }
        }
    }

    /// The supervisor has told of the server's death meanwhile: whatever is being done for it is in vain.
    private var isSuperseded: Bool {
        changes.withLock { list in list.contains { if case .started = $0 { false } else { true } } }
    }

    private func tell(_ report: RecoveryReport) {
        try? socket.send(
            ControlMessage(
                .resumed, channel: channel, number: UInt64(report.incarnation),
                fields: [
                    .init("replayed", "\(report.replayed)"), .init("resubmitted", "\(report.resubmitted)"),
                    .init("quarantined", "\(report.quarantined)"), .init("mismatches", "\(report.mismatches.count)"),
                ]), wait: false)
        for mismatch in report.mismatches.prefix(8) {
            let nodes = mismatch.nodes.map { " (node \($0.repeated), it was \($0.acknowledged))" } ?? ""
            let text =
                "\(route.description.name): \(mismatch.opcode.name) repeated gave \(mismatch.repeated), "
                + "acknowledged was \(mismatch.acknowledged)\(nodes)"
            try? socket.send(ControlMessage(.log, fields: [.init("message", text)]), wait: false)
        }
    }
}
