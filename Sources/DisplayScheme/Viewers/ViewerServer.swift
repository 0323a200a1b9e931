import Glibc
import Platform
public import SchemeKit
import SchemeTransport

/// How viewers come: as VNC viewers or as browsers.
enum ViewerKind: String, CaseIterable {
    case vnc
    case web

    /// Under which name the supervisor holds the socket that they come to.
    var listenerName: String { "listener.\(rawValue)" }
}

/// Shows displays to viewers: VNC on one listening socket, browsers on another. One thread, started by `start`.
///
/// The supervisor holds all sockets and accepts who comes: a viewer's connection goes on with the next incarnation of this process, in
/// the middle of a rectangle if need be (`ViewerLink`).
public final class ViewerServer: Sendable {
    let scheme: DisplayScheme
    let host: SchemeHost
    let memory: ViewerMemory
    let listeners: [ViewerKind: SharedDescriptor]
    let password: [UInt8]?
    let bell: SharedDescriptor
    /// Callers that the supervisor has accepted, and answers without one.
    let answers = Locked<[HeldAnswer]>([])
    /// What the last incarnation left, by name.
    let held: [String: SharedDescriptor]

    /// A server for viewers; nil if nothing was given to listen on.
    ///
    /// Descriptors: `vnc`, `web` listening sockets that don't block. Settings: `password` what viewers must know.
    public init?(_ scheme: DisplayScheme, _ start: SchemeStart) throws(SchemeStartError) {
        var listeners: [ViewerKind: SharedDescriptor] = [:]
        for kind in ViewerKind.allCases { listeners[kind] = start.descriptor(kind.rawValue) }
        guard !listeners.isEmpty else { return nil }
        self.scheme = scheme
        self.listeners = listeners
        host = start.host
        password = start.setting("password").map { Array($0.utf8) }
        memory = ViewerMemory(try SchemeState(start, name: "viewers", byteCount: ViewerMemory.byteCount).memory)
        var held: [String: SharedDescriptor] = [:]
        for name in start.descriptorNames { held[name] = start.descriptor(name) }
        self.held = held
        do {
            for (kind, listener) in listeners where held[kind.listenerName] == nil {
                try host.hold(kind.listenerName, listener.rawValue)
            }
            bell = SharedDescriptor(try SystemCall.eventDescriptor())
        } catch let error as ChannelError {
            throw .channel(error)
        } catch {
            throw .failed((error as? Errno) ?? .ioError, "viewers")
        }
    }

    /// Starts the thread; it runs as long as the process.
    public func start() throws(Errno) {
        SystemCall.ignoreSignal(SIGPIPE)
        let bell = bell
        scheme.core.withLock { $0.onDamage = { SystemCall.signalEvent(bell.rawValue) } }
        host.onHeld { [weak self] answer in
            self?.answers.withLock { $0.append(answer) }
            SystemCall.signalEvent(bell.rawValue)
        }
        try spawnThread(name: "viewers") { [self] in
            do throws(Errno) {
                let loop = try ViewerLoop(self)
                try loop.run()
            } catch {
                host.log("viewers are served no more: \(error)")
            }
        }
    }
}

/// The viewers' thread.
private final class ViewerLoop {
    private let server: ViewerServer
    private let poll: EventPoll
    private let encoder = RectangleEncoder()
    /// By their places.
    private var links: [Int: ViewerLink] = [:]
    private var waitsFor: [Int: Platform.PollEvents] = [:]
    /// Those that gave a wrong password, and when they end.
    private var rejected: [Int: UInt64] = [:]
    private var brakes: [ViewerKind: PasswordBrake] = [:]
    /// Sockets whose callers aren't taken at the moment: there is no room.
    private var isFull: Set<ViewerKind> = []

    private static let bellToken: UInt64 = 1 << 32
    private static let listenerTokens: [ViewerKind: UInt64] = [.vnc: 2 << 32, .web: 3 << 32]

    init(_ server: ViewerServer) throws(Errno) {
        self.server = server
        poll = try EventPoll()
        try poll.add(server.bell.rawValue, .readable, token: Self.bellToken)
        for (kind, listener) in server.listeners {
            try poll.add(listener.rawValue, [.readable, .once], token: Self.listenerTokens[kind] ?? 0)
        }
        takeOver()
    }

