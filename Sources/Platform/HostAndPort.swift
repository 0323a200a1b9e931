/// A host and a port as they stand in one text: `HOST:PORT`, `[IPv6]:PORT`. What a host may be is the matter of whoever asks: a name, an
/// address, or nothing.
public struct HostAndPort: Sendable, Equatable {
    /// Why a text isn't one.
    public enum Flaw: Error, Equatable {
        /// What stands for the port isn't a number up to 65535.
        case port(String)
        /// A host with colons that isn't in brackets, so that nobody can tell where its port begins.
        case bracketsMissing
        /// Brackets around something else than an IPv6 address, or only one of them.
        case brackets
    }

    /// The host, without brackets.
    public let host: String
    /// Whether it stands in brackets, as IPv6 addresses do.
    public let isBracketed: Bool
    /// The port; nil if there is none.
    public let port: UInt16?

    /// Takes a text apart.
    public init(_ text: some StringProtocol) throws(Flaw) {
        var digits: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw .brackets }
            host = String(text[..<end].dropFirst())
            isBracketed = true
            let rest = Substring(text[text.index(after: end)...])
            guard host.contains(":"), rest.isEmpty || rest.hasPrefix(":") else { throw .brackets }
            if !rest.isEmpty { digits = rest.dropFirst() }
        } else {
            let colon = text.lastIndex(of: ":")
            host = String(text[..<(colon ?? text.endIndex)])
            isBracketed = false
            guard !host.contains(":") else { throw .bracketsMissing }
            if let colon { digits = Substring(text[text.index(after: colon)...]) }
        }
        guard let digits else {
            port = nil
            return
        }
        // A number may have a sign, a port not.
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt16(digits) else {
            throw .port(String(digits))
        }
        port = number
    }
}
