import Glibc
import Platform
import SystemPackage

/// A sandbox that is ready to start a process in, again and again: program opened, landlock ruleset and filter built.
public final class Sandbox: Sendable {
    /// What the process is granted.
    public let manifest: Manifest
    /// Where the program was found.
    public let executablePath: String
    /// The user that the process is for the rest of the system.
    public let identity: IdentityMap
    private let executable: OwnedDescriptor
    private let ruleset: LandlockRuleset

    /// Names of the environment that a server reads.
    public static let systemCallsVariable = "SALTBRIDGE_SYSTEM_CALLS"

    /// Prepares the sandbox of a program.
    ///
    /// - Parameter index: distinguishes the processes of a mount: as root each gets a user number of its own.
    public init(_ manifest: Manifest, executablePath: String, index: UInt32) throws(SandboxError) {
        let executable = try Self.openProgram(executablePath)
        let ruleset = try LandlockRuleset(reachesNetwork: manifest.reachesNetwork)
        try ruleset.allow([.read, .execute], beneath: executable.rawValue, named: executablePath)
        for rule in manifest.paths { try ruleset.allow(rule) }
        self.manifest = manifest
        self.executablePath = executablePath
        self.executable = executable
        self.ruleset = ruleset
        identity = .forSandbox(index: index)
    }

    private static func openProgram(_ path: String) throws(SandboxError) -> OwnedDescriptor {
        do throws(Errno) {
            return try SystemCall.openPath(path)
        } catch {
            throw .executable(path: path, error)
        }
    }

    /// Creates the process; its program doesn't run yet. Wait with `StartingProcess.finishStart`.
    ///
    /// - Parameters:
    ///   - arguments: without the program's name. A static executable may not see them.
    ///   - environment: beside what the sandbox itself says.
    ///   - descriptors: the process's descriptors 0, 1, 2, ...
    public func start(
        arguments: [String] = [], environment: [String] = [], descriptors: [Int32]
    ) throws(SandboxError) -> StartingProcess {
        do {
            return try plan(arguments, environment, descriptors).start()
        } catch {
            throw .start(name: manifest.name, error)
        }
    }

    /// As `start`, and waits until the program runs.
    public func run(
        arguments: [String] = [], environment: [String] = [], descriptors: [Int32]
    ) throws(SandboxError) -> ChildProcess {
        try run(arguments: arguments, environment: environment, descriptors: descriptors, filter: .start)
    }

    /// With another filter, or none: tests show that each layer of the sandbox holds by itself.
    func run(
        arguments: [String] = [], environment: [String], descriptors: [Int32], filter: SeccompProgram?
    ) throws(SandboxError) -> ChildProcess {
        var plan = plan(arguments, environment, descriptors)
        plan.filter = filter?.instructions ?? []
        do {
            return try plan.run()
        } catch {
            throw .start(name: manifest.name, error)
        }
    }

    private func plan(_ arguments: [String], _ environment: [String], _ descriptors: [Int32]) -> ProcessPlan {
        var plan = ProcessPlan(
            executable: executable.rawValue, arguments: [manifest.name] + arguments,
            environment: environment + [
                "\(Self.systemCallsVariable)=\(manifest.systemCalls.text)", "SWIFT_ROOT=/",
                "SWIFT_BACKTRACE=enable=no",
            ], descriptors: descriptors)
        plan.namespaces = manifest.namespaces.union([.user, .mount])
        plan.identity = identity
        plan.root = manifest.binds
        // Whoever mounts may be limited more than that; a process with less is better than none.
        plan.limits = manifest.limits.list.map(\.withinOwn)
        plan.dropsCapabilities = true
        plan.refusesNewPrivileges = true
        plan.landlock = ruleset.descriptor.rawValue
        plan.filter = SeccompProgram.start.instructions
        plan.diesWithParent = true
        plan.newSession = true
        return plan
    }

    /// Checks from outside that a process that says it is up is wholly confined: no capabilities, no new privileges, and its
    /// own filter on top of the one it was started with.
    public func verify(_ processID: Int32) throws(SandboxError) {
        let name = manifest.name
        guard let state = Confinement(processID: processID) else {
            throw .notConfined(name: name, "/proc/\(processID)/status")
        }
        if !state.hasNoCapabilities { throw .notConfined(name: name, "the drop of capabilities") }
        if !state.refusesNewPrivileges { throw .notConfined(name: name, "no_new_privs") }
        let filters = manifest.requiresStrictFilter ? 2 : 1
        if state.filterCount < filters { throw .notConfined(name: name, "the strict system call filter") }
    }
}

extension Manifest.Limits {
    /// For the start; resource numbers of the kernel's generic ABI (x86-64 and arm64 share it).
    var list: [ResourceLimit] {
        let fileSize: UInt32 = 1
        let data: UInt32 = 2
        let core: UInt32 = 4
        let processes: UInt32 = 6
        let lockedMemory: UInt32 = 8
        let addressSpace: UInt32 = 9
        let messageQueues: UInt32 = 12
        var result = [
            ResourceLimit(fileSize, fileBytes), ResourceLimit(data, memoryBytes), ResourceLimit(core, 0),
            ResourceLimit(processes, threads), ResourceLimit(ResourceLimit.openFiles, descriptors),
            ResourceLimit(addressSpace, addressSpaceBytes), ResourceLimit(messageQueues, 0),
        ]
        if let lockedBytes { result.append(ResourceLimit(lockedMemory, lockedBytes)) }
        return result
    }
}

extension IdentityMap {
    /// First of the user numbers for sandboxes started by root: far from any that are in use.
    static let firstSandboxUser: UInt32 = 0x7E5B_0000
    /// What a process is for itself: not 0, so that no program takes itself for root.
    static let insideUser: UInt32 = 1000
    /// "nobody".
    static let nobody: UInt32 = 65534

    /// Root gives each sandbox a user of its own (or `nobody`, where root itself lives in a namespace without such high
    /// numbers). Anyone else can only give his own.
    static func forSandbox(index: UInt32) -> IdentityMap {
        guard geteuid() == 0 else {
            return IdentityMap(
                inside: insideUser, outsideUser: geteuid(), outsideGroup: getegid(), deniesSetgroups: true)
        }
        let wanted = firstSandboxUser &+ index % 0x1_0000
        let isMapped = isMapped(wanted, "/proc/self/uid_map") && isMapped(wanted, "/proc/self/gid_map")
        let outside = isMapped ? wanted : nobody
        return IdentityMap(
            inside: insideUser, outsideUser: outside, outsideGroup: outside, deniesSetgroups: false)
    }

    private static func isMapped(_ number: UInt32, _ path: String) -> Bool {
        guard let text = try? SystemCall.smallFile(path) else { return false }
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ").compactMap { UInt64($0) }
            if fields.count == 3, UInt64(number) >= fields[0], UInt64(number) - fields[0] < fields[2] { return true }
        }
        return false
    }
}
