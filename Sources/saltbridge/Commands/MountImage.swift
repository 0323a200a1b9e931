import ArgumentParser
import Glibc
import ImageTools
import Platform
import Supervisor
import SystemPackage

struct MountImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount",
        abstract: "Mount an image.",
        discussion: """
            Each scheme has a directory under MOUNTPOINT: file, disk, pipe, sys, ... With --root file the files of the image \
            are at MOUNTPOINT itself. The command returns when the mount answers; `saltbridge unmount` ends it.

            Options of -o: root=SCHEME, also=NAME=IMAGE, generation=N, overlay=FILE, password-file=FILE, those of mount(8) \
            (ro, nosuid, nodev, noexec, noatime, allow_other, ...), and settings of single processes \
            (file.cache-bytes=67108864; network.ca=FILE: whose certificates network/tls trusts; network.netcfg=write: its name \
            servers can be changed). --overlay spares IMAGE alone, not the images of --also.

            display.vnc=ADDRESS and display.web=ADDRESS show displays to VNC viewers and browsers: an address in numbers with a \
            port, or the path of a Unix socket; one that other machines reach only with display.password-file=FILE.

            IMAGE can be a disk that an NBD server exports: nbd://HOST[:PORT][/EXPORT], or \
            nbd+unix:///[EXPORT]?socket=PATH. When the server is away, applications wait for disk.patience seconds (60), \
            then get EIO until it is back; an answer may take disk.answer seconds (30). disk.connections (4) are used if the \
            server allows several.
            """)

    @Argument(
        help: "Image file, block device, NBD address, or partition of one (disk.img#2).", completion: .file())
    var image: String

    @Argument(help: "An empty directory.", completion: .directory)
    var mountpoint: String

    @Option(help: ArgumentHelp("Put one scheme at the mount point itself.", valueName: "scheme"))
    var root: String?

    @Option(
        help: ArgumentHelp(
            "Mount one more image, as the scheme file.NAME; may be repeated.", valueName: "name=image"))
    var also: [String] = []

    @Flag(help: "Never write to the image.")
    var readOnly = false

    @OptionGroup var overlay: OverlayOptions

    @Option(help: "Show this older generation (see history); read-only.")
    var generation: UInt64?

    @Option(name: [.customShort("o"), .customLong("options")], help: "Options, separated by commas; may be repeated.")
    var options: [String] = []

    @Flag(help: "Stay until the mount ends, and print the log.")
    var foreground = false

    @Option(
        help: ArgumentHelp(
            "Read the password from the first line of FILE (/dev/stdin too) instead of asking on the terminal.",
            valueName: "file"), completion: .file())
    var passwordFile: String?

    @Option(
        help: ArgumentHelp(
            "Append the log to FILE; without, it lies beside the control socket for as long as the mount lives.",
            valueName: "file"), completion: .file())
    var log: String?

    @Option(
        help: ArgumentHelp(
            "Let the network scheme talk only to ADDRESS[/BITS][:PORT[-PORT]]; may be repeated.", valueName: "rule"))
    var networkAllow: [String] = []

    @Option(
        help: ArgumentHelp(
            "Never let the network scheme talk to ADDRESS[/BITS][:PORT[-PORT]]; may be repeated.", valueName: "rule"))
    var networkDeny: [String] = []

    @Flag(help: "Mount without the network scheme.")
    var noNetwork = false

    func run() throws {
        var plan = MountPlan(image: image, mountpoint: mountpoint)
        plan.networkAllow = networkAllow
        plan.networkDeny = networkDeny
        plan.hasNetwork = !noNetwork
        plan.root = root
        plan.isReadOnly = readOnly
        plan.overlay = overlay.overlay
        plan.generation = generation
        plan.passwordFile = passwordFile
        for other in also { try plan.take(other: other) }
        for list in options {
            for option in list.split(separator: ",") { try plan.take(option: String(option)) }
        }
        try Mounter(isForeground: foreground, logPath: log).mount(plan)
    }
}

/// Starts the supervisor of a mount.
struct Mounter {
    var isForeground = false
    var logPath: String?

    func mount(_ plan: MountPlan) throws(ToolFailure) {
        var configuration = try plan.configuration()
        var launch = SupervisorLaunch(program: try ProgramLocator.require("saltbridge-supervisor"))
        launch.newSession = !isForeground
        do throws(Errno) {
            _ = try ControlDirectory.make()
        } catch {
            throw ToolFailure("cannot prepare the mount: \(ControlDirectory.path): \(error)")
        }
        let socketPath = ControlDirectory.newSocketPath()
        configuration.controlSocketPath = socketPath
        if logPath != nil || !isForeground {
            let path = logPath ?? ControlDirectory.logPath(socketPath)
            do throws(Errno) {
                launch.log = SharedDescriptor(try SystemCall.open(path, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600))
            } catch {
                throw ToolFailure("cannot write the log: \(path): \(error)")
            }
        }
        do throws(LaunchError) {
            let process = try launch.start(configuration)
            if let request = configuration.mount {
                MountTable.add(source: request.source, mountpoint: request.mountpoint)
            }
            if isForeground { try wait(for: process) }
        } catch {
            if logPath == nil, let path = configuration.controlSocketPath {
                _ = unsafe unlink(ControlDirectory.logPath(path))
            }
            throw ToolFailure("cannot mount \(plan.image): \(error)")
        }
    }

    /// Stays until the supervisor ends; signals of the terminal reach it by themselves, others are passed on.
    private func wait(for process: borrowing ChildProcess) throws(LaunchError) {
        do throws(Errno) {
            let signals = try SignalDescriptor([SIGTERM, SIGINT, SIGHUP])
            let poll = try EventPoll()
            try poll.add(signals.descriptor.rawValue, .readable, token: 1)
            try poll.add(process.descriptor.rawValue, .readable, token: 2)
            while true {
                for event in try poll.wait(milliseconds: -1) {
                    if event.token == 1 {
                        while let signal = try signals.next() { try process.send(signal: signal) }
                    } else if let change = try process.nextChange(), case .ended(let end) = change {
                        if end == .exited(0) { return }
                        throw Errno.ioError
                    }
                }
            }
        } catch {
            throw .refused("the supervisor ended with a fault; see the log")
        }
    }
}
