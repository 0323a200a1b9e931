import Glibc
import Platform
import Sandbox
import SystemPackage
import Testing

@testable import Supervisor

/// A supervisor's process with fake schemes, its control socket and its log.
final class FakeSystem {
    let process: ChildProcess
    let client: ControlClient
    let socketPath: String
    private let folder: String

    static func program(_ name: String) throws -> String {
        let own = try SystemCall.readLink("/proc/self/exe")
        return own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/"
            + name
    }

    static func scheme(_ name: String, _ behaviour: String = "serve", uses: [String] = []) throws -> MemberConfiguration
    {
        var member = MemberConfiguration(
            name: name, executablePath: try program("fake-scheme"), manifest: .plain(name), uses: uses)
        member.settings = [("behaviour", behaviour)]
        return member
    }

    init(
        _ schemes: [MemberConfiguration], _ change: (inout SupervisorConfiguration) -> Void = { _ in }
    ) throws {
        folder = "/tmp/saltbridge-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        _ = unsafe mkdir(folder, 0o700)
        socketPath = "\(folder)/control.sock"
        var configuration = SupervisorConfiguration(schemes: schemes)
        configuration.controlSocketPath = socketPath
        change(&configuration)
        let log = try SystemCall.open("\(folder)/log", O_CREAT | O_WRONLY | O_APPEND, mode: 0o600)
        var launch = SupervisorLaunch(program: try Self.program("saltbridge-supervisor"))
        launch.log = SharedDescriptor(log)
        do {
            process = try launch.start(configuration)
            client = try ControlClient(path: socketPath)
        } catch {
            // An object that was never made has no end that cleans up.
            Self.remove(folder)
            throw error
        }
    }

    deinit {
        try? process.send(signal: SIGKILL)
        _ = try? process.waitForEnd()
        Self.remove(folder)
    }

    private static func remove(_ folder: String) {
        for name in (try? SystemCall.directoryNames(folder)) ?? [] { _ = unsafe unlink("\(folder)/\(name)") }
        _ = unsafe rmdir(folder)
    }

    func ask(_ members: KeyValuePairs<String, ControlJSON>) throws -> ControlJSON { try client.ask(.make(members)) }

    func state(_ name: String) throws -> ControlJSON {
        let status = try ask(["command": "status"])
        return try #require(status["status"]?["processes"]?.array.first { $0["name"] == .string(name) })
    }

    func pid(_ name: String) throws -> Int32 { Int32(try #require(try state(name)["pid"]?.integer)) }

    /// Asks again and again until the state is as wished; the test's own patience is without limit.
    func wait(_ name: String, until isWished: (ControlJSON) -> Bool) throws -> ControlJSON {
        while true {
            let state = try state(name)
            if isWished(state) { return state }
            usleep(5000)
        }
    }

    func log() throws -> String { try SystemCall.smallFile("\(folder)/log") }
}

extension ControlJSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    /// A text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A number.
    public init(integerLiteral value: Int64) { self = .integer(value) }
}

@Suite struct SupervisorTests {
    /// Status, and so a report of a fault, has the paths that processes were configured with; a password that looks like one isn't among them.
    @Test func statusShowsNoPasswords() {
        let settings = [("disk", "/images/disk.img"), ("password", "/hunter2"), ("size", "64x48")]
        #expect(Supervisor.paths(in: settings.map { (key: $0.0, value: $0.1) }) == ["/images/disk.img"])
    }

    @Test func startsInTheOrderOfUse() throws {
        let system = try FakeSystem([
            FakeSystem.scheme("file", uses: ["disk"]), FakeSystem.scheme("disk"), FakeSystem.scheme("pipe"),
        ])
        for name in ["disk", "file", "pipe"] {
            let state = try system.state(name)
            #expect(state["state"] == "serving")
            #expect(state["incarnation"] == 1)
            #expect(state["sandbox"]?["seccomp_filters"] == 2)
            #expect(state["sandbox"]?["no_capabilities"] == .bool(true))
        }
        #expect(try system.pid("disk") < system.pid("file"))
    }

