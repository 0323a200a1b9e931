import Glibc
import Platform
import SystemPackage

// The supervisor is a process of its own. Its descriptors:
//
//     0      /dev/null      1, 2   the log
//     3      the configuration, JSON, to the end
//     4      written once: {"ok":true} when everything serves, or {"ok":false,"error":"..."}; closed then
//     5 ...  the configuration's descriptors

/// The supervisor's program.
public enum SupervisorProgram {
    /// Its main function.
    public static func main() -> Never {
        let arguments = CommandLine.arguments
        if arguments.count == 3, arguments[1] == MountCleanup.argument { MountCleanup.main(mountpoint: arguments[2]) }
        var report: SharedDescriptor? = SharedDescriptor(adopting: 4)
        func tell(_ answer: ControlJSON) {
            if let report { try? SystemCall.write(text: "\(answer.text)\n", to: report.rawValue) }
            report = nil
        }
        raiseLimits()
        raisePriority()
        do {
            let text = try SystemCall.text(of: SharedDescriptor(adopting: 3))
            let configuration = try SupervisorConfiguration(json: ControlJSON(parsing: text))
            let supervisor = try Supervisor(configuration, onReady: { tell(.make(["ok": .bool(true)])) })
            try supervisor.run()
            exit(0)
        } catch {
            Supervisor.logToStandardError("\(error)")
            tell(.make(["ok": .bool(false), "error": .string("\(error)")]))
            exit(1)
        }
    }
}

extension SupervisorProgram {
    /// Its processes inherit what they may lock in memory: a router whose pages are dropped at a bad moment costs an application
    /// an EIO. Only root can raise it beyond the hard limit; others take what they have.
    private static func raiseLimits() {
        let memoryLock = __rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue)
        for resource in [memoryLock, __rlimit_resource_t(RLIMIT_NOFILE.rawValue)] {
            var limit = rlimit()
            guard unsafe getrlimit(resource, &limit) == 0 else { continue }
            var unlimited = rlimit(rlim_cur: rlim_t.max, rlim_max: rlim_t.max)
            if resource == memoryLock, unsafe setrlimit(resource, &unlimited) == 0 { continue }
            limit.rlim_cur = limit.rlim_max
            _ = unsafe setrlimit(resource, &limit)
        }
    }
}

extension SupervisorProgram {
    /// It sleeps until something happens, and when a process has died, everybody waits for it: on a busy machine it goes before
    /// others, where it may. What it starts doesn't inherit that.
    private static func raisePriority() {
        var parameters = sched_param()
        let resetOnFork: Int32 = 0x4000_0000
        guard unsafe sched_setscheduler(0, SCHED_OTHER | resetOnFork, &parameters) == 0 else { return }
        _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, -10)
    }
}

extension SystemCall {
    /// All text from a descriptor's position on.
    fileprivate static func text(of descriptor: SharedDescriptor) throws(Errno) -> String {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = try retrying { unsafe Glibc.read(descriptor.rawValue, &buffer, buffer.count) }
            if count == 0 { return String(decoding: result, as: UTF8.self) }
            result += buffer[..<count]
        }
    }
}

/// Why a mount didn't come up.
public enum LaunchError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The supervisor's program can't be started.
    case program(path: String, String)
    /// A system call failed.
    case system(String, Errno)
    /// The supervisor gave up; the text is its reason.
    case refused(String)

    /// What happened.
    public var description: String {
        switch self {
        case .program(let path, let reason): "cannot start \(path): \(reason)"
        case .system(let what, let errno): "\(what): \(errno)"
        case .refused(let reason): reason
        }
    }
}

/// Starts supervisors.
public struct SupervisorLaunch: Sendable {
    /// The supervisor's program.
    public var program: String
    /// Where its log goes; nil: this process's standard error.
    public var log: SharedDescriptor?
    /// In a session of its own: it doesn't get the terminal's signals.
    public var newSession = true

    /// A launch of a program.
    public init(program: String) { self.program = program }

    /// Starts a supervisor and waits until everything serves.
    ///
    /// - Returns: its process; dropping the value doesn't end it.
    public func start(_ configuration: SupervisorConfiguration) throws(LaunchError) -> ChildProcess {
        var descriptors: [SharedDescriptor] = []
        let json = configuration.json { descriptor in
            if let index = descriptors.firstIndex(where: { $0 === descriptor }) { return 5 + index }
            descriptors.append(descriptor)
            return 4 + descriptors.count
        }
        let process: ChildProcess
        let report: SharedDescriptor
        do throws(Errno) {
            let text = try Self.memory(json.text)
            let null = try SystemCall.open("/dev/null", O_RDWR)
            let pipe = try SystemCall.pipe()
            // A descriptor closes with its last use, and a number is none.
            defer { withExtendedLifetime(pipe) {} }
            report = pipe.reading
            process = try run(
                [null.rawValue, log?.rawValue ?? 2, log?.rawValue ?? 2, text.rawValue, pipe.writing.rawValue]
                    + descriptors.map(\.rawValue))
        } catch {
            throw .program(path: program, "\(error)")
        }
        let answer = try Self.answer(report)
        if answer["ok"] == .bool(true) { return process }
        _ = try? process.waitForEnd()
        throw .refused(answer["error"]?.string ?? "the supervisor ended without a word")
    }

    private func run(_ descriptors: [Int32]) throws(Errno) -> ChildProcess {
        let executable = try SystemCall.openPath(program)
        var plan = ProcessPlan(
            executable: executable.rawValue, arguments: ["saltbridge-supervisor"],
            environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SWIFT_BACKTRACE=enable=no"], descriptors: descriptors)
        plan.newSession = newSession
        do throws(SpawnError) {
            return try plan.run()
        } catch {
            throw error.errno
        }
    }

    private static func memory(_ text: String) throws(Errno) -> OwnedDescriptor {
        let file = try SharedMemory.create(name: "saltbridge-configuration", byteCount: text.utf8.count)
        try SystemCall.write(text: text, to: file.rawValue)
        if lseek(file.rawValue, 0, SEEK_SET) != 0 { throw Errno(rawValue: errno) }
        return file
    }

    private static func answer(_ report: SharedDescriptor) throws(LaunchError) -> ControlJSON {
        do {
            let text = try SystemCall.text(of: report)
            return text.isEmpty ? .null : try ControlJSON(parsing: text)
        } catch {
            throw .refused("the supervisor's answer makes no sense: \(error)")
        }
    }
}
