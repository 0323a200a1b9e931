import Glibc
import Platform
import Sandbox
import Supervisor
import SystemPackage
import TestSupport
import Testing

let mountObstacle: Comment? = MountFolder.obstacle.map { Comment(rawValue: $0) }

/// Supervisor, router and display scheme as processes in their sandboxes, mounted in a temporary folder, with viewers' sockets.
final class MountedDisplay {
    private let place: MountFolder
    var folder: String { place.path }
    var root: String { place.root }
    let client: ControlClient
    private let process: ChildProcess

    /// - Parameters:
    ///   - size: of display 0.
    ///   - listeners: sockets for viewers in place of those in the folder.
    ///   - password: what viewers must know.
    init(size: String = "320x200", listeners: [String: SharedDescriptor] = [:], password: String? = nil) throws {
        let place = try MountFolder("display")
        let (folder, root) = (place.path, place.root)
        self.place = place
        var display = MemberConfiguration(
            name: "display", executablePath: try MountFolder.program("scheme-display"), manifest: .display)
        display.settings = [("size", size)]
        if let password { display.settings.append(("password", password)) }
        for kind in ["vnc", "web"] {
            display.descriptors.append(
                (kind, try listeners[kind] ?? SystemCall.listen(atPath: "\(folder)/\(kind)")))
        }
        var router = MemberConfiguration(
            name: "router", executablePath: try MountFolder.program("saltbridge-router"), manifest: .router)
        router.settings = [("root", "display")]
        var configuration = SupervisorConfiguration(schemes: [display])
        configuration.router = router
        configuration.mount = MountRequest(mountpoint: root, source: "display")
        configuration.controlSocketPath = "\(folder)/control"
        configuration.policy.freeDeaths = 1_000_000
        configuration.policy.deathLimit = 1_000_000
        configuration.policy.failedStartLimit = 1_000_000
        // A loaded machine keeps a server from its requests for long; that is not what these tests look for.
        configuration.limits.idle = 60_000_000_000
        var launch = SupervisorLaunch(program: try MountFolder.program("saltbridge-supervisor"))
        launch.log = SharedDescriptor(try SystemCall.open("\(folder)/log", O_CREAT | O_WRONLY | O_APPEND, mode: 0o600))
        process = try launch.start(configuration)
        client = try ControlClient(path: "\(folder)/control")
    }

    /// Kills the display server.
    func kill() throws { try Self.kill(client) }

    /// Kills the display server that a supervisor has at the moment.
    static func kill(_ client: ControlClient) throws {
        let status = try client.ask(.make(["command": .string("status")]))
        let found = status["status"]?["processes"]?.array.first { $0["name"]?.string == "display" }
        if let pid = found?["pid"]?.integer.flatMap({ Int32(exactly: $0) }), pid > 1 { _ = Glibc.kill(pid, SIGKILL) }
    }

    func open(_ path: String, _ flags: Int32 = O_RDWR) throws -> OwnedDescriptor {
        try SystemCall.open("\(root)/\(path)", flags)
    }

    func write(_ path: String, _ text: String) throws {
        let file = try open(path, O_WRONLY | O_TRUNC)
        try SystemCall.write(text: text, to: file.rawValue)
    }

    func size(_ path: String) throws -> Int {
        var status = stat()
        guard unsafe stat("\(root)/\(path)", &status) == 0 else { throw Errno(rawValue: errno) }
        return Int(status.st_size)
    }

    func contents(_ path: String) throws -> [UInt8] {
        let file = try open(path, O_RDONLY)
        return try SystemCall.readToEnd(file.rawValue, limit: 1 << 24)
    }

    /// Whether something that needs no request of ours comes true while the server answers many: what never comes is a failure, however
    /// slow the machine is, and not waited for without end.
    func comesTrue(_ isTrue: () throws -> Bool) throws -> Bool {
        for _ in 0..<20_000 {
            if try isTrue() { return true }
            // Throws if the server is given up.
            _ = try contents("0/size")
            sched_yield()
        }
        return try isTrue()
    }

    func picture(_ display: Int = 0) throws -> [UInt32] { try decodePNG(try contents("\(display)/screen.png")).pixels }

    deinit { place.remove(ending: process) }
}