    @Test(arguments: ["kill", "exit", "hang", "self"])
    func recoversFromDeath(how: String) throws {
        let system = try FakeSystem([FakeSystem.scheme("file"), FakeSystem.scheme("other")])
        let before = try system.pid("file")
        let other = try system.pid("other")
        switch how {
        case "kill":
            kill(before, SIGKILL)
            _ = try system.wait("file") { $0["incarnation"] == 2 && $0["state"] == "serving" }
        case "self": _ = try system.ask(["command": "crash", "scheme": "file", "how": "exit"])
        case "hang":
            let answer = try system.ask(["command": "crash", "scheme": "file", "how": "hang"])
            let detected = try #require(answer["timeline"]?["detected_us"]?.integer)
            // By the limit for stopped processes, not by the one for requests that hang, thirty seconds.
            #expect(detected < 10_000_000)
        default: _ = try system.ask(["command": "crash", "scheme": "file", "signal": 9])
        }
        let state = try system.state("file")
        #expect(state["state"] == "serving")
        #expect(state["incarnation"] == 2)
        #expect(try system.pid("file") != before)
        #expect(try system.pid("other") == other)
    }

    @Test func keepsDescriptorsForTheNextIncarnation() throws {
        var scheme = try FakeSystem.scheme("file")
        scheme.descriptors = [("image", SharedDescriptor(try SharedMemory.create(name: "image", byteCount: 4096)))]
        let system = try FakeSystem([scheme])
        #expect(try system.ask(["command": "get", "scheme": "file"])["fields"]?["descriptors"] == "image")
        _ = try system.ask(["command": "set", "scheme": "file", "fields": .make(["crash": "hold"])])
        _ = try system.ask(["command": "crash", "scheme": "file"])
        let fields = try system.ask(["command": "get", "scheme": "file"])["fields"]
        #expect(fields?["descriptors"] == "diary,image")
        #expect(fields?["incarnation"] == "2")
    }

    /// Who looks for mounts removes sockets that nobody listens on: not those of a supervisor that is just starting.
    @Test func startingControlSocketsAreLeftAlone() throws {
        let folder = "/tmp/saltbridge-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        _ = unsafe mkdir(folder, 0o700)
        defer { _ = unsafe rmdir(folder) }
        let isOver = Locked(false)
        let looker = try spawnThread(name: "looker") {
            while !isOver.withLock({ $0 }) { _ = ControlDirectory.sockets(in: folder) }
        }
        var lost = 0
        for number in 0..<3000 {
            let path = "\(folder)/\(number).sock"
            let server = try ControlServer(path: path)
            if unsafe access(path, F_OK) != 0 { lost += 1 }
            server.close()
        }
        isOver.withLock { $0 = true }
        looker.join()
        #expect(lost == 0)
    }

    /// Who asks for a caller of a socket that isn't held hears so.
    @Test func callersOfUnknownSocketsAreRefused() throws {
        let system = try FakeSystem([FakeSystem.scheme("file", "accept-nobody")])
        while true {
            let fields = try system.ask(["command": "get", "scheme": "file"])["fields"]
            guard let code = fields?["accepted"] else { continue }
            #expect(code == .string("\(EBADF)"))
            break
        }
    }

    @Test func schemeThatDiesAgainAndAgainGoesOffline() throws {
        let system = try FakeSystem([FakeSystem.scheme("file", "die-soon"), FakeSystem.scheme("other")]) {
            $0.policy.deathLimit = 6
            $0.policy.freeDeaths = 2
            $0.policy.firstDelay = 1_000_000
        }
        let state = try system.wait("file") { $0["state"] == "offline" }
        #expect(state["incarnation"] == 6)
        #expect(try system.state("other")["incarnation"] == 1)
        // By hand it is started again, with its chances restored.
        #expect(throws: ControlClientError.self) { try system.ask(["command": "crash", "scheme": "file"]) }
        _ = try? system.ask(["command": "restart", "scheme": "file"])
        let later = try system.wait("file") { $0["state"] == "offline" && $0["incarnation"] != 6 }
        #expect(later["incarnation"]?.integer ?? 0 > 7)
    }

