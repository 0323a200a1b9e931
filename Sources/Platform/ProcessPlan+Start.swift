import CLinux
import Glibc
import SystemPackage

/// A process that was created and now goes through the steps of its start.
public struct StartingProcess: ~Copyable, Sendable {
    /// The process.
    public let process: ChildProcess
    /// Readable when the start has succeeded or failed: poll it, then call `finishStart`.
    public let status: OwnedDescriptor

    init(process: consuming ChildProcess, status: consuming OwnedDescriptor) {
        self.process = process
        self.status = status
    }

    /// Waits until the program runs, nil, or the start has failed: the reason. To be asked once.
    ///
    /// A child that was killed before it could report counts as running; its pidfd tells.
    public func waitForStart() -> SpawnError? {
        var report: [Int32] = [0, 0]
        let raw = status.rawValue
        let count: Int
        do {
            count = try SystemCall.retrying { unsafe Glibc.recv(raw, &report, 8, 0) }
        } catch {
            // A peer that vanishes with the go byte unread resets the connection: it died before its first step.
            count = error == .connectionReset ? 0 : -1
        }
        // Close-on-exec has closed the other end: the program runs.
        if count == 0 { return nil }
        let step = SpawnStep(rawValue: UInt32(bitPattern: report[0])) ?? .handshake
        return SpawnError(step, Errno(rawValue: count == 8 ? report[1] : EPROTO))
    }

    /// Waits until the program runs. When the start failed, reaps the process and throws the reason.
    public consuming func finishStart() throws(SpawnError) -> ChildProcess {
        guard let failure = waitForStart() else { return process }
        try? process.send(signal: SIGKILL)
        _ = try? process.waitForEnd()
        throw failure
    }
}

extension ProcessPlan {
    /// Creates the process and lets it go. Returns before its program runs.
    public func start() throws(SpawnError) -> StartingProcess {
        var sockets: [Int32] = [-1, -1]
        // Sequential packets: a report arrives whole, and the closed end reads as an end of file.
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, type, 0, &sockets) == 0 else { throw SpawnError(.handshake, currentErrno()) }
        let status = OwnedDescriptor(adopting: sockets[0])
        let childEnd = OwnedDescriptor(adopting: sockets[1])
        let process = try create(status: childEnd.rawValue, peer: status.rawValue)
        do throws(SpawnError) {
            if let identity { try identity.write(for: process.processID) }
            var go: UInt8 = 1
            let raw = status.rawValue
            do throws(Errno) {
                try SystemCall.retrying { unsafe Glibc.send(raw, &go, 1, Int32(MSG_NOSIGNAL)) }
            } catch {
                throw SpawnError(.handshake, error)
            }
        } catch {
            try? process.send(signal: SIGKILL)
            _ = try? process.waitForEnd()
            throw error
        }
        return StartingProcess(process: process, status: status)
    }

    /// Starts the process and waits until its program runs.
    public func run() throws(SpawnError) -> ChildProcess {
        try start().finishStart()
    }

    private func currentErrno() -> Errno { Errno(rawValue: errno) }

    private func create(status: Int32, peer: Int32) throws(SpawnError) -> ChildProcess {
        let texts = CStringArena()
        var plan = unsafe clinux_spawn_plan()
        unsafe plan.clone_flags = namespaces.rawValue
        unsafe plan.new_session = newSession ? 1 : 0
        if let root {
            let directories = Self.directories(for: root)
            unsafe plan.new_root = 1
            // A directory that exists wherever this works at all; it is hidden for a moment in the child's namespace only.
            unsafe plan.root_place = UnsafePointer(texts.add("/proc"))
            unsafe plan.root_options = UnsafePointer(texts.add("size=64k,nr_inodes=256,mode=0555"))
            unsafe plan.directories = texts.constantArray(directories)
            unsafe plan.directory_count = directories.count
            let binds = unsafe texts.allocate(clinux_spawn_bind.self, count: root.count)
            for (index, bind) in root.enumerated() {
                unsafe binds[index] = clinux_spawn_bind(
                    source: texts.add(bind.path), target: texts.add(Self.relative(bind.path)),
                    recursive: bind.isDirectory ? 1 : 0)
            }
            unsafe plan.binds = UnsafePointer(binds)
            unsafe plan.bind_count = root.count
        }
        if let identity {
            unsafe plan.set_ids = 1
            unsafe plan.clear_groups = identity.deniesSetgroups ? 0 : 1
            unsafe plan.uid = identity.inside
            unsafe plan.gid = identity.inside
        }
        let numbers = unsafe texts.allocate(Int32.self, count: descriptors.count)
        for (index, descriptor) in descriptors.enumerated() { unsafe numbers[index] = descriptor }
        unsafe plan.descriptors = UnsafePointer(numbers)
        unsafe plan.descriptor_count = descriptors.count
        unsafe plan.executable = executable
        unsafe plan.status = status
        unsafe plan.status_peer = peer
        let limitArray = unsafe texts.allocate(clinux_spawn_limit.self, count: limits.count)
        for (index, limit) in limits.enumerated() {
            unsafe limitArray[index] = clinux_spawn_limit(
                resource: limit.resource, soft: limit.soft, hard: limit.hard)
        }
        unsafe plan.limits = UnsafePointer(limitArray)
        unsafe plan.limit_count = limits.count
        unsafe plan.drop_capabilities = dropsCapabilities ? 1 : 0
        unsafe plan.no_new_privileges = refusesNewPrivileges ? 1 : 0
        unsafe plan.landlock = landlock ?? -1
        unsafe plan.death_signal = diesWithParent ? SIGKILL : 0
        if !filter.isEmpty {
            guard let count = UInt16(exactly: filter.count) else { throw SpawnError(.seccomp, Errno(rawValue: E2BIG)) }
            let program = unsafe texts.allocate(UInt64.self, count: filter.count)
            for (index, instruction) in filter.enumerated() { unsafe program[index] = instruction }
            unsafe plan.filter = UnsafeRawPointer(program)
            unsafe plan.filter_count = count
        }
        unsafe plan.arguments = UnsafePointer(texts.array(arguments))
        unsafe plan.environment = UnsafePointer(texts.array(environment))
        var descriptor: Int32 = -1
        let processID = unsafe clinux_spawn(&plan, &descriptor)
        guard processID > 0 else { throw SpawnError(.clone, currentErrno()) }
        return ChildProcess(processID: processID, descriptor: OwnedDescriptor(adopting: descriptor))
    }

    private static func relative(_ path: String) -> String {
        String(path.drop { $0 == "/" })
    }

    /// The directories to make for the binds, parents first.
    static func directories(for binds: [ReadOnlyBind]) -> [String] {
        var result: [String] = []
        for bind in binds {
            var parts = relative(bind.path).split(separator: "/")
            if !bind.isDirectory, !parts.isEmpty { parts.removeLast() }
            var path = ""
            for part in parts {
                path += path.isEmpty ? "\(part)" : "/\(part)"
                if !result.contains(path) { result.append(path) }
            }
        }
        return result
    }
}

