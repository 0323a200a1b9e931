import Glibc
import Platform
import SchemeKit

/// What can be set of a connection, before it connects or after.
enum ConnectionOption: Int, CaseIterable {
    case nodelay, keepalive, ttl, timeout
}

extension NetworkScheme {
    /// Sets an option by a command of `ctl`.
    func setOption(_ connection: Connection, _ name: String, _ text: String) throws(Errno) {
        let option = ConnectionOption.allCases.first { "\($0)" == name }
        guard let option, connection.kind != .udp || option == .ttl else { throw .invalidArgument }
        let value = try Self.value(option, text)
        if let socket = connection.descriptor {
            try Self.set(option, value, socket, isIPv6: try SystemCall.localAddress(socket.rawValue).isIPv6)
        }
        memory.setOption(connection.slot, option, value)
    }

    private static func value(_ option: ConnectionOption, _ text: String) throws(Errno) -> Int32 {
        let range: ClosedRange<Int32>
        switch option {
        case .nodelay:
            guard text == "on" || text == "off" else { throw .invalidArgument }
            return text == "on" ? 1 : 0
        case .keepalive:
            if text == "off" { return 0 }
            range = 1...32767
        case .ttl: range = 1...255
        case .timeout: range = 0...Int32.max - 1
        }
        guard let number = Int32(text), range.contains(number) else { throw .invalidArgument }
        return number
    }

    /// A new socket. Urgent bytes (MSG_OOB) are a part of its stream: left out of it, they would end what the kernel counts as unread.
    static func socket(_ kind: SystemCall.SocketKind, isIPv6: Bool) throws(Errno) -> SharedDescriptor {
        let socket = try SystemCall.socket(kind, isIPv6: isIPv6)
        if kind == .stream {
            try SystemCall.setSocketOption(socket.rawValue, level: SOL_SOCKET, name: SO_OOBINLINE, value: 1)
        }
        return socket
    }

    /// Sets an option of a socket.
    static func set(
        _ option: ConnectionOption, _ value: Int32, _ socket: SharedDescriptor, isIPv6: Bool
    ) throws(Errno) {
        func set(_ level: Int32, _ name: Int32, _ value: Int32) throws(Errno) {
            try SystemCall.setSocketOption(socket.rawValue, level: level, name: name, value: value)
        }
        let tcp = Int32(IPPROTO_TCP)
        switch option {
        case .nodelay: try set(tcp, TCP_NODELAY, value)
        case .keepalive:
            if value > 0 { try set(tcp, TCP_KEEPIDLE, value) }
            try set(SOL_SOCKET, SO_KEEPALIVE, value > 0 ? 1 : 0)
        case .ttl:
            if isIPv6 {
                try set(Int32(IPPROTO_IPV6), IPV6_UNICAST_HOPS, value)
            }
            // Also of a socket that is IPv6: it may talk IPv4, too.
            try set(Int32(IPPROTO_IP), IP_TTL, value)
        case .timeout: try set(tcp, TCP_USER_TIMEOUT, value)
        }
    }

    /// Gives a new socket what was set before.
    func applyOptions(_ connection: Connection, _ socket: SharedDescriptor, isIPv6: Bool) {
        for option in ConnectionOption.allCases {
            guard let value = memory.option(connection.slot, option) else { continue }
            // The kernel took it, or would take it, for any other socket of the kind.
            try? Self.set(option, value, socket, isIPv6: isIPv6)
        }
    }

    /// What the kernel says that a TCP socket's options are.
    func options(_ socket: SharedDescriptor) -> String {
        func option(_ level: Int32, _ name: Int32) -> Int32 {
            (try? SystemCall.socketOption(socket.rawValue, level: level, name: name)) ?? 0
        }
        let tcp = Int32(IPPROTO_TCP)
        let isIPv6 = (try? SystemCall.localAddress(socket.rawValue))?.unmapped.isIPv6 ?? false
        let keepalive = option(SOL_SOCKET, SO_KEEPALIVE) == 0 ? "off" : "\(option(tcp, TCP_KEEPIDLE))"
        let hops =
            isIPv6 ? option(Int32(IPPROTO_IPV6), IPV6_UNICAST_HOPS) : option(Int32(IPPROTO_IP), IP_TTL)
        return
            " nodelay \(option(tcp, TCP_NODELAY) == 0 ? "off" : "on") keepalive \(keepalive) ttl \(hops)"
            + " timeout \(option(tcp, TCP_USER_TIMEOUT))"
    }
}
