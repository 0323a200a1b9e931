import Glibc
import Platform
import SchemeProtocol
import SystemPackage
import TestSupport
import Testing

@testable import NetworkScheme
@testable import SchemeKit

/// Addresses of one's own: which may be had, how listening ends, what callers inherit.
struct ListeningTests {
    /// Whether the machine has IPv6 addresses.
    private static let hasIPv6: Bool = {
        guard let socket = try? SystemCall.socket(.stream, isIPv6: true),
            let address = SocketAddress(numeric: "::1", port: 0)
        else { return false }
        return (try? SystemCall.bind(socket.rawValue, to: address)) != nil
    }()

    private func bound(_ text: String, allow: String = "", deny: String = "") throws -> SharedDescriptor {
        let endpoint = try #require(Endpoint(text))
        return try LocalScheme(allow: allow, deny: deny).scheme.bound(.stream, endpoint)
    }

    private func option(_ socket: SharedDescriptor, _ level: Int, _ name: Int32) throws -> Int32 {
        try SystemCall.socketOption(socket.rawValue, level: Int32(level), name: name)
    }

    /// Any address means those of the families that the rules allow.
    @Test(.enabled(if: hasIPv6, "this machine has no IPv6"))
    func rulesHoldForEachFamily() throws {
        let both = try bound("*:0")
        #expect(try SystemCall.localAddress(both.rawValue).isIPv6)
        #expect(try option(both, IPPROTO_IPV6, IPV6_V6ONLY) == 0)
        let six = try bound("*:0", deny: "0.0.0.0/0")
        #expect(try SystemCall.localAddress(six.rawValue).isIPv6)
        #expect(try option(six, IPPROTO_IPV6, IPV6_V6ONLY) == 1)
        for four in [try bound("*:0", deny: "::/0"), try bound("*:0", allow: "0.0.0.0/0")] {
            #expect(try !SystemCall.localAddress(four.rawValue).isIPv6)
        }
        #expect(throws: Errno.permissionDenied) { try bound("*:0", deny: "*") }
        #expect(throws: Errno.permissionDenied) { try bound("*:0", allow: "127.0.0.1") }
    }

    /// Where a part of all addresses is denied, all can't be listened on.
    @Test func deniedPartsAreNotListenedOn() throws {
        for denied in ["127.0.0.1", "127.0.0.1:0-9", "::1"] {
            #expect(throws: Errno.permissionDenied, "\(denied)") { try bound("*:0", deny: denied) }
        }
        #expect(throws: Errno.permissionDenied) { try bound("0.0.0.0:0", deny: "127.0.0.1") }
        _ = try bound("0.0.0.0:0", deny: "::1")
        _ = try bound("0.0.0.0:0", deny: "127.0.0.1:8080")
        _ = try bound("127.0.0.2:0", deny: "127.0.0.1")
    }
}
