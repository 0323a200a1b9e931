import BlockDevice
import DiskFormat
import Glibc
import Platform
import RedoxFS
import Sandbox
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// Why mounts can't be tested here, or nil.
let mountObstacle: Comment? = MountFolder.obstacle.map { Comment(rawValue: $0) }

/// Why the deaths of routers can't be tested here, or nil.
let routerObstacle: Comment? = LinuxKernel.routerObstacle.map { Comment(rawValue: $0) }

/// A whole system on an image of its own: supervisor, router, disk and file as processes in their sandboxes, mounted in a
/// temporary folder.
final class MountedSystem {
    private let place: MountFolder
    var folder: String { place.path }
    var root: String { place.root }
    let image: String
    let client: ControlClient
    private let process: ChildProcess

    /// - Parameters:
    ///   - faults: what the router leaves out (its setting `faults`).
    ///   - change: the last word on the configuration.
    init(
        byteCount: UInt64 = 1 << 30, faults: String = "", _ change: (inout SupervisorConfiguration) -> Void = { _ in }
    ) throws {
        let place = try MountFolder("system")
        let (folder, root) = (place.path, place.root)
        self.place = place
        image = "\(folder)/image"
        try Self.format(image, byteCount)
        let descriptor = SharedDescriptor(try SystemCall.open(image, O_RDWR))
        var disk = MemberConfiguration(
            name: "disk", executablePath: try MountFolder.program("scheme-disk"), manifest: .disk)
        disk.descriptors = [("image", descriptor)]
        disk.settings = [("name", image)]
        disk.isVisible = false
        let file = MemberConfiguration(
            name: "file", executablePath: try MountFolder.program("scheme-file"), manifest: .file, uses: ["disk"])
        var router = MemberConfiguration(
            name: "router", executablePath: try MountFolder.program("saltbridge-router"), manifest: .router)
        router.settings = [("root", "file")] + (faults.isEmpty ? [] : [("faults", faults)])
        var configuration = SupervisorConfiguration(schemes: [disk, file])
        configuration.router = router
        configuration.mount = MountRequest(mountpoint: root, source: image)
        configuration.controlSocketPath = "\(folder)/control"
        // Tests kill more often than a faulty server should be started again.
        configuration.policy.freeDeaths = 1_000_000
        configuration.policy.deathLimit = 1_000_000
        configuration.policy.failedStartLimit = 1_000_000
        // A loaded machine keeps a server from its requests for long; that is not what these tests look for.
        configuration.limits.idle = 60_000_000_000
        change(&configuration)
        var launch = SupervisorLaunch(program: try MountFolder.program("saltbridge-supervisor"))
        launch.log = SharedDescriptor(try SystemCall.open("\(folder)/log", O_CREAT | O_WRONLY | O_APPEND, mode: 0o600))
        process = try launch.start(configuration)
        client = try ControlClient(path: "\(folder)/control")
    }

    private static func format(_ path: String, _ byteCount: UInt64) throws {
        let device = try FileDevice(creating: path, byteCount: byteCount)
        var options = FormatOptions(
            uuid: Bytes16(low: .random(in: 0 ... .max), high: .random(in: 0 ... .max)),
            time: Timespec(seconds: 1_700_000_000))
        options.rootMode = 0o755
        try FileSystem.format(device, options)
    }

    /// The supervisor's log.
    var log: String { (try? SystemCall.smallFile("\(folder)/log")) ?? "" }

    private func process(_ name: String) throws -> ControlJSON? {
        let status = try client.ask(.make(["command": .string("status")]))
        return status["status"]?["processes"]?.array.first { $0["name"]?.string == name }
    }

    /// The number of a process.
    func pid(_ name: String) throws -> Int32? { try Self.pid(name, client) }

    /// The number of a process, asked over a connection of the caller's own.
    ///
    /// - Parameter isServing: nil unless it serves.
    static func pid(_ name: String, _ client: ControlClient, isServing: Bool = false) throws -> Int32? {
        let status = try client.ask(.make(["command": .string("status")]))
        let found = status["status"]?["processes"]?.array.first {
            $0["name"]?.string == name && (!isServing || $0["state"]?.string == "serving")
        }
        return found?["pid"]?.integer.flatMap { Int32(exactly: $0) }
    }

    /// Which start of a process is the last.
    func incarnation(_ name: String) throws -> UInt64 {
        try process(name)?["incarnation"]?.integer.flatMap { UInt64(exactly: $0) } ?? 0
    }

    /// Unmounts; returns the image's path, to be checked.
    func end() throws {
        // As in `ToolMount.unmount`: busy for a moment if another test is just starting a process.
        var tries = 0
        while unsafe umount2(root, 0) != 0 {
            guard errno == EBUSY, tries < 200 else { throw Errno(rawValue: errno) }
            tries += 1
            usleep(20_000)
        }
        _ = try process.waitForEnd()
    }

    deinit { place.remove(ending: process) }
}
