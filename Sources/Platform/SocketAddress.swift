import CLinux
import Glibc

/// An internet address with a port.
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    /// 4 bytes (IPv4) or 16 (IPv6), most significant first.
    public let bytes: [UInt8]
    /// The port, 0 for any.
    public var port: UInt16
    /// The interface of a link-local IPv6 address, 0 for none.
    public var scope: UInt32

    /// An address; nil unless there are 4 or 16 bytes.
    public init?(bytes: [UInt8], port: UInt16, scope: UInt32 = 0) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
        self.port = port
        self.scope = scope
    }

    init?(_ raw: clinux_address) {
        let all = unsafe [UInt8](withUnsafeBytes(of: raw.bytes) { unsafe Array($0) })
        switch raw.family {
        case 4: self.init(bytes: Array(all.prefix(4)), port: raw.port)
        case 6: self.init(bytes: all, port: raw.port, scope: raw.scope)
        default: return nil
        }
    }

    /// The address in this text, which must be numeric: `127.0.0.1`, `::1`, `fe80::1%2`.
    public init?(numeric text: String, port: UInt16) {
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        var scope: UInt32 = 0
        if parts.count == 2 {
            guard let number = UInt32(parts[1]) else { return nil }
            scope = number
        }
        var buffer = [UInt8](repeating: 0, count: 16)
        if scope == 0, parts.count == 1, unsafe inet_pton(AF_INET, text, &buffer) == 1 {
            self.init(bytes: Array(buffer.prefix(4)), port: port)
        } else if unsafe inet_pton(AF_INET6, String(parts[0]), &buffer) == 1 {
            self.init(bytes: buffer, port: port, scope: scope)
        } else {
            return nil
        }
    }

    var raw: clinux_address {
        var raw = clinux_address()
        raw.family = isIPv6 ? 6 : 4
        raw.port = port
        raw.scope = scope
        unsafe withUnsafeMutableBytes(of: &raw.bytes) { unsafe $0.copyBytes(from: bytes) }
        return raw
    }

    /// Whether it is an IPv6 address.
    public var isIPv6: Bool { bytes.count == 16 }

    /// The same address as IPv4, if it is an IPv4 address that is written as IPv6 (`::ffff:127.0.0.1`).
    public var unmapped: SocketAddress {
        guard isIPv6, bytes[0..<10].allSatisfy({ $0 == 0 }), bytes[10] == 0xff, bytes[11] == 0xff else { return self }
        return SocketAddress(bytes: Array(bytes[12...]), port: port) ?? self
    }

    /// An IPv4 address written as IPv6.
    public var mapped: SocketAddress {
        guard !isIPv6 else { return self }
        return SocketAddress(bytes: [UInt8](repeating: 0, count: 10) + [0xff, 0xff] + bytes, port: port) ?? self
    }

    /// Whether it stands for any address of its family: `0.0.0.0`, `::`, in whatever form.
    public var isUnspecified: Bool { unmapped.bytes.allSatisfy { $0 == 0 } }

    /// Where the kernel sends what goes to it: the unspecified address is the machine's own.
    public var reached: SocketAddress {
        guard isUnspecified else { return self }
        let own = unmapped.isIPv6 ? [UInt8](repeating: 0, count: 15) + [1] : [127, 0, 0, 1]
        return SocketAddress(bytes: own, port: port) ?? self
    }

    /// The address without the port.
    public var host: String {
        var text = [CChar](repeating: 0, count: 64)
        guard unsafe inet_ntop(isIPv6 ? AF_INET6 : AF_INET, bytes, &text, 64) != nil else { return "?" }
        let host = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return scope == 0 ? host : "\(host)%\(scope)"
    }

    /// `127.0.0.1:80`, `[::1]:80`.
    public var description: String { isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
