import CLinux
import Glibc
import SystemPackage

/// A network interface.
public struct NetworkInterface: Sendable, Equatable {
    /// The kernel's number for it.
    public let index: UInt32
    /// `eth0`.
    public let name: String
    /// Its hardware address; empty if it has none.
    public let hardwareAddress: [UInt8]
}

/// An address of an interface.
public struct InterfaceAddress: Sendable, Equatable {
    /// The interface's number.
    public let interface: UInt32
    /// The address, without a port.
    public let address: SocketAddress
    /// How many bits of it are the network's.
    public let prefixLength: UInt8
}

/// An entry of the main routing table.
public struct NetworkRoute: Sendable, Equatable {
    /// Where to; nil: everywhere else (`default`).
    public let destination: SocketAddress?
    /// How many bits of the destination count.
    public let prefixLength: UInt8
    /// By which neighbour; nil: directly.
    public let gateway: SocketAddress?
    /// The interface's number; 0: none.
    public let interface: UInt32
    /// The own address for packets that go this way.
    public let source: SocketAddress?
    /// The smaller, the better.
    public let metric: UInt32
}

/// Interfaces, addresses and routes, as rtnetlink(7) tells them to anyone.
extension SystemCall {
    // Types of rtnetlink(7).
    private static let newLink: UInt16 = 16
    private static let getLink: Int32 = 18
    private static let newAddress: UInt16 = 20
    private static let getAddress: Int32 = 22
    private static let newRoute: UInt16 = 24
    private static let getRoute: Int32 = 26

    /// `struct ifinfomsg`, `struct ifaddrmsg` and `struct rtmsg`: their sizes, and where what is used of them stands.
    private enum MessageHeader {
        static let linkBytes = 16
        static let linkIndex = 4
        static let addressBytes = 8
        static let addressPrefix = 1
        static let addressInterface = 4
        static let routeBytes = 12
        static let routePrefix = 1
        static let routeTable = 4
        static let routeType = 7
    }

    /// Attributes: IFLA_*, IFA_*, RTA_*.
    private enum Attribute {
        static let linkAddress: UInt16 = 1
        static let linkName: UInt16 = 3
        static let address: UInt16 = 1
        static let localAddress: UInt16 = 2
        static let destination: UInt16 = 1
        static let outputInterface: UInt16 = 4
        static let gateway: UInt16 = 5
        static let metric: UInt16 = 6
        static let preferredSource: UInt16 = 7
        static let table: UInt16 = 15
        static let via: UInt16 = 18
    }

    /// RTN_UNICAST and RT_TABLE_MAIN.
    private static let unicast: UInt8 = 1
    private static let mainTable: UInt32 = 254

    /// All interfaces of this network namespace.
    public static func networkInterfaces() throws(Errno) -> [NetworkInterface] {
        try messages(getLink, newLink, headerBytes: MessageHeader.linkBytes).map { message in
            NetworkInterface(
                index: message.header.number(MessageHeader.linkIndex),
                name: String(decoding: message.attributes[Attribute.linkName]?.prefix { $0 != 0 } ?? [], as: UTF8.self),
                hardwareAddress: message.attributes[Attribute.linkAddress] ?? [])
        }
    }

    /// The addresses of all interfaces.
    public static func interfaceAddresses() throws(Errno) -> [InterfaceAddress] {
        try messages(getAddress, newAddress, headerBytes: MessageHeader.addressBytes).compactMap { message in
            // IFA_LOCAL is the own address where IFA_ADDRESS is the other end's.
            guard let bytes = message.attributes[Attribute.localAddress] ?? message.attributes[Attribute.address],
                let address = SocketAddress(bytes: bytes, port: 0)
            else { return nil }
            return InterfaceAddress(
                interface: message.header.number(MessageHeader.addressInterface), address: address,
                prefixLength: message.header[MessageHeader.addressPrefix])
        }
    }

    /// The main routing table: where packets go that aren't for this machine.
    public static func routes() throws(Errno) -> [NetworkRoute] {
        try messages(getRoute, newRoute, headerBytes: MessageHeader.routeBytes).compactMap { message in
            let table =
                message.attributes[Attribute.table]?.number(0) ?? UInt32(message.header[MessageHeader.routeTable])
            guard message.header[MessageHeader.routeType] == unicast, table == mainTable else { return nil }
            func address(_ type: UInt16) -> SocketAddress? {
                message.attributes[type].flatMap { SocketAddress(bytes: $0, port: 0) }
            }
            // RTA_VIA: a gateway of another family, which stands before it in two bytes.
            let via = message.attributes[Attribute.via].flatMap {
                SocketAddress(bytes: Array($0.dropFirst(2)), port: 0)
            }
            return NetworkRoute(
                destination: address(Attribute.destination), prefixLength: message.header[MessageHeader.routePrefix],
                gateway: address(Attribute.gateway) ?? via,
                interface: message.attributes[Attribute.outputInterface]?.number(0) ?? 0,
                source: address(Attribute.preferredSource),
                metric: message.attributes[Attribute.metric]?.number(0) ?? 0)
        }
    }

    struct RouteMessage {
        let header: [UInt8]
        let attributes: [UInt16: [UInt8]]
    }

    /// The messages of a dump. Throws what the kernel says against it.
    static func messages(
        _ request: Int32, _ wanted: UInt16, headerBytes: Int
    ) throws(Errno) -> [RouteMessage] {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            do throws(Errno) {
                let size = buffer.count
                let count = try retrying { unsafe clinux_route_dump(request, &buffer, size) }
                return parse(buffer.prefix(count), wanted, headerBytes)
            } catch {
                // More than there was room for, or something changed meanwhile.
                guard error == .noBufferSpace || error == .wouldBlock, buffer.count < 64 << 20 else { throw error }
                if error == .noBufferSpace { buffer = [UInt8](repeating: 0, count: buffer.count * 2) }
            }
        }
    }

    private static func parse(_ all: ArraySlice<UInt8>, _ wanted: UInt16, _ headerBytes: Int) -> [RouteMessage] {
        var result: [RouteMessage] = []
        var rest = all
        // length u32, type u16, flags u16, sequence u32, port u32
        while rest.count >= 16, case let length = Int(Array(rest.prefix(4)).number(0)), length >= 16,
            length <= rest.count
        {
            let message = Array(rest.prefix(length))
            let type = UInt16(message[4]) | UInt16(message[5]) << 8
            if type == wanted, message.count >= 16 + headerBytes {
                result.append(
                    RouteMessage(
                        header: Array(message[16..<16 + headerBytes]),
                        attributes: attributes(message.dropFirst(16 + headerBytes))))
            }
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return result
    }

    private static func attributes(_ all: ArraySlice<UInt8>) -> [UInt16: [UInt8]] {
        var result: [UInt16: [UInt8]] = [:]
        var rest = all
        // length u16, type u16 with two bits of flags
        while rest.count >= 4 {
            let head = Array(rest.prefix(4))
            let length = Int(head[0]) | Int(head[1]) << 8
            guard length >= 4, length <= rest.count else { break }
            let type = (UInt16(head[2]) | UInt16(head[3]) << 8) & 0x3fff
            result[type] = Array(rest.prefix(length).dropFirst(4))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return result
    }
}

extension [UInt8] {
    /// The number in the machine's byte order (little-endian on all that this runs on) at a place; 0 if it isn't all there.
    fileprivate func number(_ place: Int) -> UInt32 {
        guard place >= 0, place + 4 <= count else { return 0 }
        return (0..<4).reduce(0) { $0 | UInt32(self[place + $1]) << UInt32(8 * $1) }
    }
}
