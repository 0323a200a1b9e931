import FuseBridge
import Glibc
import Platform
import Router
import Sandbox
import SchemeKit
import SchemeProtocol
import SchemeTransport
import Supervisor
import Synchronization
import SystemPackage

/// Why a router can't start.
enum RouterStartError: Error {
    case missingDescriptor(String)
    case refused(String)
    case badSetting(String, value: String)
}

/// What the router's process consists of: the session's threads, a thread per scheme that replaces its server, and this one, which
/// listens to the supervisor.
final class RouterProcess {
    private let socket: ControlSocket
    private let configuration: ReceivedControl
    private let router: Router
    private let backend: RouterBackend
    private let session: FuseSession
    private let descriptor: SharedDescriptor
    private var keepers: [UInt32: RouteKeeper] = [:]
    private var missing: [String] = []
    private var queue: [ReceivedControl] = []
    private var tendedAt = Clock.monotonicNanoseconds()
    /// Answers without sense, by channel, that were reported.
    private var violations: [UInt32: UInt64] = [:]

    /// Between two looks at the routes, in nanoseconds: what is changed is durable after this time at the latest.
    private static let tendingInterval: UInt64 = 5_000_000_000

    init(_ socket: ControlSocket, _ configuration: ReceivedControl) throws {
        self.socket = socket
        self.configuration = configuration
        let message = configuration.message
        guard let descriptor = configuration.descriptor("fuse") else {
            throw RouterStartError.missingDescriptor("fuse")
        }
        self.descriptor = descriptor
        var options = Router.Options()
        options.rootScheme = message["root"]
        options.incarnation = UInt32(truncatingIfNeeded: message.number)
        options.mountName = message["source"] ?? ""
        options.crashPoints = CrashPoints(plan: message["crash-plan"], incarnation: options.incarnation)
        options.faults = try Self.faults(message["faults"])
        if let status = configuration.descriptor("supervisor") {
            let memory = try SharedMapping(status.rawValue, byteCount: SupervisorStatus.byteCount, writable: false)
            options.supervisorStatus = { SupervisorStatus.read(memory) }
        }
        options.trace = try configuration.descriptor("trace").map { try TraceRing($0) }
        router = Router(options) { FuseSession.willBlock(keepsRequest: $0) }
        backend = RouterBackend(router)
        var sessionOptions = FuseSession.Options()
        sessionOptions.usesWriteBackCache = message["write-back"] != "0"
        session = try FuseSession(
            descriptor: descriptor.rawValue, backend: backend, options: sessionOptions,
            state: try Self.sessionState(configuration, socket))
    }

    private static func faults(_ setting: String?) throws(RouterStartError) -> RouterFaults {
        var result: RouterFaults = []
        for name in setting?.split(separator: ",") ?? [] {
            switch name {
            case "no-log": result.insert(.noLog)
            case "no-reply-cache": result.insert(.noReplyCache)
            default: throw .badSetting("faults", value: String(name))
            }
        }
        return result
    }

    /// Memory that the supervisor holds from incarnation to incarnation.
    private static func sessionState(_ configuration: ReceivedControl, _ socket: ControlSocket) throws
        -> FuseSessionState?
    {
        let byteCount = FuseSessionState.byteCount
        let memory: SharedMapping
        if let held = configuration.descriptor("state") {
            try SharedMemory.verify(held.rawValue, byteCount: byteCount)
            memory = try SharedMapping(held.rawValue, byteCount: byteCount, writable: true)
        } else {
            let new = try SharedMemory.create(name: "router-state", byteCount: byteCount)
            memory = try SharedMapping(new.rawValue, byteCount: byteCount, writable: true)
            try socket.send(ControlMessage(.hold), descriptors: [("state", new.rawValue)])
        }
        return state(in: memory)
    }

    private static func state(in memory: SharedMapping) -> FuseSessionState? {
        var bytes = memory.mutableBytes(0, count: FuseSessionState.byteCount)
        return unsafe bytes.withUnsafeMutableBytes { unsafe FuseSessionState(memory: $0, owner: memory) }
    }

