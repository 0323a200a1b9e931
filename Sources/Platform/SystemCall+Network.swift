import CLinux
import Glibc
import SystemPackage

/// What the kernel has counted of a TCP connection. All at one moment.
public struct StreamCounters: Sendable, Equatable {
    /// Bytes that the peer has acknowledged; SYN and FIN count as one each.
    public let acknowledged: UInt64
    /// Bytes that came in order; FIN counts as one.
    public let received: UInt64
    /// Bytes that came and weren't read.
    public let unread: UInt64
    /// Bytes taken from the sender and not acknowledged.
    public let unsent: UInt64
    /// The state as the kernel numbers it: 1 is established.
    public let state: UInt32
}

/// Internet sockets: they never block and are closed on exec.
extension SystemCall {
    /// Kinds of sockets.
    public enum SocketKind: Sendable {
        case stream
        case datagram
        /// ICMP echo without privileges; needs the kernel's permission (ping_group_range).
        case echo
    }

    /// A socket of the address's family.
    public static func socket(_ kind: SocketKind, isIPv6: Bool) throws(Errno) -> SharedDescriptor {
        let (type, number): (Int32, Int32) =
            switch kind {
            case .stream: (Int32(SOCK_STREAM.rawValue), Int32(IPPROTO_TCP))
            case .datagram: (Int32(SOCK_DGRAM.rawValue), Int32(IPPROTO_UDP))
            case .echo:
                (Int32(SOCK_DGRAM.rawValue), isIPv6 ? Int32(IPPROTO_ICMPV6) : Int32(IPPROTO_ICMP))
            }
        return SharedDescriptor(adopting: try retrying { clinux_inet_socket(isIPv6 ? 6 : 4, type, number) })
    }

    /// A raw ICMP socket that gets answers to echo requests and error messages alone: its filter is locked. Needs CAP_NET_RAW.
    public static func rawEchoSocket(isIPv6: Bool) throws(Errno) -> SharedDescriptor {
        SharedDescriptor(adopting: try retrying { clinux_icmp_raw_socket(isIPv6 ? 6 : 4) })
    }

    /// Begins to connect. EINPROGRESS is success: the socket is writable when it is done, and `socketError` says how.
    public static func connect(_ socket: Int32, to address: SocketAddress) throws(Errno) {
        do {
            var raw = address.raw
            try retrying { unsafe clinux_inet_connect(socket, &raw) }
        } catch {
            if error != Errno(rawValue: EINPROGRESS) { throw error }
        }
    }

    /// Gives a socket its own address.
    public static func bind(_ socket: Int32, to address: SocketAddress) throws(Errno) {
        var raw = address.raw
        try retrying { unsafe clinux_inet_bind(socket, &raw) }
    }

    /// Lets callers come.
    public static func listen(_ socket: Int32, backlog: Int32) throws(Errno) {
        try retrying { clinux_inet_listen(socket, backlog) }
    }

    /// The next caller, or nil.
    public static func acceptInternet(_ socket: Int32) throws(Errno) -> SharedDescriptor? {
        do {
            return SharedDescriptor(adopting: try retrying { clinux_inet_accept(socket) })
        } catch {
            if error == .wouldBlock { return nil }
            throw error
        }
    }

    /// The socket's own address.
    public static func localAddress(_ socket: Int32) throws(Errno) -> SocketAddress {
        try name(socket, peer: false)
    }

    /// The address of the other side. ENOTCONN if there is none.
    public static func peerAddress(_ socket: Int32) throws(Errno) -> SocketAddress { try name(socket, peer: true) }

    /// The address that a socket connects to or is connected with. ENOTCONN if it never began to.
    public static func targetAddress(_ socket: Int32) throws(Errno) -> SocketAddress {
        var raw = clinux_address()
        try retrying { unsafe clinux_inet_target(socket, &raw) }
        guard let address = SocketAddress(raw) else { throw .addressFamilyNotSupported }
        return address
    }

    private static func name(_ socket: Int32, peer: Bool) throws(Errno) -> SocketAddress {
        var raw = clinux_address()
        try retrying { unsafe clinux_inet_name(socket, peer ? 1 : 0, &raw) }
        guard let address = SocketAddress(raw) else { throw .addressFamilyNotSupported }
        return address
    }

