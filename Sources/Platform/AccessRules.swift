/// Which addresses may be talked to: `--network-allow` and `--network-deny`.
///
/// A rule is `ADDRESS[/BITS][:PORT[-PORT]]`; an IPv6 address with ports stands in brackets; `*` is any address. An IPv4 address
/// that is written as IPv6 (`::ffff:127.0.0.1`) is one, and its bits are counted from the first of all 128. What a deny rule
/// matches is refused; if there are allow rules, what none of them matches is refused, too.
public struct AccessRules: Sendable {
    /// One rule.
    public struct Rule: Sendable, Equatable {
        /// The first bytes of matching addresses; empty for any.
        let bytes: [UInt8]
        /// How many bits of them count.
        let bits: Int
        /// Ports that it is about.
        let ports: ClosedRange<UInt16>

        /// The rule in this text; nil if it is none.
        public init?(_ text: String) {
            var address = Substring(text)
            var portText: Substring?
            if address.hasPrefix("[") {
                guard let end = address.firstIndex(of: "]") else { return nil }
                let rest = address[address.index(after: end)...]
                let inner = address[address.index(after: address.startIndex)..<end]
                let parts = rest.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count <= 2, parts[0].isEmpty || parts[0].hasPrefix("/") else { return nil }
                if parts.count == 2 { portText = parts[1] }
                address = Substring(inner + parts[0])
            } else if address.count(where: { $0 == ":" }) == 1 {
                let parts = address.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                portText = parts[1]
                address = parts[0]
            }
            guard let ports = Self.ports(portText) else { return nil }
            self.ports = ports
            if address.isEmpty || address == "*" {
                bytes = []
                bits = 0
                return
            }
            let parts = address.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let base = SocketAddress(numeric: String(parts[0]), port: 0) else { return nil }
            bytes = base.unmapped.bytes
            // Addresses are compared without the prefix of mapped ones: a rule about a part of that would match none.
            let prefix = (base.bytes.count - bytes.count) * 8
            if parts.count == 2 {
                guard let bits = Int(parts[1]), bits >= prefix, bits <= base.bytes.count * 8 else { return nil }
                self.bits = bits - prefix
            } else {
                bits = bytes.count * 8
            }
        }

        private static func ports(_ text: Substring?) -> ClosedRange<UInt16>? {
            guard let text, text != "*" else { return 0...UInt16.max }
            let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            guard let first = UInt16(parts[0]) else { return nil }
            guard parts.count == 2 else { return first...first }
            guard let last = UInt16(parts[1]), last >= first else { return nil }
            return first...last
        }

        func matches(_ address: SocketAddress) -> Bool {
            guard ports.contains(address.port) else { return false }
            if bytes.isEmpty { return true }
            guard address.bytes.count == bytes.count else { return false }
            for index in 0..<bytes.count {
                let rest = bits - index * 8
                if rest <= 0 { break }
                let mask: UInt8 = rest >= 8 ? 0xff : ~(0xff >> UInt8(rest))
                if (address.bytes[index] ^ bytes[index]) & mask != 0 { return false }
            }
            return true
        }
    }

    let allowed: [Rule]
    let denied: [Rule]

    /// Rules from lists separated by spaces or semicolons; throws the rule that is none.
    public init(allow: String = "", deny: String = "") throws(BadRule) {
        allowed = try Self.parse(allow)
        denied = try Self.parse(deny)
    }

    /// A text that is no rule.
    public struct BadRule: Error, Equatable {
        /// The text.
        public let text: String

        /// A text that is no rule.
        public init(text: String) { self.text = text }
    }

    private static func parse(_ text: String) throws(BadRule) -> [Rule] {
        var rules: [Rule] = []
        for part in text.split(whereSeparator: { $0 == " " || $0 == ";" }) {
            guard let rule = Rule(String(part)) else { throw BadRule(text: String(part)) }
            rules.append(rule)
        }
        return rules
    }

    /// Whether this address may be used. An IPv4 address is the same in either form.
    public func allows(_ address: SocketAddress) -> Bool {
        let plain = address.unmapped
        if denied.contains(where: { $0.matches(plain) }) { return false }
        return allowed.isEmpty || allowed.contains { $0.matches(plain) }
    }

    /// Whether this address may be connected to, sent to or asked. The unspecified address must be allowed as what it stands for
    /// there, too: the machine's own.
    public func allowsReaching(_ address: SocketAddress) -> Bool { allows(address) && allows(address.reached) }

    /// What rules say of all addresses of a family at once.
    public enum FamilyAccess: Sendable {
        /// None may be listened on.
        case refused
        /// Some of them are denied by name.
        case divided
        /// All may be listened on.
        case allowed
    }

    /// Whether all addresses of a family may be listened on, at a port.
    public func allowsAll(isIPv6: Bool, port: UInt16) -> FamilyAccess {
        let bytes = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
        guard let unspecified = SocketAddress(bytes: bytes, port: port), allows(unspecified) else { return .refused }
        return denied.contains { $0.ports.contains(port) && $0.bytes.count == bytes.count } ? .divided : .allowed
    }
}
