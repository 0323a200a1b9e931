import Sandbox
import Platform

/// What one process of a mount is.
public struct MemberConfiguration: Sendable {
    /// The scheme's name; `router` for the router.
    public var name: String
    /// Where its program is.
    public var executablePath: String
    /// What it is granted.
    public var manifest: Manifest
    /// The arguments of its program; a static one may not see them.
    public var arguments: [String] = []
    /// Its settings: the fields of the `configure` message.
    public var settings: [(key: String, value: String)]
    /// The supervisor's descriptors that each incarnation gets, by name.
    public var descriptors: [(name: String, descriptor: SharedDescriptor)]
    /// Files of sockets among them, which go when the mount does.
    public var socketFiles: [String] = []
    /// Where the supervisor connects sockets to for it, by names of which it knows no more: it reaches no network itself.
    public var endpoints: [(name: String, endpoint: SocketEndpoint)] = []
    /// Names of other schemes that it uses: they are started before it and stopped after it.
    public var uses: [String]
    /// Offered to the router: it appears in the mount.
    public var isVisible: Bool
    /// Without it there is no mount: if it can't start at the beginning, nothing does. Others go offline by themselves.
    public var isEssential = true

    /// A process without settings and descriptors.
    public init(name: String, executablePath: String, manifest: Manifest, uses: [String] = [], isVisible: Bool = true) {
        self.name = name
        self.executablePath = executablePath
        self.manifest = manifest
        settings = []
        descriptors = []
        self.uses = uses
        self.isVisible = isVisible
    }
}

/// How long the supervisor waits for what. All in nanoseconds.
public struct SupervisorLimits: Sendable {
    /// From the start to `started`.
    public var start: UInt64 = 30_000_000_000
    /// A stopped process (SIGSTOP) is killed after this.
    public var stopped: UInt64 = 200_000_000
    /// A request that a server holds without any sign of life: killed after this.
    public var hang: UInt64 = 30_000_000_000
    /// Requests that wait while no worker has one in hand: killed after this.
    public var idle: UInt64 = 3_000_000_000
    /// From `finish` to the end.
    public var finish: UInt64 = 20_000_000_000
    /// Between two looks at the channels.
    public var watch: UInt64 = 250_000_000

    /// The defaults.
    public init() {}
}

/// Everything that a supervisor is told.
public struct SupervisorConfiguration: Sendable {
    /// The router; nil for a supervisor of schemes alone (tests).
    public var router: MemberConfiguration?
    /// The schemes.
    public var schemes: [MemberConfiguration]
    /// Where the mount appears; nil: nothing is mounted.
    public var mount: MountRequest?
    /// Where the control socket is made; nil: none.
    public var controlSocketPath: String?
    /// When processes are started again.
    public var policy = RestartPolicy()
    /// How long is waited for what.
    public var limits = SupervisorLimits()
    /// Whether each process's successor is started ahead of time, which makes recovery faster and takes its memory twice.
    public var keepsSpares = true
    /// What the mount is of, for status.
    public var source = ""

    /// A supervisor of these schemes.
    public init(schemes: [MemberConfiguration]) {
        self.schemes = schemes
    }
}
