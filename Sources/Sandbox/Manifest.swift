import Glibc
import Platform

/// What a process of a mount is granted. Everything that isn't listed is refused.
public struct Manifest: Sendable, Equatable {
    /// Bounds of what a process may use up.
    public struct Limits: Sendable, Equatable {
        /// Private writable memory in bytes (RLIMIT_DATA).
        public var memoryBytes: UInt64 = 512 << 20
        /// All mappings in bytes, channels and the program included (RLIMIT_AS).
        public var addressSpaceBytes: UInt64 = 4 << 30
        /// Threads; it can't have a second process at all (RLIMIT_NPROC).
        public var threads: UInt64 = 32
        /// Open descriptors (RLIMIT_NOFILE).
        public var descriptors: UInt64 = 256
        /// Size of a file that it writes, in bytes (RLIMIT_FSIZE).
        public var fileBytes: UInt64 = .max
        /// Memory kept from being swapped out, in bytes (RLIMIT_MEMLOCK); nil: as the supervisor's.
        public var lockedBytes: UInt64?

        /// The defaults.
        public init() {}
    }

    /// The name of the scheme, or `router`.
    public var name: String
    /// Namespaces of its own. All seven unless it must reach a network.
    public var namespaces: Namespaces = .all
    /// What it may call once it serves.
    public var systemCalls: SystemCallSet
    /// Whether it may go without a strict filter of its own: never for the schemes that come with the system.
    public var requiresStrictFilter = true
    /// What it sees of the host's files, read-only. Nothing for a static executable.
    public var binds: [ReadOnlyBind] = []
    /// What it may open of these.
    public var paths: [PathRule] = []
    /// Its limits.
    public var limits = Limits()

    /// A manifest with nothing granted but the system calls of these groups.
    public init(name: String, systemCalls: SystemCallSet = .base) {
        self.name = name
        self.systemCalls = systemCalls
    }

    /// Whether it has the host's network.
    public var reachesNetwork: Bool { !namespaces.contains(.network) }
}

extension Manifest {
    /// The router: `/dev/fuse` by descriptor, channels to all schemes.
    public static var router: Manifest {
        var manifest = Manifest(name: "router", systemCalls: [.base, .channels, .fuse])
        manifest.limits.addressSpaceBytes = 64 << 30
        // Stacks count as if they were used.
        manifest.limits.memoryBytes = 2 << 30
        manifest.limits.descriptors = 1024
        // A thread for each request that waits, and three for each scheme.
        manifest.limits.threads = 4608
        return manifest
    }

    /// The disk scheme: the image by descriptor.
    public static var disk: Manifest {
        Manifest(name: "disk", systemCalls: [.base, .channels, .storage])
    }

    /// The disk scheme of a remote disk: sockets that the supervisor connects for it, an overlay by descriptor. Its library is linked
    /// dynamically: it sees the system's libraries while it starts.
    public static var remoteDisk: Manifest {
        var manifest = Manifest(name: "disk", systemCalls: [.base, .channels, .storage, .connected])
        let calls = manifest.systemCalls
        manifest.grantLibraries()
        manifest.systemCalls = calls
        return manifest
    }

    /// The file scheme: nothing but its channels; memory for its caches.
    public static var file: Manifest {
        var manifest = Manifest(name: "file", systemCalls: [.base, .channels])
        manifest.limits.memoryBytes = 2 << 30
        manifest.limits.addressSpaceBytes = 16 << 30
        return manifest
    }

    /// The pipe scheme: nothing but its channel.
    public static var pipe: Manifest { Manifest(name: "pipe", systemCalls: [.base, .channels]) }

    /// The small schemes null, zero, rand, log and time, and the system's own files: nothing but their channels.
    public static func plain(_ name: String) -> Manifest { Manifest(name: name, systemCalls: [.base, .channels]) }

    /// The display scheme: its channels, and the connections of viewers which it is given. Room to map its pixels, of which only what is
    /// used is there.
    public static var display: Manifest {
        var manifest = Manifest(name: "display", systemCalls: [.base, .channels, .streams])
        // A connection is a socket and two pipes.
        manifest.limits.descriptors = 512
        manifest.limits.addressSpaceBytes = 16 << 30
        return manifest
    }

    /// The network scheme: the host's network namespace, and the files that a resolver reads.
    public static var network: Manifest {
        var manifest = Manifest(name: "network", systemCalls: [.base, .channels, .network, .files])
        manifest.namespaces = .all.subtracting(.network)
        // A connection is a descriptor here and one with the supervisor.
        manifest.limits.descriptors = 4096
        for path in ["/etc/resolv.conf", "/etc/hosts"] where SystemCall.exists(path) {
            manifest.binds.append(ReadOnlyBind(path: path, isDirectory: false))
            manifest.paths.append(PathRule(path, .read))
        }
        return manifest
    }

    /// Adds what a dynamically linked program needs to start: the system's libraries and, if they lie elsewhere, its own.
    public mutating func grantLibraries(_ directories: [String] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"]) {
        for path in directories where SystemCall.exists(path) {
            binds.append(ReadOnlyBind(path: path, isDirectory: true))
            paths.append(PathRule(path, [.read, .execute, .list]))
        }
        systemCalls.insert(.files)
    }
}
