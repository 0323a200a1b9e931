import Glibc
import Platform
import Sandbox
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// Where an event of the loop comes from: kind, a number, and of processes the incarnation, so that a late event of a dead
/// process isn't taken for its successor's.
struct EventToken: Equatable {
    enum Kind: UInt64 {
        case signal = 1
        case start, process, control, listener, connection, fuse, unmount, spare
    }

    let kind: Kind
    let index: Int
    let incarnation: UInt32

    init(_ kind: Kind, _ index: Int = 0, incarnation: UInt32 = 0) {
        self.kind = kind
        self.index = index
        self.incarnation = incarnation & 0xFF_FFFF
    }

    init?(_ raw: UInt64) {
        guard let kind = Kind(rawValue: raw >> 56) else { return nil }
        self.init(
            kind, Int(raw & 0xFFFF_FFFF), incarnation: UInt32(truncatingIfNeeded: raw >> 32 & 0xFF_FFFF))
    }

    var raw: UInt64 { kind.rawValue << 56 | UInt64(incarnation) << 32 | UInt64(index) & 0xFFFF_FFFF }
}

/// One thread that starts the processes of a mount, holds what must outlive them, and starts them again.
///
///     let supervisor = try Supervisor(configuration)
///     try supervisor.run()          // returns when everything has ended
///
/// Nothing in it blocks but the wait for events (and the start of a process, which takes a millisecond): what might is done by a
/// thread or a process of its own, whose end is an event.
public final class Supervisor {
    let configuration: SupervisorConfiguration
    let poll: EventPoll
    let signals: SignalDescriptor
    var members: [Member] = []
    var channels: [UInt32: Channel] = [:]
    var lastChannel: UInt32 = 0
    var lastQuestion: UInt32 = 0
    var nextWatch: UInt64
    let startedAt: UInt64
    var mount: FuseMount?
    var control: ControlServer?
    var phase = Phase.starting
    var stopDeadline: UInt64?
    /// Connections that wait for the end of everything.
    var stopWaiters: [UInt32] = []
    /// Who asked for new programs, and the processes that still have the old ones.
    var upgradeWaiter: (connection: UInt32, rest: [Int])?
    /// Why the mount could not be made, or ended by a fault.
    public internal(set) var failure: SupervisorError?
    /// Called once, when everything serves for the first time.
    var onReady: (() -> Void)?
    /// Called with each line of the log.
    var onLog: (String) -> Void
    let statusMemory: StatusMemory
    private let socketFiles: [SocketFile]
    /// Where the router puts completed requests while somebody traces: it outlives the router.
    let traceMemory: SharedDescriptor
    /// Reads the monotonic clock: tests put in their own.
    let now: () -> UInt64

    /// What the supervisor is about.
    enum Phase: Equatable {
        /// Not everything has been ready once.
        case starting
        case serving
        /// The mount is being ended.
        case unmounting
        /// The processes are being ended.
        case finishing
        case ended
    }

    /// Prepares everything; starts nothing.
    ///
    /// - Parameter onReady: called when everything serves for the first time.
    public init(
        _ configuration: SupervisorConfiguration, onLog: @escaping (String) -> Void = Supervisor.logToStandardError,
        onReady: (() -> Void)? = nil
    ) throws(SupervisorError) {
        self.configuration = configuration
        self.onLog = onLog
        self.onReady = onReady
        now = Clock.monotonicNanoseconds
        socketFiles = configuration.schemes.flatMap(\.socketFiles).compactMap { SocketFile($0) }
        SystemCall.ignoreSignal(SIGPIPE)
        do throws(Errno) {
            poll = try EventPoll()
            signals = try SignalDescriptor([SIGCHLD, SIGTERM, SIGINT, SIGHUP])
            try poll.add(signals.descriptor.rawValue, .readable, token: EventToken(.signal).raw)
            statusMemory = try StatusMemory()
        } catch {
            throw .system("event loop", error)
        }
        do throws(ChannelError) {
            traceMemory = try TraceRing.create()
        } catch {
            throw .system("trace memory", error.errno)
        }
        startedAt = Clock.monotonicNanoseconds()
        nextWatch = startedAt &+ configuration.limits.watch
        for scheme in configuration.schemes { try add(scheme, isRouter: false) }
        if let router = configuration.router { try add(router, isRouter: true) }
    }

    private func add(_ configuration: MemberConfiguration, isRouter: Bool) throws(SupervisorError) {
        do throws(SandboxError) {
            members.append(try Member(index: members.count, configuration, isRouter: isRouter))
        } catch {
            throw .sandbox(error)
        }
    }

    /// Writes a line to standard error.
    public static func logToStandardError(_ line: String) {
        try? SystemCall.write(text: "saltbridge: \(line)\n", to: 2)
    }

    func log(_ line: String) { onLog(line) }

    /// Starts everything and serves until it is told to end, and everything has ended.
    ///
    /// - Throws: why there was no mount at all. What goes wrong later is logged, shown by status, and dealt with.
    public func run() throws(SupervisorError) {
        do throws(SupervisorError) {
            try begin()
            while phase != .ended { try step() }
        } catch {
            failure = failure ?? error
            killAll()
        }
        control?.close()
        for file in socketFiles { file.remove() }
        if let failure { throw failure }
        if let path = configuration.controlSocketPath { _ = unsafe unlink(ControlDirectory.logPath(path)) }
    }

