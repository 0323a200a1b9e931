import Glibc
import Platform
import SystemPackage

/// An NBD server that a test starts, kills and starts again, on a Unix socket.
public final class NBDServer: Sendable {
    /// Why there is no nbdkit here, or nil.
    public static let nbdkitObstacle = obstacle("nbdkit")
    /// Why there is no qemu-nbd here, or nil.
    public static let qemuObstacle = obstacle("qemu-nbd")

    private static func obstacle(_ name: String) -> String? {
        SystemCall.exists("/usr/bin/\(name)") ? nil : "/usr/bin/\(name) is not installed"
    }

    /// The path of the socket, or of where it would be.
    public let socket: String
    private let keeper: ChildProcess
    /// To the keeper and from it.
    private let commands: SharedDescriptor
    private let answers: SharedDescriptor

    /// Starts and kills the server on command, one line each. A process that this one starts closes copies of all that is open here,
    /// files of a mount among them, and that waits for the mount's disk: so the keeper is made before there is a mount.
    private static let script = """
        while read -r command; do
            case $command in
            start)
                rm -f "$SOCKET" "$SOCKET.pid"
                "$@" </dev/null >/dev/null &
                server=$!
                while [ ! -s "$SOCKET.pid" ] && kill -0 $server 2>/dev/null; do sleep 0.01; done
                if [ -s "$SOCKET.pid" ]; then echo ready; else echo ended; fi
                ;;
            STOP)
                kill -s STOP $server
                # Its threads stop one after another: those that haven't yet may still answer.
                while cat /proc/$server/task/*/stat | grep -qv '^[0-9]* (.*) T '; do sleep 0.001; done
                echo ready
                ;;
            *)
                kill -s "$command" $server
                [ "$command" = KILL ] && wait $server 2>/dev/null
                echo ready
                ;;
            esac
        done
        kill -s KILL $server
        """

    /// nbdkit with what comes after its socket: `["file", "disk.img"]`.
    public static func nbdkit(socket: String, _ arguments: [String]) throws -> NBDServer {
        try NBDServer(
            "/usr/bin/nbdkit", socket: socket,
            ["--foreground", "--unix", socket, "--pidfile", "\(socket).pid"] + arguments)
    }

    /// nbdkit on a TCP port of this machine that is free.
    ///
    /// - Parameter place: the path of a file beside which it keeps its own.
    public static func nbdkitOverTCP(place: String, _ arguments: [String]) throws -> (server: NBDServer, port: UInt16) {
        while true {
            let port = UInt16.random(in: 20000...60000)
            let own = ["--foreground", "--ipaddr", "127.0.0.1", "--port", "\(port)", "--pidfile", "\(place).pid"]
            do {
                return (try NBDServer("/usr/bin/nbdkit", socket: place, own + arguments), port)
            } catch is ServerEnded {
                // Somebody has the port.
            }
        }
    }

    /// qemu-nbd, for several clients, with the image and options.
    public static func qemu(socket: String, _ arguments: [String]) throws -> NBDServer {
        try NBDServer(
            "/usr/bin/qemu-nbd", socket: socket,
            ["--persistent", "--shared=8", "--socket", socket, "--pid-file", "\(socket).pid"] + arguments)
    }

    private init(_ program: String, socket: String, _ arguments: [String]) throws {
        self.socket = socket
        let shell = try SystemCall.openPath("/bin/sh")
        let input = try SystemCall.pipe()
        let output = try SystemCall.pipe()
        keeper = try ProcessPlan(
            executable: shell.rawValue, arguments: ["/bin/sh", "-c", Self.script, "keeper", program] + arguments,
            environment: ["PATH=/usr/bin:/bin", "HOME=/nonexistent", "SOCKET=\(socket)"],
            descriptors: [input.reading.rawValue, output.writing.rawValue, 2]
        ).run()
        commands = input.writing
        answers = output.reading
        try start()
    }

    deinit {
        try? ask("KILL")
        try? keeper.send(signal: SIGKILL)
        _ = try? keeper.waitForEnd()
    }

    private func ask(_ command: String) throws {
        try SystemCall.write(text: "\(command)\n", to: commands.rawValue)
        let answer = try SystemCall.receiveSome(answers.rawValue) ?? []
        guard answer == Array("ready\n".utf8) else { throw ServerEnded() }
    }

    /// Starts it, and waits until it listens.
    public func start() throws { try ask("start") }

    /// Kills it with SIGKILL, and waits until it is gone.
    public func kill() { try? ask("KILL") }

    /// Has it stop where it is; waits until it has.
    public func stop() throws { try ask("STOP") }

    /// It didn't stay.
    public struct ServerEnded: Error {}
}