    @Test(arguments: [("exit-at-start", "file"), ("refuse", "the test wants it so"), ("unfiltered", "strict")])
    func startThatFailsIsReported(behaviour: String, reason: String) throws {
        do {
            _ = try FakeSystem([FakeSystem.scheme("file", behaviour)]) {
                $0.policy.failedStartLimit = 3
                $0.policy.firstDelay = 1_000_000
            }
            Issue.record("it started")
        } catch let error as LaunchError {
            #expect("\(error)".contains(reason), "\(error)")
        }
    }

    /// What isn't essential goes offline alone.
    @Test(arguments: ["exit-at-start", "refuse", "unfiltered"])
    func othersStartAllTheSame(behaviour: String) throws {
        var scheme = try FakeSystem.scheme("pipe", behaviour)
        scheme.isEssential = false
        let system = try FakeSystem([FakeSystem.scheme("file"), scheme]) {
            $0.policy.failedStartLimit = 3
            $0.policy.firstDelay = 1_000_000
        }
        _ = try system.wait("pipe") { $0["state"] == "offline" }
        #expect(try system.state("file")["incarnation"] == 1)
    }

    @Test func programThatIsMissingIsNamed() throws {
        var scheme = try FakeSystem.scheme("file")
        scheme.executablePath = "/nowhere/scheme-file"
        #expect(throws: LaunchError.self) { try FakeSystem([scheme]) }
    }

    @Test func restartAndUpgradeReplaceTheProcess() throws {
        let system = try FakeSystem([FakeSystem.scheme("disk"), FakeSystem.scheme("file", uses: ["disk"])])
        _ = try system.ask(["command": "restart", "scheme": "file"])
        #expect(try system.state("file")["incarnation"] == 2)
        #expect(try system.state("disk")["incarnation"] == 1)
        _ = try system.ask(["command": "upgrade"])
        #expect(try system.state("file")["incarnation"] == 3)
        #expect(try system.state("disk")["incarnation"] == 2)
        #expect(try system.state("file")["deaths"] == 0)
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func endsInGoodOrderAndLeavesNothing(signal: Int32) throws {
        let system = try FakeSystem([FakeSystem.scheme("disk"), FakeSystem.scheme("file", uses: ["disk"])])
        let pids = [try system.pid("disk"), try system.pid("file")]
        try system.process.send(signal: signal)
        #expect(try system.process.waitForEnd() == .exited(0))
        for pid in pids { #expect(kill(pid, 0) != 0) }
        #expect(!SystemCall.exists(system.socketPath))
        #expect(try system.log().contains("everything has ended"))
    }

    @Test func stopCommandAnswersWhenAllIsOver() throws {
        let system = try FakeSystem([FakeSystem.scheme("disk")])
        let pid = try system.pid("disk")
        _ = try system.ask(["command": "stop"])
        #expect(kill(pid, 0) != 0)
        #expect(try system.process.waitForEnd() == .exited(0))
    }

    @Test func processThatDoesNotFinishIsKilled() throws {
        let system = try FakeSystem([FakeSystem.scheme("file", "ignore-finish")]) { $0.limits.finish = 50_000_000 }
        _ = try system.ask(["command": "stop"])
        #expect(try system.process.waitForEnd() == .exited(0))
    }

    @Test func childrenDieWithTheSupervisor() throws {
        let system = try FakeSystem([FakeSystem.scheme("disk"), FakeSystem.scheme("file")])
        let pids = [try system.pid("disk"), try system.pid("file")]
        try system.process.send(signal: SIGKILL)
        _ = try system.process.waitForEnd()
        for pid in pids { while kill(pid, 0) == 0 { usleep(1000) } }
    }

    @Test func nonsenseOnTheControlSocketIsRefused() throws {
        let system = try FakeSystem([FakeSystem.scheme("disk")])
        for text in ["{\"command\":\"dance\"}", "{}", "[]", "{\"command\":\"crash\",\"scheme\":\"none\"}"] {
            #expect(throws: ControlClientError.self) { try system.client.ask(ControlJSON(parsing: text)) }
        }
        #expect(try system.state("disk")["state"] == "serving")
    }
}
