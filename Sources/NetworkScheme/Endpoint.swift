import Platform
import SystemPackage

/// A host and a port, as they stand in a path: `localhost:80`, `192.0.2.1:80`, `[::1]:80`; in `ctl` also `192.0.2.1!80`.
public struct Endpoint: Sendable, Equatable {
    /// A name or a numeric address; empty or `*` for any address (to listen).
    public let host: String
    /// The port; 0 for any (to listen).
    public let port: UInt16

    /// The longest host name (RFC 1035), with room for a scope.
    public static let longestHost = 255

    /// The endpoint in this text; nil if it is none.
    public init?(_ text: String) {
        var text = text
        if let mark = text.lastIndex(where: { $0 == ":" || $0 == "!" }), text[mark] == "!" {
            // Plan 9's: the host needs no brackets.
            let (host, port) = (text[..<mark], text[text.index(after: mark)...])
            text = host.contains(":") && !host.hasPrefix("[") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
        guard let parts = try? HostAndPort(text), let port = parts.port else { return nil }
        let host = parts.host
        if parts.isBracketed {
            guard SocketAddress(numeric: host, port: port)?.isIPv6 == true else { return nil }
        }
        guard host.utf8.count <= Self.longestHost, host.utf8.allSatisfy(Self.isAllowed) else { return nil }
        self.host = host
        self.port = port
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default:
            [
                UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "%"),
                UInt8(ascii: "*"),
            ].contains(byte)
        }
    }

    /// The address, if the host is numeric.
    public var numeric: SocketAddress? { SocketAddress(numeric: host, port: port) }

    /// The host as it stands in certificates: without the point at the end that names the root of all names.
    var certificateName: String { host.hasSuffix(".") ? String(host.dropLast()) : host }

    /// Whether any address is meant.
    public var isAny: Bool { host.isEmpty || host == "*" }
}
