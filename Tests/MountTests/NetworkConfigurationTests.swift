import Glibc
import Platform
import Supervisor
import Synchronization
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
        let server = try NameServer()
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
        server.stop()
        try system.end()
    }
}

/// Answers each question for an IPv4 address with 192.0.2.77, and all others with nothing; names that begin with "none" aren't there
/// (RFC 1035).
private final class NameServer: Sendable {
    let port: UInt16
    private let socket: SharedDescriptor
    private let isStopped = Atomic<Bool>(false)
    private let thread = Locked<JoinHandle?>(nil)

    init() throws {
        socket = try SystemCall.socket(.datagram, isIPv6: false)
        guard let address = SocketAddress(numeric: "127.0.0.1", port: 0) else { throw Errno.invalidArgument }
        try SystemCall.bind(socket.rawValue, to: address)
        port = try SystemCall.localAddress(socket.rawValue).port
        let server = try spawnThread(name: "names") { [self] in serve() }
        thread.withLock { $0 = server }
    }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 512)
        while !isStopped.load(ordering: .relaxed) {
            var entry = [pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)]
            _ = try? SystemCall.poll(&entry, milliseconds: 20)
            var span = buffer.mutableSpan
            var bytes = unsafe span.mutableBytes
            guard let (count, sender) = try? SystemCall.receiveDatagram(socket.rawValue, into: &bytes), let sender
            else { continue }
            let answer = Self.answer(Array(buffer.prefix(count)))
            _ = try? SystemCall.send(socket.rawValue, unsafe answer.span.bytes, to: sender)
        }
    }

    /// Header of 12 bytes, name, type, class; then perhaps what extends the protocol, which is left out.
    private static func answer(_ question: [UInt8]) -> [UInt8] {
        var end = 12
        while end < question.count, question[end] != 0 { end += Int(question[end]) + 1 }
        end += 5
        guard end <= question.count else { return question }
        let isThere = !question[13...].starts(with: "none".utf8)
        let isAddress = isThere && question[end - 4] == 0 && question[end - 3] == 1
        let header: [UInt8] = [0x81, isThere ? 0x80 : 0x83, 0, 1, 0, isAddress ? 1 : 0, 0, 0, 0, 0]
        let record: [UInt8] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77]
        return question[..<2] + header + question[12..<end] + (isAddress ? record : [])
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
        thread.withLock { $0 }?.join()
    }
}
