import CLinux
import Glibc
import SystemPackage

/// Where a stream socket can be connected to.
public enum SocketEndpoint: Sendable, Hashable {
    /// The absolute path of a Unix socket.
    case unix(path: String)
    /// TCP at an address.
    case internet(SocketAddress)

    /// `unix:/path`, `tcp:127.0.0.1:80`, `tcp:[::1]:80`.
    public var text: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .internet(let address): "tcp:\(address)"
        }
    }

    /// From the text; nil if it is none.
    public init?(text: String) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        switch parts[0] {
        case "unix":
            guard parts[1].hasPrefix("/") else { return nil }
            self = .unix(path: String(parts[1]))
        case "tcp":
            guard let place = try? HostAndPort(parts[1]), let port = place.port,
                let address = SocketAddress(numeric: place.host, port: port)
            else { return nil }
            self = .internet(address)
        default: return nil
        }
    }
}

extension SystemCall {
    /// A socket that connects to the endpoint. It doesn't block, and nor does this: a TCP socket is writable when the connection
    /// is decided, and `socketError` says how. EAGAIN: more callers wait there than may.
    public static func beginConnection(to endpoint: SocketEndpoint) throws(Errno) -> SharedDescriptor {
        switch endpoint {
        case .unix(let path):
            return SharedDescriptor(adopting: try retrying { unsafe clinux_begin_connect_unix(path) })
        case .internet(let address):
            let socket = try socket(.stream, isIPv6: address.isIPv6)
            try setSocketOption(socket.rawValue, level: Int32(IPPROTO_TCP), name: TCP_NODELAY, value: 1)
            try setSocketOption(socket.rawValue, level: SOL_SOCKET, name: SO_KEEPALIVE, value: 1)
            try connect(socket.rawValue, to: address)
            return socket
        }
    }
}
