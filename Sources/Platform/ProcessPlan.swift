import CLinux
import Glibc
import SystemPackage

/// The step at which the start of a process failed.
public enum SpawnStep: UInt32, Sendable, CaseIterable {
    case clone = 1
    case handshake, session, signals, openTree, privateMounts, mountRoot, makeDirectory, bind, mountAttributes
    case pivotRoot, leaveOldRoot, groups, groupID, userID, descriptors, limits, boundingSet, secureBits, capabilities
    case noNewPrivileges, landlock, deathSignal, seccomp, execute

    /// What was tried, for messages.
    public var explanation: String {
        switch self {
        case .clone: "creating the process with its namespaces (clone3)"
        case .handshake: "waiting for the parent"
        case .session: "starting a session (setsid)"
        case .signals: "resetting signals (rt_sigaction)"
        case .openTree: "taking a mount that the process may see (open_tree)"
        case .privateMounts: "making the mounts private (mount)"
        case .mountRoot: "mounting the empty root (mount tmpfs)"
        case .makeDirectory: "making a directory in the empty root (mkdir)"
        case .bind: "placing a mount in the empty root (move_mount)"
        case .mountAttributes: "making the root read-only (mount_setattr)"
        case .pivotRoot: "entering the empty root (pivot_root)"
        case .leaveOldRoot: "leaving the old root (umount2)"
        case .groups: "dropping supplementary groups (setgroups)"
        case .groupID: "changing the group (setresgid)"
        case .userID: "changing the user (setresuid)"
        case .descriptors: "placing the descriptors (dup3, close_range)"
        case .limits: "setting limits (prlimit)"
        case .boundingSet: "emptying the capability bounding set (prctl)"
        case .secureBits: "locking the secure bits (prctl)"
        case .capabilities: "dropping capabilities (capset)"
        case .noNewPrivileges: "refusing new privileges (prctl)"
        case .landlock: "restricting file access (landlock_restrict_self)"
        case .deathSignal: "binding its life to the parent's (prctl)"
        case .seccomp: "filtering system calls (seccomp)"
        case .execute: "executing the program (execveat)"
        }
    }
}

/// The start of a process failed.
public struct SpawnError: Error, Equatable, Sendable, CustomStringConvertible {
    /// At which step.
    public let step: SpawnStep
    /// Why.
    public let errno: Errno

    /// An error of a step.
    public init(_ step: SpawnStep, _ errno: Errno) {
        self.step = step
        self.errno = errno
    }

    /// What failed and why.
    public var description: String { "\(step.explanation): \(errno)" }
}

/// New namespaces of a process (namespaces(7)).
public struct Namespaces: OptionSet, Sendable {
    /// CLONE_NEW* bits.
    public let rawValue: UInt64
    /// From CLONE_NEW* bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Mounts.
    public static let mount = Namespaces(rawValue: 0x0002_0000)
    /// Control groups.
    public static let cgroup = Namespaces(rawValue: 0x0200_0000)
    /// Host name.
    public static let uts = Namespaces(rawValue: 0x0400_0000)
    /// System V IPC and POSIX message queues.
    public static let ipc = Namespaces(rawValue: 0x0800_0000)
    /// Users and capabilities.
    public static let user = Namespaces(rawValue: 0x1000_0000)
    /// Process numbers.
    public static let process = Namespaces(rawValue: 0x2000_0000)
    /// Network devices and ports.
    public static let network = Namespaces(rawValue: 0x4000_0000)
    /// All seven.
    public static let all: Namespaces = [.mount, .cgroup, .uts, .ipc, .user, .process, .network]
}

/// A directory or file of the host that a process sees, read-only, in its own root.
public struct ReadOnlyBind: Sendable, Equatable {
    /// Absolute path on the host; the same path inside.
    public let path: String
    /// Whether it is a directory; mounts below it are seen, too.
    public let isDirectory: Bool

    /// A bind of a host path.
    public init(path: String, isDirectory: Bool) {
        self.path = path
        self.isDirectory = isDirectory
    }
}

/// A limit of a process (getrlimit(2)).
public struct ResourceLimit: Sendable, Equatable {
    /// RLIMIT_* number.
    public let resource: UInt32
    /// What is enforced.
    public let soft: UInt64
    /// What the process could raise it to.
    public let hard: UInt64

    /// The number of open descriptors (RLIMIT_NOFILE).
    public static let openFiles: UInt32 = 7

    /// A limit; soft and hard are the same.
    public init(_ resource: UInt32, _ value: UInt64) {
        self.init(resource, soft: value, hard: value)
    }

    private init(_ resource: UInt32, soft: UInt64, hard: UInt64) {
        self.resource = resource
        self.soft = soft
        self.hard = hard
    }

    /// What this process itself may have of a resource.
    public static func own(_ resource: UInt32) -> ResourceLimit {
        var limit = rlimit()
        // It only fails for resources that there aren't.
        guard unsafe getrlimit(__rlimit_resource_t(resource), &limit) == 0 else { return ResourceLimit(resource, .max) }
        return ResourceLimit(resource, soft: UInt64(limit.rlim_cur), hard: UInt64(limit.rlim_max))
    }

    /// The same limit, or this process's own if that is lower: nobody without privileges can give more than that away.
    public var withinOwn: ResourceLimit {
        let most = Self.own(resource).hard
        return ResourceLimit(resource, soft: min(soft, most), hard: min(hard, most))
    }
}

/// Identities for the user namespace: inside `inside`, seen from outside as `outside`.
public struct IdentityMap: Sendable, Equatable {
    /// User and group number that the process has for itself.
    public let inside: UInt32
    /// User number outside.
    public let outsideUser: UInt32
    /// Group number outside.
    public let outsideGroup: UInt32
    /// Whether setgroups must be denied: needed where the writer of the map has no CAP_SETGID (user_namespaces(7)).
    public let deniesSetgroups: Bool

    /// A map of one user and one group.
    public init(inside: UInt32, outsideUser: UInt32, outsideGroup: UInt32, deniesSetgroups: Bool) {
        self.inside = inside
        self.outsideUser = outsideUser
        self.outsideGroup = outsideGroup
        self.deniesSetgroups = deniesSetgroups
    }
}

/// Everything about a process that is to be started. The defaults start it in the parent's surroundings.
public struct ProcessPlan: Sendable {
    /// The program: an open descriptor of an executable file.
    public var executable: Int32
    /// Its arguments, the name first.
    public var arguments: [String]
    /// Its environment: `NAME=value`.
    public var environment: [String]
    /// The process's descriptor i is a copy of `descriptors[i]`; it has no other. At most 64.
    public var descriptors: [Int32]
    /// New namespaces.
    public var namespaces: Namespaces = []
    /// Who it is in a new user namespace.
    public var identity: IdentityMap?
    /// An empty read-only root with these binds; nil: the parent's. At most 16.
    public var root: [ReadOnlyBind]?
    /// Limits.
    public var limits: [ResourceLimit] = []
    /// Drops all capabilities, the bounding set too, and locks the secure bits.
    public var dropsCapabilities = false
    /// Sets no_new_privs.
    public var refusesNewPrivileges = false
    /// A landlock ruleset's descriptor.
    public var landlock: Int32?
    /// A program of seccomp instructions, eight bytes each.
    public var filter: [UInt64] = []
    /// Killed when the thread that started it ends.
    public var diesWithParent = false
    /// In a session of its own.
    public var newSession = false

    /// A plan for a program.
    public init(executable: Int32, arguments: [String], environment: [String], descriptors: [Int32]) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.descriptors = descriptors
    }
}