extension IdentityMap {
    /// Writes the maps of a child that waits for it.
    func write(for processID: Int32) throws(SpawnError) {
        do throws(Errno) {
            if deniesSetgroups { try Self.put("deny", "/proc/\(processID)/setgroups") }
            try Self.put("\(inside) \(outsideGroup) 1", "/proc/\(processID)/gid_map")
        } catch {
            throw SpawnError(.groupID, error)
        }
        do throws(Errno) {
            try Self.put("\(inside) \(outsideUser) 1", "/proc/\(processID)/uid_map")
        } catch {
            throw SpawnError(.userID, error)
        }
    }

    private static func put(_ text: String, _ path: String) throws(Errno) {
        let file = try SystemCall.open(path, O_WRONLY)
        var bytes = Array(text.utf8)
        let raw = file.rawValue
        let count = try SystemCall.retrying { unsafe Glibc.write(raw, &bytes, bytes.count) }
        if count != bytes.count { throw .ioError }
    }
}

/// C strings and arrays that live as long as the arena: what a child finds in its copy of the memory.
@safe
private final class CStringArena {
    private var allocations: [UnsafeMutableRawPointer]

    init() { unsafe allocations = [] }

    deinit {
        unsafe allocations.forEach { unsafe $0.deallocate() }
    }

    func allocate<Element: BitwiseCopyable>(_ type: Element.Type, count: Int) -> UnsafeMutablePointer<Element> {
        let bytes = max(count, 1) * MemoryLayout<Element>.stride
        let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 16)
        unsafe raw.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        unsafe allocations.append(raw)
        return unsafe raw.bindMemory(to: type, capacity: max(count, 1))
    }

    func add(_ text: String) -> UnsafeMutablePointer<CChar> {
        let units = Array(text.utf8)
        let result = unsafe allocate(CChar.self, count: units.count + 1)
        for (index, unit) in units.enumerated() { unsafe result[index] = CChar(bitPattern: unit) }
        return unsafe result
    }

    func array(_ texts: [String]) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> {
        let result = unsafe allocate(UnsafeMutablePointer<CChar>?.self, count: texts.count + 1)
        for (index, text) in texts.enumerated() { unsafe result[index] = add(text) }
        return unsafe result
    }

    func constantArray(_ texts: [String]) -> UnsafePointer<UnsafePointer<CChar>?> {
        let result = unsafe allocate(UnsafePointer<CChar>?.self, count: texts.count + 1)
        for (index, text) in texts.enumerated() { unsafe result[index] = UnsafePointer(add(text)) }
        return unsafe UnsafePointer(result)
    }
}
