import Platform
import Sandbox
import SchemeProtocol
import SchemeTransport

/// A process that was started, with its pidfd and the socket that reports its start.
final class StartedProcess {
    let starting: StartingProcess
    var hasStarted = false

    init(_ starting: consuming StartingProcess) { self.starting = starting }

    var processID: Int32 { starting.process.processID }
}

/// What a process of the mount is doing.
enum MemberState: Equatable {
    /// Not started yet: something that it uses isn't ready.
    case idle
    /// Its program goes up; it hasn't said `started`.
    case starting
    /// It serves.
    case serving
    /// It died; the next incarnation starts at this time.
    case waiting(until: UInt64)
    /// It is started no more until somebody asks for it; why.
    case offline(String)
    /// It was told to finish.
    case finishing
    /// It ended as it was told.
    case finished

    /// One word for status.
    var name: String {
        switch self {
        case .idle: "idle"
        case .starting: "starting"
        case .serving: "serving"
        case .waiting: "waiting"
        case .offline: "offline"
        case .finishing: "finishing"
        case .finished: "finished"
        }
    }
}

/// What to do when a process that was told to finish has ended.
enum AfterFinish: Equatable {
    case stay
    case restart
}

/// The router or a scheme: its process and what must outlive it.
final class Member {
    let index: Int
    let isRouter: Bool
    var configuration: MemberConfiguration
    var sandbox: Sandbox
    var state = MemberState.idle
    /// Of the current or last process; 0 before the first.
    var incarnation: UInt32 = 0
    var process: StartedProcess?
    var control: ControlSocket?
    var history = RestartPolicy.History()
    /// When the current process said `started`.
    var readyAt: UInt64?
    /// A process of it has said `started` at some time.
    var hasServed = false
    /// How often in a row it went offline because it couldn't start.
    var failedRetries = 0
    /// Offline: when it is tried again, if it is.
    var retryAt: UInt64?
    /// The sequence number that it said its durable state holds.
    var recovered: UInt64 = 0
    /// The next incarnation, started ahead of time.
    var spare: Spare?
    /// No spare is made before this time.
    var nextSpareAt: UInt64 = 0
    /// Schemes that want a channel to this one, which isn't up: the client and its message.
    var waitingConnects: [(client: Int, message: ReceivedControl)] = []
    /// Its process has ended, and its last messages are being read.
    var isDying = false
    /// When the start or the finish must be over.
    var deadline: UInt64?
    /// Since when it has been stopped by a signal.
    var stoppedAt: UInt64?
    /// Descriptors that it asked to keep.
    var held: [(name: String, descriptor: SharedDescriptor)] = []
    var timelines: [RecoveryTimeline] = []
    /// The recovery that isn't over.
    var recovery: RecoveryTimeline?
    /// Channels whose client hasn't reported the end of this recovery.
    var awaitedResumes: Set<UInt32> = []
    var deathCount = 0
    /// Why it is about to die, if the supervisor kills it, and since when.
    var deathCause: (text: String, at: UInt64)?
    /// Its own fault is why.
    var isAtFault = false
    /// The last death was ordered by somebody else: none of its requests is to blame.
    var wasKilled = false
    var afterFinish = AfterFinish.stay
    /// Questions to the process that wait for an answer.
    var questions: [UInt32: Question] = [:]
    /// Connections of the control socket that wait for the end of a recovery.
    var recoveryWaiters: [UInt32] = []

    static let timelineLimit = 128

    init(index: Int, _ configuration: MemberConfiguration, isRouter: Bool) throws(SandboxError) {
        self.index = index
        self.configuration = configuration
        self.isRouter = isRouter
        sandbox = try Sandbox(
            configuration.manifest, executablePath: configuration.executablePath, index: Self.sandboxIndex(index))
    }

    /// Different mounts have different users, too: the supervisor's process number takes part.
    static func sandboxIndex(_ index: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: processNumber() % 2048) << 5 | UInt32(truncatingIfNeeded: index & 31)
    }

    var name: String { configuration.name }

    /// Whether a process of it exists.
    var isAlive: Bool { process != nil }

    var pid: Int32 { process?.processID ?? 0 }

    func keep(_ timeline: RecoveryTimeline) {
        timelines.append(timeline)
        if timelines.count > Self.timelineLimit { timelines.removeFirst(timelines.count - Self.timelineLimit) }
    }
}

/// Who waits for the answer to a message that was sent to a process.
enum Question {
    /// A connection of the control socket.
    case connection(UInt32)
    /// A client that wanted a channel: the member, its message's number, the channel.
    case connect(client: Int, id: UInt32, channel: UInt32)
    /// A connection that waits for a recovery: only a refusal is its answer.
    case crash(UInt32)
    /// Nobody.
    case nobody
}

/// A channel between two processes; the supervisor holds its memory.
final class Channel {
    let number: UInt32
    let client: Int
    let server: Int
    let geometry: ChannelGeometry
    var request: SharedDescriptor
    let reply: SharedDescriptor
    let serverBell: SharedDescriptor?
    let clientBell: SharedDescriptor?
    var observer: ChannelObserver?
    /// The server's last sign of life, and when it was first seen.
    var heartbeat: UInt64 = 0
    var heartbeatAt: UInt64 = 0
    /// The ring's position of the server, and since when it stands there with requests waiting.
    var waitingAt: UInt64?
    /// The incarnation of the server that was told of this channel.
    var attachedTo: UInt32 = 0

    init(
        number: UInt32, client: Int, server: Int, geometry: ChannelGeometry, request: SharedDescriptor,
        reply: SharedDescriptor, serverBell: SharedDescriptor?, clientBell: SharedDescriptor?
    ) {
        self.number = number
        self.client = client
        self.server = server
        self.geometry = geometry
        self.request = request
        self.reply = reply
        self.serverBell = serverBell
        self.clientBell = clientBell
        observe()
    }

    /// Looks at the memories as they are now. A channel that can't be looked at is served all the same.
    func observe() {
        observer = try? ChannelObserver(request: request, reply: reply, geometry: geometry)
    }

    /// For an `attach` or `adopt` message.
    var descriptors: [(name: String, descriptor: Int32)] {
        var result = [(name: "request", descriptor: request.rawValue), (name: "reply", descriptor: reply.rawValue)]
        if let serverBell { result.append((name: "server-bell", descriptor: serverBell.rawValue)) }
        if let clientBell { result.append((name: "client-bell", descriptor: clientBell.rawValue)) }
        return result
    }
}