    private func begin() throws(SupervisorError) {
        if let path = configuration.controlSocketPath {
            control = try ControlServer(path: path)
            if let control { watch(control.descriptor.rawValue, EventToken(.listener)) }
        }
        if let request = configuration.mount {
            mount = try FuseMount(request)
        }
        startWhatCan()
        updateStatus()
    }

    func watch(_ descriptor: Int32, _ token: EventToken) {
        do throws(Errno) {
            try poll.add(descriptor, .readable, token: token.raw)
        } catch {
            log("cannot watch a descriptor: \(error)")
        }
    }

    /// Watches for the end of the mount, while no router is there to tell of it.
    ///
    /// Not for longer: every request of the kernel's wakes whoever waits for the descriptor, whatever the events that are asked for.
    func watchMount() {
        // No event is asked for: the end of the connection is always told.
        if let mount, !mount.isGone { try? poll.add(mount.descriptor.rawValue, [], token: EventToken(.fuse).raw) }
    }

    func unwatch(_ descriptor: Int32) {
        // It may have gone from the set with its file already.
        try? poll.remove(descriptor)
    }

    /// Waits for what happens next and handles it.
    func step() throws(SupervisorError) {
        let events: [(token: UInt64, events: PollEvents)]
        do throws(Errno) {
            events = try poll.wait(milliseconds: timeout())
        } catch {
            throw .system("epoll_wait", error)
        }
        for event in events {
            if let token = EventToken(event.token) { handle(token, event.events) }
        }
        handleTime()
        if phase == .finishing, !members.contains(where: \.isAlive) { finishEnd() }
        // A recovery isn't held up for the sake of telling about it.
        if !members.contains(where: { $0.state == .starting && $0.recovery != nil }) {
            statusMemory.publishIfNeeded { statusJSON() }
        }
    }

    private func handle(_ token: EventToken, _ events: PollEvents) {
        switch token.kind {
        case .signal: handleSignals()
        case .listener: acceptConnections()
        case .connection: handleConnection(UInt32(truncatingIfNeeded: token.index))
        case .fuse: if events.contains(.error) || events.contains(.hangUp) { mountEnded() }
        case .unmount: unmountFinished()
        case .spare:
            guard members.indices.contains(token.index) else { return }
            spareEnded(members[token.index])
        case .start, .process, .control:
            guard members.indices.contains(token.index) else { return }
            let member = members[token.index]
            guard member.isAlive, EventToken(token.kind, token.index, incarnation: member.incarnation) == token else {
                return
            }
            switch token.kind {
            case .start: startReported(member)
            case .control: receiveMessages(member)
            default: processChanged(member)
            }
        }
    }

    private func handleSignals() {
        while let signal = try? signals.next() {
            switch signal {
            case SIGCHLD:
                for member in members where member.isAlive { processChanged(member) }
            default:
                log("told to end by signal \(signal)")
                stop(force: true)
            }
        }
    }

    /// Milliseconds until something is due, rounded up.
    private func timeout() -> Int32 {
        let deadlines = members.compactMap { due($0) } + [nextWatch] + [stopDeadline].compactMap { $0 }
        let time = now()
        guard let next = deadlines.min() else { return -1 }
        if next <= time { return 0 }
        return Int32(clamping: (next - time + 999_999) / 1_000_000)
    }

    private func due(_ member: Member) -> UInt64? {
        var result = member.deadline
        if case .waiting(let until) = member.state { result = min(result ?? until, until) }
        if let stoppedAt = member.stoppedAt {
            let end = stoppedAt &+ configuration.limits.stopped
            result = min(result ?? end, end)
        }
        if let retryAt = member.retryAt { result = min(result ?? retryAt, retryAt) }
        if let spareDue = spareDue(member) { result = min(result ?? spareDue, spareDue) }
        return result
    }

    private func handleTime() {
        let time = now()
        for member in members {
            if case .waiting(let until) = member.state, until <= time, phase.startsProcesses { start(member) }
            if let retryAt = member.retryAt, retryAt <= time { retry(member) }
            if let due = spareDue(member), due <= time { makeSpare(member) }
            if let deadline = member.deadline, deadline <= time { deadlinePassed(member) }
            if let stoppedAt = member.stoppedAt, stoppedAt &+ configuration.limits.stopped <= time {
                member.stoppedAt = nil
                kill(member, because: "stopped", isAtFault: false)
            }
        }
        if nextWatch <= time {
            nextWatch = time &+ configuration.limits.watch
            watchChannels(time)
        }
        if let stopDeadline, stopDeadline <= time {
            self.stopDeadline = nil
            stopDeadlinePassed()
        }
    }
}

extension Supervisor.Phase {
    /// Whether processes that are down are started.
    var startsProcesses: Bool { self == .starting || self == .serving || self == .unmounting }
}

/// Why a supervisor can't begin.
public enum SupervisorError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A sandbox can't be prepared or a process not be started in it.
    case sandbox(SandboxError)
    /// A system call failed; the text says at what.
    case system(String, Errno)
    /// The mount can't be made.
    case mount(MountError)
    /// A scheme didn't get ready; the text is its reason.
    case scheme(String, String)
    /// The control socket can't be made.
    case controlSocket(String, Errno)

    /// What failed and why.
    public var description: String {
        switch self {
        case .sandbox(let error): "\(error)"
        case .system(let what, let errno): "\(what): \(errno)"
        case .mount(let error): "\(error)"
        case .scheme(let name, let reason): "\(name): \(reason)"
        case .controlSocket(let path, let errno): "control socket \(path): \(errno)"
        }
    }
}