    /// Sends what there is room for. EAGAIN: none.
    public static func sendSome(_ socket: Int32, _ bytes: RawSpan) throws(Errno) -> Int {
        try unsafe bytes.withUnsafeBytes { (raw) throws(Errno) -> Int in
            try retrying { unsafe clinux_inet_send(socket, raw.baseAddress, raw.count) }
        }
    }

    /// Sends a datagram.
    public static func send(_ socket: Int32, _ bytes: RawSpan, to address: SocketAddress) throws(Errno) -> Int {
        var raw = address.raw
        return try unsafe bytes.withUnsafeBytes { (buffer) throws(Errno) -> Int in
            try retrying { unsafe clinux_inet_send_to(socket, buffer.baseAddress, buffer.count, &raw) }
        }
    }

    /// Receives what there is. 0: the end. EAGAIN: nothing yet.
    ///
    /// - Parameter keeping: the bytes stay in the receive queue.
    public static func receive(
        _ socket: Int32, into buffer: inout MutableRawSpan, keeping: Bool
    ) throws(Errno) -> Int {
        try unsafe buffer.withUnsafeMutableBytes { (raw) throws(Errno) -> Int in
            try retrying { unsafe clinux_inet_receive(socket, raw.baseAddress, raw.count, keeping ? 1 : 0) }
        }
    }

    /// Receives a datagram and who sent it.
    public static func receiveDatagram(
        _ socket: Int32, into buffer: inout MutableRawSpan
    ) throws(Errno) -> (count: Int, sender: SocketAddress?) {
        var raw = clinux_address()
        let count = try unsafe buffer.withUnsafeMutableBytes { (bytes) throws(Errno) -> Int in
            try retrying { unsafe clinux_inet_receive_from(socket, bytes.baseAddress, bytes.count, &raw) }
        }
        return (count, SocketAddress(raw))
    }

    /// Takes bytes of a stream out of the receive queue unseen; returns how many.
    public static func discard(_ socket: Int32, count: Int) throws(Errno) -> Int {
        try retrying { clinux_inet_discard(socket, count) }
    }

    /// Ends one direction or both.
    public static func shutDown(_ socket: Int32, receiving: Bool, sending: Bool) throws(Errno) {
        guard receiving || sending else { return }
        try retrying { clinux_inet_shutdown(socket, receiving ? (sending ? 2 : 0) : 1) }
    }

    /// Sets an option that is a number.
    public static func setSocketOption(
        _ socket: Int32, level: Int32, name: Int32, value: Int32
    ) throws(Errno) {
        try retrying { clinux_inet_set(socket, level, name, value) }
    }

    /// What an option that is a number is set to.
    public static func socketOption(_ socket: Int32, level: Int32, name: Int32) throws(Errno) -> Int32 {
        var value: Int32 = 0
        try retrying { unsafe clinux_inet_get(socket, level, name, &value) }
        return value
    }

    /// The error that a connection ended with, 0 for none. The kernel tells it once.
    public static func socketError(_ socket: Int32) -> Int32 {
        var value: Int32 = 0
        if unsafe clinux_inet_get(socket, SOL_SOCKET, SO_ERROR, &value) != 0 { return errno }
        return value
    }

    /// What the kernel counted of a TCP connection.
    public static func streamCounters(_ socket: Int32) throws(Errno) -> StreamCounters {
        var raw = clinux_tcp_counters()
        try retrying { unsafe clinux_inet_counters(socket, &raw) }
        return StreamCounters(
            acknowledged: raw.acknowledged, received: raw.received, unread: UInt64(raw.unread),
            unsent: UInt64(raw.unsent), state: raw.state)
    }

    /// What a descriptor is ready for at this moment (poll(2) bits).
    public static func readiness(_ descriptor: Int32, events: UInt32) -> UInt32 {
        var entries = [pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0)]
        guard (try? poll(&entries, milliseconds: 0)) != nil else { return UInt32(POLLERR) }
        return UInt32(UInt16(bitPattern: entries[0].revents))
    }
}
