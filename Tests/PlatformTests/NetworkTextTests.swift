import Glibc
import SystemPackage
import Testing

@testable import Platform

/// What stands for a host and a port, and what the kernel says of its network.
@Suite struct NetworkTextTests {
    @Test(
        arguments: [
            ("host:80", "host", 80), ("host", "host", nil), (":80", "", 80), ("", "", nil), ("[::1]:443", "::1", 443),
            ("[::1]", "::1", nil), ("[fe80::1%2]:0", "fe80::1%2", 0), ("127.0.0.1:65535", "127.0.0.1", 65535),
        ] as [(String, String, UInt16?)])
    func hostsAndPorts(_ text: String, _ host: String, _ port: UInt16?) throws {
        let parts = try HostAndPort(text)
        #expect(parts.host == host)
        #expect(parts.port == port)
        #expect(parts.isBracketed == text.hasPrefix("["))
    }

    @Test(
        arguments: [
            ("host:", .port("")), ("host:x", .port("x")), ("host:65536", .port("65536")), ("host:+1", .port("+1")),
            ("host:-1", .port("-1")), ("host:\u{663}", .port("\u{663}")), ("::1:80", .bracketsMissing),
            ("a:b:1", .bracketsMissing), ("[::1", .brackets), ("[host]:80", .brackets), ("[::1]80", .brackets),
            ("[::1]:", .port("")),
        ] as [(String, HostAndPort.Flaw)])
    func otherTexts(_ text: String, _ flaw: HostAndPort.Flaw) {
        #expect(throws: flaw) { try HostAndPort(text) }
    }

    /// A question that the kernel refuses gives its reason.
    @Test func refusedQuestionsSayWhy() {
        #expect(throws: Errno(rawValue: EOPNOTSUPP)) { try SystemCall.messages(0x7ffe, 0, headerBytes: 0) }
    }
}
