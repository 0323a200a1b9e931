import Platform
import SystemPackage
import Testing

@testable import NetworkScheme

/// Endpoints, access rules and the order of addresses: what is text or pure choice.
struct ParsingTests {
    @Test(arguments: [
        ("localhost:80", "localhost", 80), ("127.0.0.1:8080", "127.0.0.1", 8080), ("[::1]:443", "::1", 443),
        ("10.0.0.1!7", "10.0.0.1", 7), ("::1!7", "::1", 7), (":80", "", 80), ("*:0", "*", 0),
        ("[fe80::1%2]:22", "fe80::1%2", 22), ("a-b_c.example:65535", "a-b_c.example", 65535),
    ])
    func endpoints(_ text: String, _ host: String, _ port: Int) {
        let endpoint = Endpoint(text)
        #expect(endpoint?.host == host)
        #expect(endpoint.map { Int($0.port) } == port)
    }

    @Test(arguments: [
        "", "localhost", "localhost:", "localhost:x", "localhost:65536", "localhost:-1", "localhost:+1", "::1:80",
        "[localhost]:80", "[127.0.0.1]:80", "[::1:80", "a b:80", "a/b:80", "a\u{0}:80", "\u{e9}:80", "x:80:90",
        String(repeating: "a", count: 256) + ":80",
    ])
    func noEndpoints(_ text: String) { #expect(Endpoint(text) == nil) }

    /// Certificates don't have the point that ends a full name.
    @Test(arguments: [
        ("host.example.:443", "host.example"), ("host.example:443", "host.example"), ("127.0.0.1:443", "127.0.0.1"),
        ("[::1]:443", "::1"), (".:443", ""),
    ])
    func certificateNames(_ text: String, _ name: String) { #expect(Endpoint(text)?.certificateName == name) }

    /// A session without a name to check would be one with anybody.
    @Test func emptyNamesAreRefused() throws {
        #expect(throws: Errno.invalidArgument) {
            try TLSContext(certificates: nil).session(host: "", isNumeric: false)
        }
    }

    private func address(_ text: String) throws -> SocketAddress {
        let endpoint = try #require(Endpoint(text))
        return try #require(endpoint.numeric)
    }

    @Test func rulesMatch() throws {
        let rules = try AccessRules(
            allow: "127.0.0.0/8 10.1.0.0/16:80 [fd00::]/8:443-444;[::1]:7", deny: "127.0.0.53 *:25")
        for allowed in ["127.0.0.1:80", "127.255.0.1:1", "10.1.2.3:80", "[fd12::1]:444", "[::1]:7"] {
            #expect(try rules.allows(address(allowed)), "\(allowed)")
        }
        for denied in [
            "127.0.0.53:80", "127.0.0.1:25", "10.1.2.3:81", "10.2.0.1:80", "[fd12::1]:445", "[fe80::1]:443", "[::1]:8",
            "8.8.8.8:53",
        ] {
            #expect(try !rules.allows(address(denied)), "\(denied)")
        }
    }

    /// An IPv4 address can't get around a rule by being written as IPv6.
    @Test func mappedAddressesAreTheSame() throws {
        let rules = try AccessRules(deny: "127.0.0.0/8")
        #expect(try !rules.allows(address("[::ffff:127.0.0.1]:80")))
        #expect(try rules.allows(address("[::ffff:128.0.0.1]:80")))
    }

    /// Nor does a rule that is written as IPv6 match nothing.
    @Test func mappedRulesAreTheSame() throws {
        for rule in ["::ffff:127.0.0.2", "[::ffff:127.0.0.2]:80", "[::ffff:127.0.0.0]/104", "::ffff:0.0.0.0/96"] {
            let rules = try AccessRules(deny: rule)
            #expect(try !rules.allows(address("127.0.0.2:80")), "\(rule)")
            #expect(try !rules.allows(address("[::ffff:127.0.0.2]:80")), "\(rule)")
            #expect(try rules.allows(address("[::1]:80")), "\(rule)")
        }
        #expect(try AccessRules(deny: "::ffff:127.0.0.2").allows(address("127.0.0.3:80")))
        #expect(try AccessRules(deny: "::ffff:127.0.0.0/104").allows(address("128.0.0.1:80")))
        // Half of what it names is no IPv4 address.
        for text in ["::ffff:127.0.0.2/95", "[::ffff:0.0.0.0]/0:80"] {
            #expect(throws: AccessRules.BadRule(text: text)) { try AccessRules(deny: text) }
        }
    }

    /// Packets to the unspecified address come to the machine itself.
    @Test func unspecifiedAddressesAreTheMachinesOwn() throws {
        let rules = try AccessRules(deny: "127.0.0.0/8 ::1")
        for text in ["0.0.0.0:80", "[::]:80", "[::ffff:0.0.0.0]:80"] {
            #expect(try !rules.allowsReaching(address(text)), "\(text)")
            #expect(try AccessRules().allowsReaching(address(text)), "\(text)")
            // It is an address of its own, too.
            #expect(try !AccessRules(allow: "127.0.0.0/8 ::1").allowsReaching(address(text)), "\(text)")
        }
        #expect(try rules.allowsReaching(address("[::2]:80")))
        #expect(try address("[::ffff:0.0.0.0]:80").reached == address("127.0.0.1:80"))
        #expect(try address("[::]:80").reached == address("[::1]:80"))
    }

    @Test func rulesForWholeFamilies() throws {
        func access(allow: String = "", deny: String = "", port: UInt16 = 80) throws -> [AccessRules.FamilyAccess] {
            let rules = try AccessRules(allow: allow, deny: deny)
            return [false, true].map { rules.allowsAll(isIPv6: $0, port: port) }
        }
        #expect(try access() == [.allowed, .allowed])
        #expect(try access(deny: "*") == [.refused, .refused])
        #expect(try access(deny: "*:81") == [.allowed, .allowed])
        #expect(try access(deny: "0.0.0.0/0") == [.refused, .allowed])
        #expect(try access(deny: "::/0") == [.allowed, .refused])
        #expect(try access(deny: "10.0.0.0/8:80") == [.divided, .allowed])
        #expect(try access(deny: "10.0.0.0/8:80", port: 81) == [.allowed, .allowed])
        #expect(try access(deny: "[fe80::]/10") == [.allowed, .divided])
        #expect(try access(allow: "0.0.0.0/0") == [.allowed, .refused])
        #expect(try access(allow: "127.0.0.1") == [.refused, .refused])
    }

    @Test func withoutRulesAllIsAllowed() throws {
        #expect(try AccessRules().allows(address("[2001:db8::1]:80")))
        #expect(try !AccessRules(deny: "*").allows(address("[2001:db8::1]:80")))
        #expect(try AccessRules(allow: "0.0.0.0/0").allows(address("1.2.3.4:5")))
        #expect(try !AccessRules(allow: "0.0.0.0/0").allows(address("[::1]:5")))
    }

    @Test(arguments: [
        "127.0.0.1/33", "127.0.0.1/x", "name:80", "1.2.3.4:90-80", "[::1", "[::1]x:80", "1.2.3.4:99999", "::1/129",
    ])
    func noRules(_ text: String) {
        #expect(throws: AccessRules.BadRule(text: text)) { try AccessRules(allow: text) }
    }

    @Test func familiesTakeTurns() throws {
        let four = try ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"].map { try address($0) }
        let six = try ["[::1]:1", "[::2]:1"].map { try address($0) }
        #expect(AddressOrder.interleaved(four + six) == [six[0], four[0], six[1], four[1], four[2]])
        #expect(AddressOrder.interleaved(six + six) == six)
        #expect(AddressOrder.interleaved([]).isEmpty)
    }

    @Test func nodeNumbersReadBack() {
        for number: NodeNumber in [
            .directory(.tcp), .name(77), .numbered(slot: 2047, serial: 0x0fff_ffff, file: .status),
            .numbered(slot: 0, serial: 1, file: .directory),
            .configuration(.addressList, interface: .max), .configuration(.root, interface: 0),
        ] {
            #expect(NodeNumber(number.number) == number)
            #expect(number.number < 1 << 48)
        }
        #expect(NodeNumber(0) == nil)
        #expect(NodeNumber(14) == nil)
        #expect(NodeNumber(1 << 46 | 15) == nil)
        #expect(NodeNumber(1 << 47 | 15) == nil)
    }
}
