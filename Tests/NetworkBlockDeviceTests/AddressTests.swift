import BlockDevice
import Platform
import Testing

@testable import NetworkBlockDevice

/// How a server's export is written.
@Suite struct AddressTests {
    @Test func addressesAreTakenApart() throws {
        #expect(try NBDAddress("nbd://host").place == .tcp(host: "host", port: 10809))
        #expect(try NBDAddress("nbd://host/").export == "")
        #expect(try NBDAddress("NBD://host:1234/a/b").place == .tcp(host: "host", port: 1234))
        #expect(try NBDAddress("nbd://host:1234/a/b").export == "a/b")
        #expect(try NBDAddress("nbd://[::1]/x").place == .tcp(host: "::1", port: 10809))
        #expect(try NBDAddress("nbd://[fe80::1%252]:99").place == .tcp(host: "fe80::1%252", port: 99))
        #expect(try NBDAddress("nbd+unix:///?socket=/run/s").place == .unix(path: "/run/s"))
        #expect(try NBDAddress("nbd+unix:///disk%201?socket=/a%3Fb%23").export == "disk 1")
        #expect(try NBDAddress("nbd+unix:///disk%201?socket=/a%3Fb%23").place == .unix(path: "/a?b#"))
        #expect(try NBDAddress("nbd+unix://?socket=rel").endpoints(from: "/here") == [.unix(path: "/here/rel")])
        let address = try #require(SocketAddress(numeric: "::1", port: 10809))
        #expect(try NBDAddress("nbd://[::1]").endpoints(from: "/") == [.internet(address)])
        #expect(try !NBDAddress("nbd://localhost").endpoints(from: "/").isEmpty)
    }

    @Test(arguments: [
        "nbd://", "nbd:///x", "nbd://host:0", "nbd://host:99999", "nbd://host:x", "nbd://::1", "nbds://host",
        "nbd+vsock://1/", "nbd+unix:///x", "nbd+unix://x?socket=/s", "nbd+unix:///?socket=", "nbd+unix:///?sock=/s",
        "nbd://host/?socket=/s", "nbd://host/%", "nbd://host/%0", "nbd://host/%zz", "nbd://host/%00", "nbd://host/%ff",
        "nbd://host/" + String(repeating: "x", count: 4097), "file", "",
    ])
    func nonsenseIsRefused(text: String) {
        #expect(throws: BlockDeviceError.self) { try NBDAddress(text) }
    }

    @Test func onlyAddressesAreMeant() {
        for text in ["nbd://host", "nbds://host", "nbd+unix:///?socket=/s", "NBD+vsock://1"] {
            #expect(NBDAddress.isMeant(text), "\(text)")
        }
        for text in ["disk.img", "nbd", "nbd:disk", "./nbd://x", "dir/nbd+x", ""] {
            #expect(!NBDAddress.isMeant(text), "\(text)")
        }
    }

    @Test func endpointsTravelAsText() throws {
        for text in ["unix:/run/a:b", "tcp:127.0.0.1:80", "tcp:[::1]:80", "tcp:[fe80::1%2]:10809"] {
            #expect(SocketEndpoint(text: text)?.text == text)
        }
        for text in ["", "unix", "unix:rel", "tcp:host:1", "tcp:127.0.0.1", "tcp:127.0.0.1:70000", "udp:1.1.1.1:1"] {
            #expect(SocketEndpoint(text: text) == nil, "\(text)")
        }
    }
}
