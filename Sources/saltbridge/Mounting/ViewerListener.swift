import Glibc
import ImageTools
import Platform
import SystemPackage

/// Listening sockets for who looks at displays, made before the display server has its sandbox.
enum ViewerListener {
    /// A socket for an address: the path of a Unix socket, or an address in numbers with a port (`ViewerAddress`).
    ///
    /// - Parameter hasPassword: whether viewers must know a password: only then others than this machine may connect.
    static func open(_ text: String, hasPassword: Bool) throws(ToolFailure) -> SharedDescriptor {
        guard let address = ViewerAddress(text) else {
            throw ToolFailure("\(text) is neither a socket's path nor ADDRESS:PORT with an address in numbers")
        }
        guard hasPassword || address.isLocal else {
            throw ToolFailure("\(text) can be reached from elsewhere: set display.password-file")
        }
        do throws(Errno) {
            switch address.place {
            case .path(let path): return try listen(atPath: path)
            case .internet(let place): return try listen(place)
            }
        } catch {
            throw ToolFailure("cannot listen on \(text): \(error)")
        }
    }

    /// The file of a socket stays when a supervisor is killed: where nobody listens any more, the new socket takes its place.
    private static func listen(atPath path: String) throws(Errno) -> SharedDescriptor {
        do throws(Errno) {
            return try SystemCall.listen(atPath: path)
        } catch {
            guard error == .addressInUse, isAbandoned(path) else { throw error }
        }
        _ = unsafe unlink(path)
        return try SystemCall.listen(atPath: path)
    }

    private static func isAbandoned(_ path: String) -> Bool {
        do throws(Errno) {
            // A connection to a plain file is refused, too.
            guard try SystemCall.statusAt(AT_FDCWD, path).st_mode & S_IFMT == S_IFSOCK else { return false }
            _ = try SystemCall.connect(toPath: path)
            return false
        } catch {
            return error == .connectionRefused
        }
    }

    private static func listen(_ place: SocketAddress) throws(Errno) -> SharedDescriptor {
        let socket = try SystemCall.socket(.stream, isIPv6: place.isIPv6)
        try SystemCall.setSocketOption(socket.rawValue, level: SOL_SOCKET, name: SO_REUSEADDR, value: 1)
        // Connections have this from their listener: a viewer whose machine is gone doesn't keep its place.
        try SystemCall.setSocketOption(socket.rawValue, level: SOL_SOCKET, name: SO_KEEPALIVE, value: 1)
        let tcp = Int32(IPPROTO_TCP)
        try SystemCall.setSocketOption(socket.rawValue, level: tcp, name: TCP_KEEPIDLE, value: 60)
        try SystemCall.setSocketOption(socket.rawValue, level: tcp, name: TCP_KEEPINTVL, value: 15)
        try SystemCall.setSocketOption(socket.rawValue, level: tcp, name: TCP_USER_TIMEOUT, value: 120_000)
        try SystemCall.bind(socket.rawValue, to: place)
        try SystemCall.listen(socket.rawValue, backlog: 16)
        return socket
    }
}
