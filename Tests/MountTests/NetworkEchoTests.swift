import Glibc
import Platform
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// Why echoes can't be asked for here, or nil.
private let echoObstacle: Comment? =
    if let mountObstacle {
        mountObstacle
    } else if (try? SystemCall.rawEchoSocket(isIPv6: false)) == nil {
        "this machine lets nobody have raw sockets"
    } else {
        nil
    }

/// Names of this machine, with IPv6 where the kernel has it.
private let ownNames: [String] = {
    let six = try? SystemCall.socket(.datagram, isIPv6: true)
    guard let six, let address = SocketAddress(numeric: "::1", port: 0),
        (try? SystemCall.bind(six.rawValue, to: address)) != nil
    else { return ["127.0.0.1", "localhost"] }
    return ["127.0.0.1", "::1", "localhost"]
}()

/// `icmp/echo`: only to this machine itself.
@Suite(.enabled(if: echoObstacle == nil, echoObstacle))
struct NetworkEchoTests {
    /// The sockets that root gives the scheme; fewer where the kernel has no IPv6 or the container no right to them.
    private var sockets: [(name: String, descriptor: SharedDescriptor)] {
        [("icmp4", false), ("icmp6", true)].compactMap { name, isIPv6 in
            (try? SystemCall.rawEchoSocket(isIPv6: isIPv6)).map { (name, $0) }
        }
    }

    private func line(_ file: Int32) -> String {
        var result: [UInt8] = []
        var byte: UInt8 = 0
        while unsafe read(file, &byte, 1) == 1, byte != 0x0a { result.append(byte) }
        return String(decoding: result, as: UTF8.self)
    }

    private func isLine(_ text: String, _ host: String, _ number: Int) -> Bool {
        let words = text.split(separator: " ")
        guard words.count == 7, words[6] == "ms", words[5].hasPrefix("time=") else { return false }
        let time = Double(words[5].dropFirst(5)) ?? -1
        return words.prefix(5).joined(separator: " ") == "64 bytes from \(host): seq=\(number)" && time > 0
            && time < 60_000
    }

    @Test(arguments: ownNames)
    func eachReadIsARoundTrip(_ host: String) throws {
        let system = try MountedSystem.withNetwork(descriptors: sockets)
        let file = unsafe Glibc.open("\(system.network)/icmp/echo/\(host)", O_RDONLY | O_CLOEXEC)
        try #require(file >= 0, "\(Errno(rawValue: Glibc.errno))")
        var numeric = host
        let first = line(file)
        if host == "localhost" { numeric = first.contains("::1") ? "::1" : "127.0.0.1" }
        #expect(isLine(first, numeric, 1), "\(first)")
        // A death in the middle of a line: it goes on, and so do the numbers.
        var start = [UInt8](repeating: 0, count: 10)
        #expect(unsafe read(file, &start, 10) == 10)
        if let pid = try system.pid("network"), pid > 1 { kill(pid, SIGKILL) }
        let second = String(decoding: start, as: UTF8.self) + line(file)
        #expect(isLine(second, numeric, 2), "\(second)")
        if let pid = try system.pid("network"), pid > 1 { kill(pid, SIGKILL) }
        let third = line(file)
        #expect(isLine(third, numeric, 3), "\(third)")
        close(file)
        try system.end()
    }

    @Test func waitsOnlyIfItMay() throws {
        let system = try MountedSystem.withNetwork(descriptors: sockets)
        let path = "\(system.network)/icmp/echo/127.0.0.1"
        let file = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        try #require(file >= 0, "\(Errno(rawValue: Glibc.errno))")
        var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        #expect(unsafe Glibc.poll(&entry, 1, -1) == 1)
        #expect(isLine(line(file), "127.0.0.1", 1))
        var byte: UInt8 = 0
        // A second has not passed since.
        #expect(unsafe read(file, &byte, 1) == -1 && Glibc.errno == EAGAIN)
        #expect(unsafe Glibc.poll(&entry, 1, -1) == 1)
        #expect(isLine(line(file), "127.0.0.1", 2))
        close(file)
        #expect(errno { try open(path) } == EACCES)
        try system.end()
    }

    /// Rules hold, and where there are no sockets the opening says so.
    @Test func refusalsSayWhy() throws {
        let system = try MountedSystem.withNetwork([("deny", "127.0.0.9")])
        func code(_ host: String) -> Int32 {
            let file = unsafe Glibc.open("\(system.network)/icmp/echo/\(host)", O_RDONLY | O_CLOEXEC)
            if file < 0 { return Glibc.errno }
            close(file)
            return 0
        }
        #expect(code("127.0.0.9") == EACCES)
        #expect(code("no such host") == ENOENT)
        let groups = try SystemCall.smallFile("/proc/sys/net/ipv4/ping_group_range")
        let range = groups.split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) }
        if range.count == 2, range[0] > range[1] {
            #expect(code("127.0.0.1") == EPROTONOSUPPORT)
        } else if range == [0, 2_147_483_647] {
            #expect(code("127.0.0.1") == 0)
        }
        try system.end()
    }
}
