import Platform

/// Where viewers connect: the absolute path of a Unix socket, or an address in numbers with a port (`127.0.0.1:5900`, `[::1]:5900`).
/// Nothing else: no name that is looked up, nothing that a program could take for an option.
struct ViewerAddress: Equatable {
    /// What the address is.
    enum Place: Equatable {
        case path(String)
        case internet(SocketAddress)
    }

    let place: Place

    /// The longest path of a Unix socket.
    private static let longestPath = 107

    /// From a text; nil if it is no such address.
    init?(_ text: String) {
        if text.hasPrefix("/") {
            guard text.utf8.count <= Self.longestPath,
                text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f })
            else { return nil }
            place = .path(text)
            return
        }
        guard let parts = try? HostAndPort(text), let port = parts.port, port > 0 else { return nil }
        // Numbers only: neither a scope, which may be any text, nor blanks.
        guard parts.host.utf8.allSatisfy({ Self.isAddressByte($0) }),
            let address = SocketAddress(numeric: parts.host, port: port)
        else { return nil }
        place = .internet(address)
    }

    private static func isAddressByte(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20) || byte == 0x2e || byte == 0x3a
    }

    /// Whether only this machine reaches it.
    var isLocal: Bool {
        switch place {
        case .path: true
        case .internet(let address):
            address.unmapped.isIPv6 ? address.host == "::1" : address.unmapped.bytes.first == 127
        }
    }

    /// How VNC viewers take it: a path, or `ADDRESS::PORT`, as a number after one colon is that of a display.
    var viewerArgument: String {
        switch place {
        case .path(let path): path
        case .internet(let address): "\(Self.host(address))::\(address.port)"
        }
    }

    /// Programs that show a display at the address, in the order in which they are tried. Those that take no path of a Unix socket, or no
    /// address of this kind, aren't among them.
    var viewers: [ViewerProgram] {
        let tiger = ["vncviewer", "xtigervncviewer"].map { ViewerProgram($0, viewerArgument) }
        guard case .internet(let address) = place else { return tiger }
        let url = "vnc://\(Self.host(address)):\(address.port)"
        // To it the number after the only colon is that of a display.
        let gtk =
            address.isIPv6 ? [] : [ViewerProgram("gvncviewer", "\(address.host):\(Int(address.port) - Self.firstPort)")]
        return tiger + gtk + [
            ViewerProgram("remote-viewer", url), ViewerProgram("vinagre", viewerArgument),
            ViewerProgram("remmina", "-c", url), ViewerProgram("krdc", url), ViewerProgram("xdg-open", url),
        ]
    }

    /// The port of display 0, as VNC counts displays.
    private static let firstPort = 5900

    /// The address of the page; nil for a Unix socket.
    var page: String? {
        guard case .internet(let address) = place else { return nil }
        return "http://\(Self.host(address)):\(address.port)/"
    }

    private static func host(_ address: SocketAddress) -> String {
        address.isIPv6 ? "[\(address.host)]" : address.host
    }
}

/// A program that shows what is at an address.
struct ViewerProgram: Equatable {
    let name: String
    let arguments: [String]

    init(_ name: String, _ arguments: String...) {
        self.name = name
        self.arguments = arguments
    }
}
