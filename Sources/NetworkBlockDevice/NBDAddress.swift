import BlockDevice
import Glibc
import Platform
import SystemPackage

/// Where a disk is exported, as the NBD project writes it: `nbd://HOST[:PORT][/EXPORT]`, `nbd+unix:///[EXPORT]?socket=PATH`.
public struct NBDAddress: Sendable, Hashable {
    /// Where the server listens.
    public enum Place: Sendable, Hashable {
        /// TCP; an IPv6 address without brackets.
        case tcp(host: String, port: UInt16)
        /// A Unix socket.
        case unix(path: String)
    }

    /// Where the server listens.
    public let place: Place
    /// The name of the export; the empty one is the server's default.
    public let export: String

    /// The port that IANA has given to NBD.
    public static let defaultPort: UInt16 = 10809
    /// The protocol's limit of a name, in bytes.
    public static let longestExport = 4096

    /// Whether a text is meant as such an address, right or wrong.
    public static func isMeant(_ text: String) -> Bool {
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else { return false }
        let scheme = text[..<colon].lowercased()
        return scheme == "nbd" || scheme == "nbds" || scheme.hasPrefix("nbd+") || scheme.hasPrefix("nbds+")
    }

    /// Takes an address apart; throws `.unusable` with what is wrong.
    public init(_ text: String) throws(BlockDeviceError) {
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else {
            throw .unusable("no address of an NBD server")
        }
        let scheme = text[..<colon].lowercased()
        let rest = text[text.index(colon, offsetBy: 3)...]
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let slash = parts[0].firstIndex(of: "/") ?? parts[0].endIndex
        let authority = parts[0][..<slash]
        export = try Self.decoded(parts[0][slash...].dropFirst())
        guard export.utf8.count <= Self.longestExport else { throw .unusable("the name of the export is too long") }
        var socket: String?
        for field in parts.count == 2 ? parts[1].split(separator: "&") : [] {
            let pair = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, pair[0] == "socket" else { throw .unusable("\(field) is not known; socket=PATH is") }
            socket = try Self.decoded(pair[1])
        }
        switch scheme {
        case "nbd":
            guard socket == nil else { throw .unusable("a socket goes with nbd+unix:///EXPORT?socket=PATH") }
            place = try Self.host(authority)
        case "nbd+unix":
            guard authority.isEmpty else {
                throw .unusable("\(authority) is taken for a host: write nbd+unix:///\(authority)?socket=PATH")
            }
            guard let socket, !socket.isEmpty else {
                throw .unusable("the path of the socket is missing: nbd+unix:///EXPORT?socket=PATH")
            }
            place = .unix(path: socket)
        default:
            throw .unusable("\(scheme):// is not supported: nbd:// and nbd+unix:// are, encryption is left to a tunnel")
        }
    }

    private static func host(_ authority: Substring) throws(BlockDeviceError) -> Place {
        let parts: HostAndPort
        do throws(HostAndPort.Flaw) {
            parts = try HostAndPort(authority)
        } catch {
            switch error {
            case .port(let text): throw .unusable("\(text) is no port")
            case .bracketsMissing: throw .unusable("an IPv6 address is written in brackets: nbd://[::1]:\(defaultPort)")
            case .brackets: throw .unusable("\(authority): brackets stand around an IPv6 address")
            }
        }
        guard parts.port != 0 else { throw .unusable("0 is no port") }
        guard !parts.host.isEmpty else { throw .unusable("the host is missing: nbd://HOST[:PORT][/EXPORT]") }
        return .tcp(host: parts.host, port: parts.port ?? defaultPort)
    }

    /// Takes percent-encoding away (RFC 3986).
    private static func decoded(_ text: Substring) throws(BlockDeviceError) -> String {
        var bytes: [UInt8] = []
        var units = text.utf8.makeIterator()
        while let unit = units.next() {
            guard unit == UInt8(ascii: "%") else {
                bytes.append(unit)
                continue
            }
            guard let high = units.next(), let low = units.next(),
                let byte = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16), byte != 0
            else { throw .unusable("% in an address is followed by two hexadecimal digits") }
            bytes.append(byte)
        }
        guard let result = String(validating: bytes, as: UTF8.self) else { throw .unusable("\(text) is no UTF-8") }
        return result
    }

    /// Where a connection can be tried, in this order. Looks up the host's name.
    ///
    /// - Parameter folder: from where a relative path of a socket goes.
    public func endpoints(from folder: String) throws(BlockDeviceError) -> [SocketEndpoint] {
        switch place {
        case .unix(let path): return [.unix(path: path.hasPrefix("/") ? path : "\(folder)/\(path)")]
        case .tcp(let host, let port):
            if let address = SocketAddress(numeric: host, port: port) { return [.internet(address)] }
            return try Self.lookUp(host, port).map { .internet($0) }
        }
    }

    private static func lookUp(_ host: String, _ port: UInt16) throws(BlockDeviceError) -> [SocketAddress] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = unsafe getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else { throw .unusable("\(host): \(unsafe String(cString: gai_strerror(code)))") }
        defer { unsafe freeaddrinfo(list) }
        var result: [SocketAddress] = []
        var next = unsafe list
        while let entry = unsafe next {
            unsafe next = entry.pointee.ai_next
            guard let raw = unsafe entry.pointee.ai_addr else { continue }
            let bytes: [UInt8]
            var scope: UInt32 = 0
            switch unsafe entry.pointee.ai_family {
            case AF_INET:
                bytes = unsafe raw.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                    unsafe withUnsafeBytes(of: address.pointee.sin_addr) { unsafe Array($0) }
                }
            case AF_INET6:
                bytes = unsafe raw.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
                    scope = unsafe address.pointee.sin6_scope_id
                    return unsafe withUnsafeBytes(of: address.pointee.sin6_addr) { unsafe Array($0) }
                }
            default: continue
            }
            if let address = SocketAddress(bytes: bytes, port: port, scope: scope) { result.append(address) }
        }
        return result
    }
}
