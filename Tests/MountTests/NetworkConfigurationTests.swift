import Glibc
import Platform
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// `netcfg` beside what the kernel says elsewhere.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct NetworkConfigurationTests {
    private func names(_ path: String) throws -> [String] { try SystemCall.directoryNames(path).sorted() }

    @Test func showsTheMachine() throws {
        let system = try MountedSystem.withNetwork()
        let netcfg = "\(system.network)/netcfg"
        #expect(try names(netcfg) == ["ifaces", "resolv", "route"])
        let interfaces = try names("\(netcfg)/ifaces")
        #expect(interfaces.contains("lo"))
        // Others may come and go while the tests run, lo and those with addresses don't.
        let known = try names("/sys/class/net")
        #expect(known.contains { interfaces.contains($0) })
        for interface in interfaces where known.contains(interface) {
            #expect(try names("\(netcfg)/ifaces/\(interface)") == ["addr", "mac"])
            let mac = try textFile("/sys/class/net/\(interface)/address")
            #expect(try textFile("\(netcfg)/ifaces/\(interface)/mac") == (mac.isEmpty ? "Not configured" : mac))
        }
        let addresses = try textFile("\(netcfg)/ifaces/lo/addr/list").split(separator: "\n")
        #expect(addresses.contains("127.0.0.1/8"))
        // The same default routes as procfs has: "Iface Destination Gateway ..." in hexadecimal.
        let routes = try textFile("\(netcfg)/route/list").split(separator: "\n").map { $0.split(separator: " ") }
        let table = try SystemCall.smallFile("/proc/net/route").split(separator: "\n").dropFirst()
            .map { $0.split(whereSeparator: \.isWhitespace) }
        let defaults = table.filter { $0.count > 7 && $0[1] == "00000000" && $0[7] == "00000000" }.map { $0[0] }
        let shown = routes.filter { $0[0] == "default" && !$0.contains { $0.contains(":") } }
        let devices = shown.compactMap { line in line.firstIndex(of: "dev").map { line[$0 + 1] } }
        #expect(devices.sorted() == defaults.sorted())
        #expect(routes.allSatisfy { $0[0] == "default" || $0[0].contains("/") })
        let servers = try SystemCall.smallFile("/etc/resolv.conf").split(separator: "\n")
            .map { $0.split(whereSeparator: \.isWhitespace) }.filter { $0.first == "nameserver" }.map { $0[1] }
        #expect(try textFile("\(netcfg)/resolv/nameserver").split(separator: "\n") == servers)
        try system.end()
    }

    /// Without a grant nothing can be written; what isn't there is ENOENT.
    @Test func isReadOnly() throws {
        let system = try MountedSystem.withNetwork()
        let netcfg = "\(system.network)/netcfg"
        for path in ["resolv/nameserver", "ifaces/lo/mac", "ifaces/lo/addr/list", "route/list"] {
            #expect(errno { try open("\(netcfg)/\(path)") } == EROFS, "\(path)")
        }
        #expect(errno { try textFile("\(netcfg)/ifaces/none/mac") } == ENOENT)
        #expect(errno { try textFile("\(netcfg)/nothing") } == ENOENT)
        #expect(errno { try textFile("\(netcfg)/route/list/x") } == ENOTDIR)
        try system.end()
    }

    @Test func nameServersCanBeGranted() throws {
        let server = try NameServer { $0.hasPrefix("none") ? nil : [[192, 0, 2, 77]] }
        defer { server.stop() }
        let system = try MountedSystem.withNetwork([("netcfg", "write"), ("deny", "127.0.0.9")])
        let path = "\(system.network)/netcfg/resolv/nameserver"
        func write(_ text: String) -> Int32 {
            errno {
                let file = try open(path)
                defer { close(file) }
                if unsafe Glibc.write(file, text, text.utf8.count) < 0 { throw Errno(rawValue: Glibc.errno) }
            }
        }
        #expect(write("nonsense\n") == EINVAL)
        #expect(write("\n") == EINVAL)
        #expect(write("127.0.0.9\n") == EACCES)
        // Nothing is taken in part.
        #expect(write("127.0.0.1:\(server.port)" + String(repeating: "\n", count: 512)) == EINVAL)
        let other = try open(path)
        #expect(unsafe pwrite(other, "127.0.0.1\n", 10, 4) == -1 && Glibc.errno == EINVAL)
        close(other)
        #expect(write("127.0.0.1:\(server.port)\n") == 0)
        #expect(try textFile(path) == "127.0.0.1:\(server.port)")
        #expect(try textFile("\(system.network)/dns/one.example") == "192.0.2.77")
        #expect(errno { try textFile("\(system.network)/dns/none.example") } == ENOENT)
        #expect(errno { try open("\(system.network)/tcp/none.example:80") } == ENOENT)
        // They stay when the server is killed.
        if let pid = try system.pid("network"), pid > 1 { kill(pid, SIGKILL) }
        #expect(try textFile("\(system.network)/dns/two.example") == "192.0.2.77")
        #expect(try textFile(path) == "127.0.0.1:\(server.port)")
        // The rest of netcfg is as it was.
        #expect(errno { try open("\(system.network)/netcfg/route/list") } == EROFS)
        try system.end()
    }
}
