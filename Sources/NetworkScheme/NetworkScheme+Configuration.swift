import Glibc
import Platform
import SchemeKit

// `netcfg`: how this machine is connected, laid out as Redox's netcfg does it.
//
//     ifaces/NAME/mac          aa:bb:cc:dd:ee:ff
//     ifaces/NAME/addr/list    ADDRESS/BITS, one a line
//     route/list               default via ADDRESS dev NAME src ADDRESS
//     resolv/nameserver        an address a line
//
// Nothing of the machine is ever changed: the process has no right to. The name servers are this scheme's own matter: who is granted
// that may write others, and they stay after a death.

/// A place in `netcfg`. Places of an interface go with its number.
enum ConfigurationPlace: UInt64 {
    case root, resolver, nameServer, routes, routeList, interfaces, interface, hardwareAddress, addresses, addressList

    var isDirectory: Bool {
        switch self {
        case .root, .resolver, .routes, .interfaces, .interface, .addresses: true
        case .nameServer, .routeList, .hardwareAddress, .addressList: false
        }
    }

    /// What is in a directory, but for the interfaces.
    var entries: [(name: String, place: ConfigurationPlace)] {
        switch self {
        case .root: [("ifaces", .interfaces), ("resolv", .resolver), ("route", .routes)]
        case .resolver: [("nameserver", .nameServer)]
        case .routes: [("list", .routeList)]
        case .interface: [("addr", .addresses), ("mac", .hardwareAddress)]
        case .addresses: [("list", .addressList)]
        case .interfaces, .nameServer, .routeList, .hardwareAddress, .addressList: []
        }
    }
}

extension NetworkScheme {
    /// What is in a directory of `netcfg`.
    func configurationEntries(
        _ place: ConfigurationPlace, _ interface: UInt32
    ) throws(Errno) -> [(name: String, node: NodeNumber)] {
        guard place.isDirectory else { throw .notDirectory }
        if place == .interfaces {
            return try SystemCall.networkInterfaces().map { ($0.name, .configuration(.interface, interface: $0.index)) }
        }
        return place.entries.map { ($0.name, .configuration($0.place, interface: interface)) }
    }

    /// The text of a file of `netcfg`.
    func configurationText(_ place: ConfigurationPlace, _ interface: UInt32) throws(Errno) -> String {
        switch place {
        case .nameServer: return nameServers().map { "\($0)\n" }.joined()
        case .hardwareAddress:
            guard let found = try SystemCall.networkInterfaces().first(where: { $0.index == interface }) else {
                throw Errno(rawValue: ENODEV)
            }
            let parts = found.hardwareAddress.map { byte in
                let text = String(byte, radix: 16)
                return text.utf8.count == 1 ? "0\(text)" : text
            }
            return parts.isEmpty ? "Not configured\n" : "\(parts.joined(separator: ":"))\n"
        case .addressList:
            let found = try SystemCall.interfaceAddresses().filter { $0.interface == interface }
            if found.isEmpty { return "Not configured\n" }
            return found.map { "\($0.address.host)/\($0.prefixLength)\n" }.joined()
        case .routeList: return try routeList()
        case .root, .resolver, .routes, .interfaces, .interface, .addresses: throw .isDirectory
        }
    }

    private func routeList() throws(Errno) -> String {
        let interfaces = try SystemCall.networkInterfaces()
        return try SystemCall.routes().map { route in
            var parts = [route.destination.map { "\($0.host)/\(route.prefixLength)" } ?? "default"]
            if let gateway = route.gateway { parts += ["via", gateway.host] }
            if let interface = interfaces.first(where: { $0.index == route.interface }) {
                parts += ["dev", interface.name]
            }
            if let source = route.source { parts += ["src", source.host] }
            if route.metric != 0 { parts += ["metric", "\(route.metric)"] }
            return parts.joined(separator: " ") + "\n"
        }.joined()
    }

    /// Who is asked for names: what was written, else what the machine's resolver would ask.
    private func nameServers() -> [String] {
        let written = memory.nameServers
        if !written.isEmpty { return written.split(separator: " ").map(String.init) }
        guard let file = try? SystemCall.open("/etc/resolv.conf", O_RDONLY),
            let bytes = try? SystemCall.readToEnd(file.rawValue, limit: 1 << 20)
        else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            return words.count >= 2 && words[0] == "nameserver" ? String(words[1]) : nil
        }
    }

    /// The longest text that may be written.
    static let configurationBytes = 512

    /// Whether a file of `netcfg` may be opened so.
    func checkConfiguration(_ place: ConfigurationPlace, _ flags: UInt32) throws(Errno) {
        if place.isDirectory { throw .isDirectory }
        guard flags & OpenFlags.accessMask != OpenFlags.readOnly else { return }
        guard place == .nameServer, options.maySetNameServers else { throw .readOnlyFileSystem }
    }

    /// Sets the name servers: `ADDRESS[:PORT]`, one or more, separated by blanks.
    func setConfiguration(_ place: ConfigurationPlace, _ text: String) throws(Errno) {
        try checkConfiguration(place, OpenFlags.writeOnly)
        var servers: [SocketAddress] = []
        for word in text.split(whereSeparator: \.isWhitespace) {
            let plain = SocketAddress(numeric: String(word), port: 53)
            guard let server = plain ?? Endpoint(String(word))?.numeric else { throw .invalidArgument }
            guard options.rules.allowsReaching(server) else { throw .permissionDenied }
            servers.append(server.reached)
        }
        guard !servers.isEmpty, servers.count <= 4 else { throw .invalidArgument }
        let list = servers.map { $0.port == 53 ? $0.host : $0.description }.joined(separator: " ")
        state.withLock { _ in memory.nameServers = list }
        resolver.setServers(Self.list(servers))
    }

    /// Name servers as the resolver takes them.
    static func list(_ servers: [SocketAddress]) -> String { servers.map(\.description).joined(separator: ",") }

    /// After a death the resolver is told again who to ask.
    func restoreNameServers() {
        let servers = memory.nameServers.split(separator: " ").compactMap {
            SocketAddress(numeric: String($0), port: 53) ?? Endpoint(String($0))?.numeric
        }
        if !servers.isEmpty { resolver.setServers(Self.list(servers)) }
    }
}