    func run() throws(Errno) {
        serve()
        while true {
            for (token, events) in try poll.wait(milliseconds: timeout()) {
                if token == Self.bellToken {
                    SystemCall.clearEvent(server.bell.rawValue)
                } else if let kind = Self.listenerTokens.first(where: { $0.value == token })?.key {
                    accept(kind)
                } else if !events.isDisjoint(with: [.readable, .error, .hangUp]) {
                    links[Int(clamping: token)]?.mayReceive = true
                }
            }
            for answer in server.answers.withLock({ answers in
                defer { answers = [] }
                return answers
            }) { answered(answer) }
            serve()
        }
    }

    /// Until the first of the rejected connections ends.
    private func timeout() -> Int32 {
        guard let next = rejected.values.min() else { return -1 }
        let now = Clock.monotonicNanoseconds()
        return next <= now ? 0 : Int32(clamping: (next - now + 999_999) / 1_000_000)
    }

    /// The end of a connection; it comes later after a wrong password.
    private func finish(_ slot: Int, _ link: ViewerLink) {
        guard link.isRejected else {
            end(slot, link)
            return
        }
        let kind: ViewerKind = server.memory.isWeb(slot) ? .web : .vnc
        rejected[slot] = brakes[kind, default: PasswordBrake()].failed(at: Clock.monotonicNanoseconds())
        // Nothing that it sends is of interest any more.
        try? poll.remove(link.socket.rawValue)
    }

    /// Lets every connection go on.
    private func serve() {
        // Before the damage is taken: what comes after that rings the bell.
        let count = links.count
        server.scheme.core.withLock { $0.viewerCount = count }
        let damage = server.scheme.core.withLock { core in core.damage.indices.map { core.damage[$0].take() } }
        let now = Clock.monotonicNanoseconds()
        for (slot, link) in links {
            if let time = rejected[slot] {
                if time <= now { end(slot, link) }
                continue
            }
            if !damage[link.display].isEmpty { link.note(damage[link.display]) }
            guard let wanted = link.pump(server.scheme, encoder) else {
                finish(slot, link)
                continue
            }
            if waitsFor[slot] != wanted {
                waitsFor[slot] = wanted
                try? poll.modify(link.socket.rawValue, wanted, token: UInt64(slot))
            }
        }
    }

    // MARK: Connections

    private static func socketName(_ kind: ViewerKind, _ serial: UInt64) -> String { "\(kind.rawValue).\(serial)" }
    private static func pipeName(_ serial: UInt64, _ index: Int) -> String { "pipe.\(serial).\(index)" }

    /// Goes on with the connections of the last incarnation.
    private func takeOver() {
        var names = Set(server.held.keys.filter { Self.serial(of: $0) != nil })
        for slot in 0..<ViewerMemory.slotCount {
            let serial = server.memory.serial(slot)
            guard serial != 0 else { continue }
            let pipes = (0..<ViewerPipes.count).compactMap { server.held[Self.pipeName(serial, $0)] }
            let kind: ViewerKind = server.memory.isWeb(slot) ? .web : .vnc
            for name in Self.names(kind, serial) { names.remove(name) }
            guard let socket = server.held[Self.socketName(kind, serial)], let pipes = ViewerPipes(pipes),
                let link = ViewerLink(resuming: slot, socket, pipes, server.memory, password: server.password)
            else {
                forget(slot, kind, serial)
                continue
            }
            add(link)
        }
        // Accepted, and not begun with before the death.
        for name in names.sorted() {
            guard let kind = ViewerKind.allCases.first(where: { name.hasPrefix("\($0.rawValue).") }),
                let serial = Self.serial(of: name), let socket = server.held[name]
            else { continue }
            names.remove(name)
            begin(kind, serial, socket)
        }
        // Pipes of what has ended, unless they have just been made anew.
        let used = Set(links.values.map(\.serial))
        for name in names where Self.serial(of: name).map({ !used.contains($0) }) ?? false { server.host.release(name) }
        server.scheme.forgetEffects(except: used)
    }

