/// What a node's number means.
///
///     1...15                  the directories
///     1 << 45 | serial        a name that was looked up
///     1 << 46 | serial << 16 | slot << 4 | file      a file of a numbered connection (28 bits of its serial)
///     1 << 47 | interface << 4 | place               a place in netcfg
enum NodeNumber: Equatable {
    case directory(Directory)
    case name(UInt64)
    case numbered(slot: Int, serial: UInt64, file: NumberedFile)
    case configuration(ConfigurationPlace, interface: UInt32)

    enum Directory: UInt64, CaseIterable {
        case root = 1
        case tcp = 2
        case tcpListen = 3
        case udp = 4
        case dns = 5
        case tls = 6
        case icmp = 7
        case icmpEcho = 8

        var name: String {
            switch self {
            case .root: ""
            case .tcp: "tcp"
            case .tcpListen: "listen"
            case .udp: "udp"
            case .dns: "dns"
            case .tls: "tls"
            case .icmp: "icmp"
            case .icmpEcho: "echo"
            }
        }
    }

    private static let nameBit: UInt64 = 1 << 45
    private static let numberedBit: UInt64 = 1 << 46
    private static let configurationBit: UInt64 = 1 << 47
    static let serialMask: UInt64 = (1 << 28) - 1

    init?(_ number: UInt64) {
        if number & Self.configurationBit != 0 {
            guard let place = ConfigurationPlace(rawValue: number & 15) else { return nil }
            self = .configuration(place, interface: UInt32(truncatingIfNeeded: number >> 4))
        } else if number & Self.numberedBit != 0 {
            guard let file = NumberedFile(rawValue: number & 15) else { return nil }
            self = .numbered(
                slot: Int(number >> 4 & 0xfff), serial: number >> 16 & Self.serialMask, file: file)
        } else if number & Self.nameBit != 0 {
            self = .name(number & ~Self.nameBit)
        } else {
            guard let directory = Directory(rawValue: number) else { return nil }
            self = .directory(directory)
        }
    }

    var number: UInt64 {
        switch self {
        case .directory(let directory): directory.rawValue
        case .configuration(let place, let interface):
            Self.configurationBit | UInt64(interface) << 4 | place.rawValue
        case .name(let serial): Self.nameBit | serial & (Self.nameBit - 1)
        case .numbered(let slot, let serial, let file):
            Self.numberedBit | (serial & Self.serialMask) << 16 | UInt64(slot & 0xfff) << 4 | file.rawValue
        }
    }
}

/// The files of `tcp/N` and `udp/N`.
enum NumberedFile: UInt64, CaseIterable {
    case directory = 0
    case ctl = 1
    case data = 2
    case listen = 3
    case local = 4
    case remote = 5
    case status = 6

    var name: String { "\(self)" }
}
