import Glibc
import Platform
import SystemPackage

/// Where the supervisors of a user have their control sockets: one entry per mount.
public enum ControlDirectory {
    /// `/run/saltbridge` for root, `$XDG_RUNTIME_DIR/saltbridge` for others, `/tmp/saltbridge-UID` without that variable.
    public static var path: String {
        if geteuid() == 0 { return "/run/saltbridge" }
        if let runtime = unsafe getenv("XDG_RUNTIME_DIR"), unsafe runtime.pointee != 0 {
            return unsafe "\(String(cString: runtime))/saltbridge"
        }
        return "/tmp/saltbridge-\(geteuid())"
    }

    /// Makes the directory if it isn't there, for its owner only.
    ///
    /// - Throws: EPERM if it belongs to somebody else.
    public static func make() throws(Errno) -> String {
        let path = path
        if unsafe mkdir(path, 0o700) != 0, errno != EEXIST { throw Errno(rawValue: errno) }
        let directory = try SystemCall.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        let status = try SystemCall.status(directory.rawValue)
        guard status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else { throw .notPermitted }
        return path
    }

    /// A name for the socket of a new mount.
    public static func newSocketPath() -> String {
        "\(path)/\(getpid())-\(String(Clock.monotonicNanoseconds(), radix: 36)).sock"
    }

    /// The log of the mount with this socket, unless another one was asked for. Removed when the mount ends in good order.
    public static func logPath(_ socketPath: String) -> String { "\(socketPath).log" }

    /// The sockets of all mounts of the caller. What nobody listens at any more is removed.
    public static func sockets() -> [String] { sockets(in: path) }

    static func sockets(in path: String) -> [String] {
        let names = ((try? SystemCall.directoryNames(path)) ?? []).sorted()
        return names.compactMap { name in
            guard name.hasSuffix(ControlServer.suffix) else { return nil }
            let socket = "\(path)/\(name)"
            do throws(Errno) {
                _ = try SystemCall.connect(toPath: socket)
                return socket
            } catch {
                if error == .connectionRefused { _ = unsafe unlink(socket) }
                return nil
            }
        }
    }
}
