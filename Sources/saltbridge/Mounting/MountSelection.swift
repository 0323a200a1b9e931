import ArgumentParser
import ImageTools
import Supervisor

/// A running mount of the caller.
struct RunningMount {
    let socketPath: String
    let client: ControlClient
    let status: ControlJSON

    /// Where it is mounted.
    var mountpoint: String { status["mountpoint"]?.string ?? "" }
    /// Whether the image was opened only to be read.
    var isReadOnly: Bool { status["read_only"]?.bool ?? false }
    /// The supervisor's process number.
    var processNumber: Int32 { Int32(clamping: status["pid"]?.integer ?? 0) }

    /// All of the caller.
    static func all() -> [RunningMount] {
        ControlDirectory.sockets().compactMap { path in
            do throws(ControlClientError) {
                let client = try ControlClient(path: path)
                let answer = try client.ask(.make(["command": .string("status")]))
                return RunningMount(socketPath: path, client: client, status: answer["status"] ?? .null)
            } catch {
                // It ended meanwhile.
                return nil
            }
        }
    }

    /// Sends a command and waits for the answer.
    func ask(_ request: ControlJSON) throws(ToolFailure) -> ControlJSON {
        do throws(ControlClientError) {
            return try client.ask(request)
        } catch {
            throw ToolFailure("\(mountpoint): \(error)")
        }
    }
}

/// Which mount a command is about.
struct MountSelection: ParsableArguments {
    @Option(name: .long, help: "The mount, by its mount point; needed if there are several.", completion: .directory)
    var mount: String?

    func select() throws(ToolFailure) -> RunningMount {
        let all = RunningMount.all()
        if let mount {
            let path = try MountPoint.canonical(mount)
            guard let found = all.first(where: { $0.mountpoint == path }) else {
                throw ToolFailure("\(mount) is no mount of yours")
            }
            return found
        }
        guard let first = all.first else { throw ToolFailure("nothing is mounted") }
        if all.count > 1 {
            throw ToolFailure(
                "there are several mounts",
                advice: "Say which one by --mount: \(all.map(\.mountpoint).joined(separator: ", "))")
        }
        return first
    }
}
