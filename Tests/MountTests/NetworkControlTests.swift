import Glibc
import Platform
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// The verbs of `ctl`, what they refuse, and what the kernel says came of them.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct NetworkControlTests {
    /// Writes a command; 0 or the errno.
    private func command(_ ctl: Int32, _ text: String) -> Int32 {
        unsafe write(ctl, text, text.utf8.count) == text.utf8.count ? 0 : Glibc.errno
    }

    /// The word behind another in a `status`.
    private func option(_ name: String, _ folder: String) throws -> String? {
        let words = try textFile("\(folder)/status").split(separator: " ").map(String.init)
        return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
    }

    @Test func optionsAreTheKernels() throws {
        let system = try MountedSystem.withNetwork()
        let listener = try Listener()
        let ctl = try open("\(system.network)/tcp/clone")
        let folder = "\(system.network)/tcp/\(text(ctl))"
        // Before it connects: kept, also by the next server, and given to the socket.
        for set in ["nodelay on", "keepalive 30", "ttl 9", "timeout 5000"] { #expect(command(ctl, set) == 0, "\(set)") }
        if let pid = try system.pid("network"), pid > 1 { kill(pid, SIGKILL) }
        #expect(command(ctl, "connect 127.0.0.1:\(listener.port)") == 0)
        let peer = try listener.accept()
        for (name, value) in [("nodelay", "on"), ("keepalive", "30"), ("ttl", "9"), ("timeout", "5000")] {
            #expect(try option(name, folder) == value, "\(name)")
        }
        for (set, name, value) in [
            ("nodelay off", "nodelay", "off"), ("keepalive off", "keepalive", "off"), ("ttl 64", "ttl", "64"),
            ("timeout 0", "timeout", "0"), ("keepalive 7", "keepalive", "7"),
        ] {
            #expect(command(ctl, set) == 0, "\(set)")
            #expect(try option(name, folder) == value, "\(set)")
        }
        for wrong in [
            "nodelay", "nodelay yes", "keepalive", "keepalive 0", "keepalive 40000", "ttl 0", "ttl 256", "ttl x",
            "timeout -1", "timeout", "shutdown", "shutdown all", "hangup now", "headers", "nonsense", "ttl 1 2",
            String(repeating: "x", count: 600),
        ] {
            #expect(command(ctl, wrong) == EINVAL, "\(wrong)")
        }
        #expect(command(ctl, "connect 127.0.0.1:\(listener.port)") == EISCONN)
        #expect(command(ctl, "announce 127.0.0.1:0") == EINVAL)
        close(peer)
        close(ctl)
        try system.end()
    }

    /// IPv6 has another option for the same.
    @Test func hopsOfIPv6AreTheKernels() throws {
        let system = try MountedSystem.withNetwork()
        let listener = try Listener(isIPv6: true)
        let ctl = try open("\(system.network)/tcp/clone")
        let folder = "\(system.network)/tcp/\(text(ctl))"
        #expect(command(ctl, "ttl 9") == 0)
        #expect(command(ctl, "connect [::1]:\(listener.port)") == 0)
        #expect(try option("ttl", folder) == "9")
        #expect(command(ctl, "ttl 65") == 0)
        #expect(try option("ttl", folder) == "65")
        close(ctl)
        try system.end()
    }

    @Test func connectsOverBothFamilies() throws {
        let system = try MountedSystem.withNetwork([("deny", "127.0.0.9")])
        let ctl = try open("\(system.network)/tcp/clone")
        let folder = "\(system.network)/tcp/\(text(ctl))"
        #expect(try textFile("\(folder)/status") == "Closed")
        let data = try open("\(folder)/data")
        #expect(unsafe write(data, "x", 1) == -1 && Glibc.errno == ENOTCONN)
        for wrong in ["connect", "connect nonsense", "connect *:80", "announce 300.1.1.1:80"] {
            #expect(command(ctl, wrong) == EINVAL, "\(wrong)")
        }
        for command in ["hangup", "shutdown both"] { #expect(self.command(ctl, command) == ENOTCONN) }
        #expect(command(ctl, "connect 127.0.0.1:\(try freePort())") == ECONNREFUSED)
        #expect(command(ctl, "connect 127.0.0.9:1") == EACCES)
        #expect(command(ctl, "announce 127.0.0.9:0") == EACCES)
        // After all of these it can still connect, here by Plan 9's way to write an address.
        let listener = try Listener()
        #expect(command(ctl, "connect localhost!\(listener.port)") == 0)
        let peer = try listener.accept()
        #expect(try textFile("\(folder)/remote") == "127.0.0.1:\(listener.port)")
        sendAll(data, Array("word".utf8))
        #expect(receive(peer, 4) == Array("word".utf8))
        for file in [peer, data, ctl] { close(file) }
        try system.end()
    }

    @Test func directionsEndSeparately() throws {
        let system = try MountedSystem.withNetwork()
        let listener = try Listener()
        func connected() throws -> (ctl: Int32, data: Int32, peer: Int32) {
            let ctl = try open("\(system.network)/tcp/clone")
            #expect(command(ctl, "connect 127.0.0.1:\(listener.port)") == 0)
            return (ctl, try open("\(system.network)/tcp/\(text(ctl))/data"), try listener.accept())
        }
        // Writing ends, reading goes on, also after a death.
        var call = try connected()
        #expect(command(call.ctl, "shutdown write") == 0)
        #expect(receive(call.peer, 1) == [])
        #expect(unsafe write(call.data, "x", 1) == -1 && Glibc.errno == EPIPE)
        if let pid = try system.pid("network"), pid > 1 { kill(pid, SIGKILL) }
        sendAll(call.peer, Array("still".utf8))
        #expect(receive(call.data, 5) == Array("still".utf8))
        #expect(unsafe write(call.data, "x", 1) == -1 && Glibc.errno == EPIPE)
        for file in [call.ctl, call.data, call.peer] { close(file) }
        // Reading ends, writing goes on.
        call = try connected()
        #expect(command(call.ctl, "shutdown read") == 0)
        #expect(receive(call.data, 1) == [])
        sendAll(call.data, Array("more".utf8))
        #expect(receive(call.peer, 4) == Array("more".utf8))
        for file in [call.ctl, call.data, call.peer] { close(file) }
        for end in ["hangup", "shutdown both"] {
            call = try connected()
            #expect(command(call.ctl, end) == 0)
            #expect(receive(call.peer, 1) == [])
            #expect(receive(call.data, 1) == [])
            #expect(unsafe write(call.data, "x", 1) == -1 && Glibc.errno == EPIPE)
            for file in [call.ctl, call.data, call.peer] { close(file) }
        }
        try system.end()
    }

    /// Nobody answers: the queue of callers is full, so the kernel drops who comes.
    @Test func connectingTimesOut() throws {
        let system = try MountedSystem.withNetwork()
        let socket = try SystemCall.socket(.stream, isIPv6: false)
        guard let address = SocketAddress(numeric: "127.0.0.1", port: 0) else { throw Errno.invalidArgument }
        try SystemCall.bind(socket.rawValue, to: address)
        try SystemCall.listen(socket.rawValue, backlog: 0)
        let bound = try SystemCall.localAddress(socket.rawValue)
        var fillers: [SharedDescriptor] = []
        while true {
            let filler = try SystemCall.socket(.stream, isIPv6: false)
            try SystemCall.connect(filler.rawValue, to: bound)
            fillers.append(filler)
            var entry = [pollfd(fd: filler.rawValue, events: Int16(POLLOUT), revents: 0)]
            if try SystemCall.poll(&entry, milliseconds: 200) == 0 { break }
        }
        let ctl = try open("\(system.network)/tcp/clone")
        #expect(command(ctl, "timeout 100") == 0)
        #expect(command(ctl, "connect \(bound)") == ETIMEDOUT)
        // As well if it has to be begun anew.
        let control = "\(system.folder)/control"
        let other = try spawnThread(name: "killer") {
            usleep(100_000)
            if let client = try? ControlClient(path: control),
                let pid = try? MountedSystem.pid("network", client), pid > 1
            {
                kill(pid, SIGKILL)
            }
        }
        #expect(command(ctl, "connect \(bound)") == ETIMEDOUT)
        other.join()
        #expect(!fillers.isEmpty)
        close(ctl)
        try system.end()
    }

    @Test func datagramsWithHeadersAndHops() throws {
        let system = try MountedSystem.withNetwork([("deny", "127.0.0.9")])
        let peer = try SystemCall.socket(.datagram, isIPv6: false)
        guard let address = SocketAddress(numeric: "127.0.0.1", port: 0) else { throw Errno.invalidArgument }
        try SystemCall.bind(peer.rawValue, to: address)
        let bound = try SystemCall.localAddress(peer.rawValue)
        let ctl = try open("\(system.network)/udp/clone")
        let folder = "\(system.network)/udp/\(text(ctl))"
        #expect(command(ctl, "nodelay on") == EINVAL)
        #expect(command(ctl, "ttl 7") == 0)
        #expect(command(ctl, "connect \(bound)") == 0)
        let data = try open("\(folder)/data")
        sendAll(data, Array("plain".utf8))
        let own = try textFile("\(folder)/local")
        func received() throws -> (String, String) {
            var entry = [pollfd(fd: peer.rawValue, events: Int16(POLLIN), revents: 0)]
            _ = try SystemCall.poll(&entry, milliseconds: -1)
            var buffer = [UInt8](repeating: 0, count: 100)
            var span = buffer.mutableSpan
            var bytes = unsafe span.mutableBytes
            let (count, sender) = try SystemCall.receiveDatagram(peer.rawValue, into: &bytes)
            return (String(decoding: buffer.prefix(count), as: UTF8.self), sender.map { "\($0)" } ?? "")
        }
        #expect(try received() == ("plain", own))
        // From here on the other side's address stands in front, both ways.
        #expect(command(ctl, "headers") == 0)
        sendAll(data, Array("\(bound)\nheaded\nand more".utf8))
        #expect(try received() == ("headed\nand more", own))
        #expect(unsafe write(data, "127.0.0.9:1\nx", 13) == -1 && Glibc.errno == EACCES)
        #expect(unsafe write(data, "no header", 9) == -1 && Glibc.errno == EINVAL)
        guard let target = SocketAddress(numeric: "127.0.0.1", port: UInt16(own.split(separator: ":")[1]) ?? 0) else {
            throw Errno.invalidArgument
        }
        let answer = Array("answer".utf8)
        _ = try SystemCall.send(peer.rawValue, unsafe answer.span.bytes, to: target)
        var buffer = [UInt8](repeating: 0, count: 100)
        let count = unsafe read(data, &buffer, buffer.count)
        #expect(String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self) == "\(bound)\nanswer")
        close(data)
        close(ctl)
        try system.end()
    }
}