    private static func serial(of name: String) -> UInt64? {
        let parts = name.split(separator: ".")
        guard parts.count >= 2, parts[0] == "pipe" || ViewerKind(rawValue: String(parts[0])) != nil else { return nil }
        return UInt64(parts[1])
    }

    private static func names(_ kind: ViewerKind, _ serial: UInt64) -> [String] {
        [socketName(kind, serial)] + (0..<ViewerPipes.count).map { pipeName(serial, $0) }
    }

    private func begin(_ kind: ViewerKind, _ serial: UInt64, _ socket: SharedDescriptor) {
        do {
            let pipes = try ViewerPipes()
            for (index, descriptor) in pipes.descriptors.enumerated() {
                try server.host.hold(Self.pipeName(serial, index), descriptor.rawValue)
            }
            makeRoom()
            guard let slot = server.memory.freeSlot,
                let link = ViewerLink(
                    beginning: serial, isWeb: kind == .web, at: slot, socket, pipes, server.memory,
                    password: server.password)
            else { throw Errno.tooManyOpenFiles }
            add(link)
        } catch {
            server.host.log("viewer: \(error)")
            for name in Self.names(kind, serial) { server.host.release(name) }
        }
    }

    private func add(_ link: ViewerLink) {
        links[link.slot] = link
        waitsFor[link.slot] = .readable
        do throws(Errno) {
            try poll.add(link.socket.rawValue, .readable, token: UInt64(link.slot))
        } catch {
            server.host.log("viewer: \(error)")
            end(link.slot, link)
        }
    }

    private func end(_ slot: Int, _ link: ViewerLink) {
        if !link.ending.isEmpty { server.host.log("viewer: \(link.ending)") }
        try? poll.remove(link.socket.rawValue)
        // The supervisor has the socket a moment longer: the other side needn't wait for that.
        try? SystemCall.shutDown(link.socket.rawValue, receiving: true, sending: true)
        links[slot] = nil
        waitsFor[slot] = nil
        rejected[slot] = nil
        forget(slot, server.memory.isWeb(slot) ? .web : .vnc, link.serial)
        server.scheme.forgetEffects(except: Set(links.values.map(\.serial)))
        for kind in isFull { listen(kind) }
        isFull = []
    }

    /// The socket goes first: one that is held and has no place in the memory would be taken for that of a new caller.
    private func forget(_ slot: Int, _ kind: ViewerKind, _ serial: UInt64) {
        for name in Self.names(kind, serial) { server.host.release(name) }
        server.memory.end(slot)
    }

    // MARK: Callers

    /// Somebody has come: the supervisor is to take and hold the connection.
    private func accept(_ kind: ViewerKind) {
        makeRoom()
        guard server.memory.freeSlot != nil else {
            isFull.insert(kind)
            return
        }
        // Only a supervisor that is gone can't be told.
        try? server.host.accept(from: kind.listenerName, as: Self.socketName(kind, server.memory.newSerial()))
    }

    /// Whoever doesn't even greet keeps nobody else away: when all places are taken, the one that has waited longest without that gives its
    /// place. Not those with a wrong password: their waiting is what slows them down.
    private func makeRoom() {
        guard server.memory.freeSlot == nil else { return }
        let idle = links.filter { !$0.value.isServing && rejected[$0.key] == nil }
        guard let (slot, link) = idle.min(by: { $0.value.serial < $1.value.serial }) else { return }
        link.end("its place is needed, and it hasn't greeted")
        end(slot, link)
    }

    private func answered(_ answer: HeldAnswer) {
        guard let kind = ViewerKind.allCases.first(where: { $0.listenerName == answer.listener }) else { return }
        if let socket = answer.descriptor, let serial = Self.serial(of: answer.name) {
            begin(kind, serial, socket)
        } else if answer.errno != .wouldBlock, answer.errno != Errno(rawValue: ECONNABORTED) {
            server.host.log("viewer: \(answer.errno)")
            isFull.insert(kind)
            return
        }
        listen(kind)
    }

    private func listen(_ kind: ViewerKind) {
        guard let listener = server.listeners[kind], let token = Self.listenerTokens[kind] else { return }
        try? poll.modify(listener.rawValue, [.readable, .once], token: token)
    }
}