    /// Takes over a dead router's channels, makes those that there aren't, and begins to answer the kernel.
    func start() throws {
        var adopted: Set<String> = []
        let count = configuration.message["adopt"].flatMap { Int($0) } ?? 0
        for _ in 0..<count {
            guard let received = try socket.receive() else { continue }
            guard received.message.kind == .adopt else {
                queue.append(received)
                continue
            }
            adopted.insert(received.message["scheme"] ?? "")
            try adopt(received)
        }
        for name in (configuration.message["schemes"] ?? "").split(separator: ",").map(String.init)
        where !adopted.contains(name) {
            try connect(name)
        }
        backend.attach(session)
        let (session, socket, router) = (session, socket, router)
        try spawnThread(name: "session", stackSize: 1 << 20) {
            do {
                try session.run()
            } catch {
                try? socket.send(
                    ControlMessage(.log, fields: [.init("message", "the session ended: \(error)")]), wait: false)
            }
            for route in router.routes { route.closeAllKept() }
            try? socket.send(ControlMessage(.unmounted), wait: false)
        }
        try StrictMode.enter()
        try socket.send(ControlMessage(.started))
    }

    // MARK: Channels

    private func isFileSystem(_ name: String) -> Bool {
        if let setting = configuration.message["file-systems"] {
            return setting.split(separator: ",").contains { $0 == name }
        }
        return name == "file" || name.hasPrefix("file.")
    }

    /// Makes a channel to a scheme.
    private func connect(_ name: String) throws {
        // Of a network, and of pipes, many calls wait at once, each with room for its answer.
        let geometry: ChannelGeometry = isFileSystem(name) || name == "network" || name == "pipe" ? .standard : .small
        let client = try ChannelClient(geometry, name: name)
        let id = socket.newID()
        try socket.send(
            ControlMessage(.connect, id: id, geometry: geometry, fields: [.init("scheme", name)]),
            descriptors: [("request", client.requestDescriptor.rawValue), ("reply", client.replyDescriptor.rawValue)])
        let answer = try answer(id)
        guard answer.kind == .done else {
            missing.append(name)
            return
        }
        let isServing = answer["state"] == "serving"
        let route = try router.add(
            SchemeDescription(name: name, channel: answer.channel, hasEvents: !isFileSystem(name)), client,
            isAdopted: false, isServing: isServing)
        if isServing { route.noteRecovered(UInt32(truncatingIfNeeded: answer.number)) }
        keepers[answer.channel] = try RouteKeeper(route, answer.channel, socket)
    }

    /// Goes on with a channel of a dead router.
    private func adopt(_ received: ReceivedControl) throws {
        let message = received.message
        guard let geometry = message.geometry, let request = received.descriptor("request"),
            let reply = received.descriptor("reply"), let name = message["scheme"]
        else { throw RouterStartError.missingDescriptor("request, reply") }
        let client = try ChannelClient(
            adopting: request, reply: reply, geometry: geometry, name: name,
            serverBell: received.descriptor("server-bell"), clientBell: received.descriptor("client-bell"))
        let incarnation = UInt32(truncatingIfNeeded: message.number)
        let state = message["state"]
        let isKnown = SchemeRoute.recoveredIncarnation(client) == incarnation
        let route = try router.add(
            SchemeDescription(name: name, channel: message.channel, hasEvents: !isFileSystem(name)), client,
            isAdopted: true, isServing: state == "serving" && isKnown)
        route.noteDeath(wasKilled: message["killed"] == "1")
        keepers[message.channel] = try RouteKeeper(route, message.channel, socket)
        // The server goes on with the copy; its answer isn't waited for, as requests wait in the copy meanwhile.
        try socket.send(
            ControlMessage(.connect, id: socket.newID(), channel: message.channel, geometry: geometry),
            descriptors: [("request", client.requestDescriptor.rawValue), ("reply", client.replyDescriptor.rawValue)])
        if state == "offline" { keepers[message.channel]?.changed("offline", incarnation) }
        if state == "serving", !isKnown, client.epoch != incarnation {
            // It came up while there was no router.
            keepers[message.channel]?.changed("started", incarnation)
        } else if state == "serving", !isKnown {
            // The dead router had begun to bring this server up to date. How far it came isn't known: another one begins afresh.
            try socket.send(.suspect(message.channel, because: "a dead router had begun to bring it up to date"))
        }
    }

