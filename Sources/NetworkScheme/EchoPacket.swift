import Glibc
import Platform
import SystemPackage

/// An ICMP echo request, and what comes of it (RFC 792, RFC 4443).
///
///      0  type u8     1  code u8    2  checksum u16     4  identifier u16     6  sequence u16
///      8  token u64   16 serial of the connection u64   24 number of the request u64
///     32  zeros, up to 64
///
/// Numbers are big-endian. The token is this incarnation's secret: nobody else's answers are taken for ours.
struct EchoPacket: Equatable {
    static let byteCount = 64

    let token: UInt64
    let serial: UInt64
    let number: UInt64

    init(token: UInt64, serial: UInt64, number: UInt64) {
        self.token = token
        self.serial = serial
        self.number = number
    }

    /// The packet that is sent. What kind of socket it is for doesn't matter: the kernel sets what it knows better.
    func request(isIPv6: Bool, identifier: UInt16) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        func store(_ value: UInt64, at place: Int, count: Int) {
            for index in 0..<count {
                bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - index)))
            }
        }
        bytes[0] = isIPv6 ? 128 : 8
        store(UInt64(identifier), at: 4, count: 2)
        store(number & 0xffff, at: 6, count: 2)
        store(token, at: 8, count: 8)
        store(serial, at: 16, count: 8)
        store(number, at: 24, count: 8)
        if !isIPv6 { store(UInt64(Self.checksum(bytes)), at: 2, count: 2) }
        return bytes
    }

    /// The internet checksum (RFC 1071) of an even number of bytes.
    static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count - 1, by: 2) {
            sum &+= UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1])
        }
        while sum >> 16 != 0 { sum = sum & 0xffff &+ sum >> 16 }
        return ~UInt16(truncatingIfNeeded: sum)
    }

    /// What stands behind the 8 bytes of an ICMP header; nil if it isn't all there.
    fileprivate init?(_ message: ArraySlice<UInt8>) {
        guard message.count >= 32 else { return nil }
        func number(_ place: Int) -> UInt64 {
            message.dropFirst(place).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        }
        self.init(token: number(8), serial: number(16), number: number(24))
    }
}

/// What came of a request.
enum EchoOutcome: Equatable {
    case answered(EchoPacket)
    /// Somebody on the way says that it didn't arrive.
    case failed(EchoPacket, Errno)

    /// What a received packet says; nil if it is about something else.
    ///
    /// - Parameter hasHeader: it begins with its IPv4 header, as packets from a raw socket do.
    init?(_ packet: [UInt8], isIPv6: Bool, hasHeader: Bool) {
        guard let message = hasHeader ? Self.body(packet[...], isIPv6: false) : packet[...], message.count >= 8
        else { return nil }
        let type = message[message.startIndex]
        let code = message[message.startIndex + 1]
        if type == (isIPv6 ? 129 : 0) {
            guard let answer = EchoPacket(message) else { return nil }
            self = .answered(answer)
            return
        }
        guard type == (isIPv6 ? 1 : 3) || type == (isIPv6 ? 3 : 11) else { return nil }
        // It contains the packet that didn't arrive.
        guard let sent = Self.body(message.dropFirst(8), isIPv6: isIPv6), sent.first == (isIPv6 ? 128 : 8),
            let request = EchoPacket(sent)
        else { return nil }
        let isNetwork = code == 0 && type == (isIPv6 ? 1 : 3)
        self = .failed(request, Errno(rawValue: isNetwork ? ENETUNREACH : EHOSTUNREACH))
    }

    /// An IP packet without its header; nil if it has another protocol in it.
    private static func body(_ packet: ArraySlice<UInt8>, isIPv6: Bool) -> ArraySlice<UInt8>? {
        guard let first = packet.first else { return nil }
        let header = isIPv6 ? 40 : Int(first & 15) * 4
        guard header >= 20, packet.count >= header else { return nil }
        let content = packet[packet.startIndex + (isIPv6 ? 6 : 9)]
        return content == (isIPv6 ? 58 : 1) ? packet.dropFirst(header) : nil
    }
}
