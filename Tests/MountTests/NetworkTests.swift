import Glibc
import Platform
import Supervisor
import Synchronization
import SystemPackage
import TestSupport
import Testing

extension MountedSystem {
    /// A system with the network scheme, all schemes as directories.
    static func withNetwork(
        _ settings: [(String, String)] = [], descriptors: [(name: String, descriptor: SharedDescriptor)] = []
    ) throws -> MountedSystem {
        try MountedSystem { configuration in
            configuration.router?.settings.removeAll { $0.key == "root" }
            guard let path = try? MountFolder.program("scheme-network") else { return }
            var member = MemberConfiguration(name: "network", executablePath: path, manifest: .network)
            member.settings = [("owner", "0:0")] + settings
            member.descriptors = descriptors
            configuration.schemes.append(member)
        }
    }

    var network: String { "\(root)/network" }
}

/// Connections through the mount, to programs on the loopback interface alone.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct NetworkTests {
    @Test func echoesBothWays() throws {
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            let system = try MountedSystem.withNetwork()
            let echo = try EchoServer(isIPv6: host == "[::1]")
            let file = try open("\(system.network)/tcp/\(host):\(echo.port)")
            let bytes = pattern(1, 300_000)
            let writer = try spawnThread(name: "writer") { sendAll(file, bytes) }
            #expect(receive(file, bytes.count) == bytes)
            writer.join()
            close(file)
            echo.waitUntilClosed(1)
            try system.end()
        }
    }

    @Test func errorsAreThoseOfASocket() throws {
        let system = try MountedSystem.withNetwork([("deny", "127.0.0.9")])
        let unused = try EchoServer()
        let port = unused.port
        unused.stop()
        #expect(errno(of: "\(system.network)/tcp/127.0.0.1:\(port)") == ECONNREFUSED)
        #expect(errno(of: "\(system.network)/tcp/127.0.0.9:\(port)") == EACCES)
        #expect(errno(of: "\(system.network)/tcp/listen/127.0.0.9:0") == EACCES)
        #expect(errno(of: "\(system.network)/tcp/nonsense") == ENOENT)
        #expect(errno(of: "\(system.network)/tcp/[127.0.0.1]:1") == ENOENT)
        // The end of the stream, and writing to who is gone.
        let listener = try Listener()
        let file = try open("\(system.network)/tcp/127.0.0.1:\(listener.port)")
        let peer = try listener.accept()
        sendAll(peer, [1, 2, 3])
        close(peer)
        #expect(receive(file, 3) == [1, 2, 3])
        #expect(receive(file, 1) == [])
        var code: Int32 = 0
        while code == 0 { if unsafe write(file, "x", 1) < 0 { code = Glibc.errno } }
        #expect(code == EPIPE || code == ECONNRESET)
        close(file)
        try system.end()
    }

    @Test func waitsOnlyIfItMay() throws {
        let system = try MountedSystem.withNetwork()
        let listener = try Listener()
        let file = try open("\(system.network)/tcp/127.0.0.1:\(listener.port)")
        let peer = try listener.accept()
        _ = fcntl(file, F_SETFL, O_NONBLOCK)
        var byte: UInt8 = 0
        #expect(unsafe read(file, &byte, 1) == -1 && Glibc.errno == EAGAIN)
        var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        #expect(unsafe Glibc.poll(&entry, 1, 0) == 0)
        let sender = try spawnThread(name: "sender") {
            usleep(20_000)
            sendAll(peer, [7])
        }
        #expect(unsafe Glibc.poll(&entry, 1, -1) == 1)
        #expect(unsafe read(file, &byte, 1) == 1 && byte == 7)
        sender.join()
        // Fills until there is no room, then waits for room.
        let block = pattern(3, 65536)
        var sent = 0
        while true {
            let count = unsafe write(file, block, block.count)
            if count < 0 {
                #expect(Glibc.errno == EAGAIN)
                break
            }
            sent += count
        }
        entry.events = Int16(POLLOUT)
        let drain = try spawnThread(name: "drain") { [sent] in _ = receive(peer, sent) }
        #expect(unsafe Glibc.poll(&entry, 1, -1) == 1)
        drain.join()
        close(peer)
        close(file)
        try system.end()
    }

    @Test func numberedConnections() throws {
        let system = try MountedSystem.withNetwork()
        let tcp = "\(system.network)/tcp"
        let ctl = try open("\(tcp)/clone")
        let number = text(ctl)
        #expect(Int(number) != nil)
        sendAll(ctl, Array("announce 127.0.0.1:0\n".utf8))
        let address = try textFile("\(tcp)/\(number)/local")
        #expect(try textFile("\(tcp)/\(number)/status").hasPrefix("Listen"))
        let client = try open("\(tcp)/\(address)")
        let call = try open("\(tcp)/\(number)/listen")
        let callNumber = text(call)
        let data = try open("\(tcp)/\(callNumber)/data")
        sendAll(client, Array("hello".utf8))
        #expect(receive(data, 5) == Array("hello".utf8))
        for command in ["nodelay on", "nodelay off", "keepalive 30", "keepalive off", "ttl 9", "timeout 5000"] {
            #expect(unsafe write(call, command, command.utf8.count) == command.utf8.count, "\(command)")
        }
        #expect(unsafe write(call, "ttl 256", 7) == -1 && Glibc.errno == EINVAL)
        #expect(unsafe write(call, "nonsense", 8) == -1 && Glibc.errno == EINVAL)
        sendAll(call, Array("shutdown write".utf8))
        #expect(receive(client, 1) == [])
        #expect(try textFile("\(tcp)/\(callNumber)/local") == address)
        // Without a handle the connection is gone.
        for file in [data, call, client, ctl] { close(file) }
        while unsafe access("\(tcp)/\(number)", F_OK) == 0 { usleep(1000) }
        try system.end()
    }

    @Test func eachOpenIsACaller() throws {
        let system = try MountedSystem.withNetwork()
        let port = try freePort()
        let path = "\(system.network)/tcp/listen/127.0.0.1:\(port)"
        let server = try spawnThread(name: "server") {
            for _ in 0..<20 {
                guard let file = try? open(path) else { continue }
                let bytes = receive(file, 4)
                sendAll(file, Array(bytes.reversed()))
                close(file)
            }
        }
        system.waitUntilListening("127.0.0.1:\(port)")
        for round in 0..<20 {
            let client = try connectLocally(port)
            let bytes = [UInt8(round), 2, 3, 4]
            sendAll(client, bytes)
            #expect(receive(client, 4) == Array(bytes.reversed()))
            #expect(receive(client, 1) == [])
            close(client)
        }
        server.join()
        #expect(unsafe unlink(path) == 0)
        #expect(errno { try connectLocally(port) } == ECONNREFUSED)
        try system.end()
    }

    @Test func removingTheNameSendsWaitersAway() throws {
        let system = try MountedSystem.withNetwork()
        let port = try freePort()
        let path = "\(system.network)/tcp/listen/127.0.0.1:\(port)"
        let outcome = Locked<Int32>(0)
        let server = try spawnThread(name: "server") {
            let code = errno {
                let file = try open(path)
                close(file)
            }
            outcome.withLock { $0 = code }
        }
        system.waitUntilListening("127.0.0.1:\(port)")
        #expect(unsafe unlink(path) == 0)
        server.join()
        #expect(outcome.withLock { $0 } == ECONNABORTED)
        #expect(errno { try connectLocally(port) } == ECONNREFUSED)
        // It can be made anew.
        let again = try spawnThread(name: "server") {
            if let file = try? open(path) { close(file) }
        }
        system.waitUntilListening("127.0.0.1:\(port)")
        close(try connectLocally(port))
        again.join()
        try system.end()
    }

    @Test func datagramsStayWhole() throws {
        let system = try MountedSystem.withNetwork()
        let udp = "\(system.network)/udp"
        let ctl = try open("\(udp)/clone")
        let number = text(ctl)
        sendAll(ctl, Array("announce 127.0.0.1:0".utf8))
        let address = try textFile("\(udp)/\(number)/local")
        let data = try open("\(udp)/\(number)/data")
        let client = try open("\(udp)/\(address)")
        sendAll(client, Array("one".utf8))
        sendAll(client, Array("second".utf8))
        var buffer = [UInt8](repeating: 0, count: 1000)
        var parts: [String] = []
        for _ in 0..<2 {
            let count = unsafe read(data, &buffer, buffer.count)
            parts.append(String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self))
        }
        let lines = parts[0].split(separator: "\n")
        #expect(lines.count == 2 && lines[1] == "one")
        #expect(parts[1].hasSuffix("\nsecond"))
        sendAll(data, Array("\(lines[0])\nanswer".utf8))
        let count = unsafe read(client, &buffer, buffer.count)
        #expect(String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self) == "answer")
        for file in [client, data, ctl] { close(file) }
        try system.end()
    }

    @Test func namesAreLookedUp() throws {
        let system = try MountedSystem.withNetwork()
        #expect(try textFile("\(system.network)/dns/localhost").split(separator: "\n").contains("127.0.0.1"))
        #expect(try textFile("\(system.network)/dns/::1") == "::1")
        try system.end()
    }

    @Test func thousandConnections() throws {
        let system = try MountedSystem.withNetwork()
        let count = 1000
        let listener = try Listener()
        var files: [Int32] = []
        var peers: [Int32] = []
        for _ in 0..<count {
            files.append(try open("\(system.network)/tcp/127.0.0.1:\(listener.port)"))
            peers.append(try listener.accept())
        }
        for (index, file) in files.enumerated() { sendAll(file, withBytes(index)) }
        for (index, peer) in peers.enumerated() {
            #expect(receive(peer, 4) == withBytes(index))
            sendAll(peer, withBytes(index ^ 0xffff))
        }
        if let pid = try system.pid("network") { kill(pid, SIGKILL) }
        for (index, file) in files.enumerated() { #expect(receive(file, 4) == withBytes(index ^ 0xffff)) }
        for file in files + peers { close(file) }
        try system.end()
    }

    /// The examples: a server and a client in the shell, one against the other through the mount.
    @Test func shellServesAndFetches() throws {
        let system = try MountedSystem.withNetwork()
        let examples = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } + "/Scripts/examples"
        let port = try freePort()
        let page = "\(system.root)/file/page"
        let file = unsafe Glibc.open(page, O_CREAT | O_WRONLY, 0o644)
        sendAll(file, Array("first line\n\nlast line".utf8))
        close(file)
        let script = """
            '\(examples)/network-serve' '\(system.root)' 127.0.0.1:\(port) '\(system.root)/file' & server=$!
            until [ -n "$(ls '\(system.network)/tcp/listen')" ]; do sleep 0.01; done
            '\(examples)/network-fetch' '\(system.root)' http://127.0.0.1:\(port)/page
            '\(examples)/network-fetch' '\(system.root)' http://localhost:\(port)/none 2>&1 && echo found
            kill -KILL $server; rm '\(system.network)/tcp/listen/127.0.0.1:\(port)'
            ls '\(system.network)/tcp/listen'
            """
        #expect(try runScript(script) == "first line\n\nlast line404 Not Found\n")
        try system.end()
    }

    private func withBytes(_ number: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
}