    private func answer(_ id: UInt32) throws -> ControlMessage {
        while true {
            guard let received = try socket.receive() else { continue }
            if received.message.id == id, [.done, .failed].contains(received.message.kind) { return received.message }
            queue.append(received)
        }
    }

    // MARK: The supervisor's messages

    /// Listens until the process is to end; returns its status.
    func run() -> Int32 {
        while true {
            do throws(ChannelError) {
                if let received = try next(), let status = try handle(received) { return status }
            } catch .disconnected {
                // Nobody can start us again: what is acknowledged is with the servers, which make it durable.
                return 1
            } catch {
                log("control message: \(error)")
            }
            tendIfDue()
            reportViolations()
        }
    }

    /// A server whose answers make no sense is replaced: what it was asked would wait for ever.
    private func reportViolations() {
        for route in router.routes {
            let count = UInt64(route.channel.violations.total)
            let channel = route.description.channel
            guard count != violations[channel] ?? 0 else { continue }
            violations[channel] = count
            log("\(route.description.name): an answer makes no sense")
            try? socket.send(.suspect(channel, because: ControlMessage.nonsense), wait: false)
        }
    }

    private func next() throws(ChannelError) -> ReceivedControl? {
        if !queue.isEmpty { return queue.removeFirst() }
        var entries = [pollfd(fd: socket.descriptor.rawValue, events: Int16(POLLIN), revents: 0)]
        let ready: Int
        do {
            ready = try SystemCall.poll(&entries, milliseconds: 500)
        } catch {
            throw .system(error, call: "poll")
        }
        return ready > 0 ? try socket.receive(wait: false) : nil
    }

    private func handle(_ received: ReceivedControl) throws(ChannelError) -> Int32? {
        let message = received.message
        switch message.kind {
        case .serverChanged:
            keepers[message.channel]?.changed(
                message["state"] ?? "", UInt32(truncatingIfNeeded: message.number), wasKilled: message["killed"] == "1",
                recovered: message["recovered"].flatMap { UInt64($0) })
        case .finish:
            for route in router.routes { route.end() }
            try socket.send(ControlMessage(.done, id: message.id))
            return 0
        case .get: try socket.send(ControlMessage(.done, id: message.id, fields: figures))
        case .done, .failed: break
        case .set:
            // It has no settings, but can be told to die.
            try? CrashPlan.dieIfTold(message.fields)
            try refuse(message, "the router can be killed, stopped or told to exit, nothing else")
        default: try refuse(message, "kind \(message.kind.rawValue) not known")
        }
        return nil
    }

    private func refuse(_ message: ControlMessage, _ reason: String) throws(ChannelError) {
        try socket.send(
            ControlMessage(.failed, id: message.id, number: UInt64(EINVAL), fields: [.init("message", reason)]))
    }

    private var figures: [ControlMessage.Field] {
        let counters = session.counters
        var fields: [ControlMessage.Field] = [
            .init("requests", "\(counters.requests.load(ordering: .relaxed))"),
            .init("resent", "\(counters.resent.load(ordering: .relaxed))"),
            .init("forgotten", "\(counters.forgotten.load(ordering: .relaxed))"),
            .init("interrupts", "\(counters.interrupts.load(ordering: .relaxed))"),
        ]
        for route in router.routes {
            fields.append(.init("\(route.description.name).open", "\(route.openFileCount)"))
            fields.append(.init("\(route.description.name).recoveries", "\(route.timeline.count)"))
        }
        return fields
    }

    private func tendIfDue() {
        let now = Clock.monotonicNanoseconds()
        guard now &- tendedAt >= Self.tendingInterval else { return }
        tendedAt = now
        router.tend()
        let again = missing
        missing = []
        for name in again { try? connect(name) }
    }

    private func log(_ text: String) {
        try? socket.send(ControlMessage(.log, fields: [.init("message", text)]), wait: false)
    }
}
