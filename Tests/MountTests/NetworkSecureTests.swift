import Glibc
import Platform
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// `tls`: who is trusted, what a session carries, how it ends.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct NetworkSecureTests {
    @Test func carriesBytesBothWays() throws {
        let peers = try SecurePeers()
        let server = try peers.echo()
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        for host in ["127.0.0.1", "localhost"] {
            let file = try open("\(system.network)/tls/\(host):\(server.port)")
            let bytes = pattern(5, 3_000_000)
            let writer = try spawnThread(name: "writer") { sendAll(file, bytes) }
            #expect(receive(file, bytes.count) == bytes)
            writer.join()
            close(file)
            // The session was ended as it should, and the server knew by which name it was asked for.
            #expect(server.nextLine() == "ended TLSv1.3 \(host == "localhost" ? host : "None")")
        }
        try system.end()
    }

    @Test func onlyWhoProvesItsNameIsTrusted() throws {
        let peers = try SecurePeers()
        let (right, wrong) = (try peers.echo(), try peers.echo("wrong"))
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        #expect(errno(of: "\(system.network)/tls/127.0.0.1:\(right.port)") == 0)
        #expect(errno(of: "\(system.network)/tls/127.0.0.1:\(wrong.port)") == EKEYREJECTED)
        #expect(errno(of: "\(system.network)/tls/localhost:\(wrong.port)") == EKEYREJECTED)
        // The log says why.
        while !system.log.contains("tls/localhost:\(wrong.port): ") { usleep(1000) }
        try system.end()
        // Nobody knows the test's authority: neither without certificates, nor among the system's.
        let stranger = try MountedSystem.withNetwork()
        #expect(errno(of: "\(stranger.network)/tls/127.0.0.1:\(right.port)") == EKEYREJECTED)
        try stranger.end()
    }

    @Test func olderVersionsAreRefused() throws {
        let peers = try SecurePeers()
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        let old = try peers.server("-rev -tls1_1 -cipher DEFAULT@SECLEVEL=0")
        #expect(errno(of: "\(system.network)/tls/127.0.0.1:\(old.port)") == EPROTO)
        let good = try peers.server("-rev -tls1_2")
        let file = try open("\(system.network)/tls/127.0.0.1:\(good.port)")
        sendAll(file, Array("salt\n".utf8))
        #expect(receive(file, 5) == Array("tlas\n".utf8))
        close(file)
        try system.end()
    }

    /// Whoever isn't a TLS server gives an error, soon.
    @Test func othersAreErrors() throws {
        let peers = try SecurePeers()
        let system = try MountedSystem.withNetwork(
            [("deny", "127.0.0.9")], descriptors: try peers.certificates())
        let listener = try Listener()
        let path = "\(system.network)/tls/127.0.0.1:\(listener.port)"
        for (answer, code) in [("HTTP/1.0 400 Bad Request\r\n\r\n", EPROTO), ("", ECONNRESET)] {
            let peer = try spawnThread(name: "peer") {
                guard let file = try? listener.accept() else { return }
                // The greeting is read first: closing with unread bytes would reset the connection.
                let head = receive(file, 5)
                if head.count == 5 { _ = receive(file, Int(head[3]) << 8 | Int(head[4])) }
                sendAll(file, Array(answer.utf8))
                close(file)
            }
            #expect(errno(of: path) == code)
            peer.join()
        }
        #expect(errno(of: "\(system.network)/tls/127.0.0.1:\(try freePort())") == ECONNREFUSED)
        #expect(errno(of: "\(system.network)/tls/127.0.0.9:\(listener.port)") == EACCES)
        #expect(errno(of: "\(system.network)/tls/nonsense") == ENOENT)
        try system.end()
    }

    /// An end of the connection is no end of the session: nobody may cut a text short unseen.
    @Test func cutStreamsAreErrors() throws {
        let peers = try SecurePeers()
        let server = try peers.echo(end: "cut")
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        let file = try open("\(system.network)/tls/127.0.0.1:\(server.port)")
        sendAll(file, Array("text".utf8))
        #expect(receive(file, 4) == Array("text".utf8))
        var byte: UInt8 = 0
        #expect(unsafe read(file, &byte, 1) == -1 && Glibc.errno == ECONNRESET)
        close(file)
        try system.end()
    }

    @Test func waitsOnlyIfItMay() throws {
        let peers = try SecurePeers()
        let server = try peers.echo()
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        let path = "\(system.network)/tls/127.0.0.1:\(server.port)"
        let file = unsafe Glibc.open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK)
        try #require(file >= 0)
        var entry = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
        #expect(unsafe Glibc.poll(&entry, 1, -1) == 1 && entry.revents == Int16(POLLOUT))
        var byte: UInt8 = 0
        #expect(unsafe read(file, &byte, 1) == -1 && Glibc.errno == EAGAIN)
        let bytes = pattern(9, 1_000_000)
        let writer = try spawnThread(name: "writer") { sendAll(file, bytes) }
        #expect(receive(file, bytes.count) == bytes)
        writer.join()
        close(file)
        #expect(server.nextLine() == "ended TLSv1.3 None")
        try system.end()
    }

    /// What a write that doesn't wait has taken reaches the other side although nobody calls any more.
    @Test func whatWasTakenIsSent() throws {
        let peers = try SecurePeers()
        let server = try peers.echo(end: "late")
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        let file = unsafe Glibc.open(
            "\(system.network)/tls/127.0.0.1:\(server.port)", O_RDWR | O_CLOEXEC | O_NONBLOCK)
        try #require(file >= 0)
        // An opening that doesn't wait leaves the handshake to whoever polls.
        var entry = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
        #expect(unsafe Glibc.poll(&entry, 1, -1) == 1)
        let bytes = pattern(11, 300_007)
        var (count, sum) = (0, 0)
        while true {
            let taken = unsafe write(file, bytes, bytes.count)
            if taken < 0 {
                #expect(Glibc.errno == EAGAIN)
                break
            }
            count += taken
            sum += bytes.prefix(taken).reduce(0) { $0 + Int($1) }
        }
        _ = try runScript("cd '\(peers.folder.path)' && echo \(count) > .count && mv .count count")
        #expect(server.nextLine() == "received 0 \(sum)")
        close(file)
        try system.end()
    }

    /// The keys die with the process: the stream ends with an error, and the next one works.
    @Test func sessionsEndWithTheServer() throws {
        let peers = try SecurePeers()
        let server = try peers.echo()
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        let path = "\(system.network)/tls/127.0.0.1:\(server.port)"
        let file = try open(path)
        sendAll(file, Array("text".utf8))
        #expect(receive(file, 4) == Array("text".utf8))
        if let pid = try system.pid("network"), pid > 1 { kill(pid, SIGKILL) }
        var byte: UInt8 = 0
        #expect(unsafe read(file, &byte, 1) == -1 && Glibc.errno == ECONNRESET)
        #expect(unsafe write(file, &byte, 1) == -1 && Glibc.errno == ECONNRESET)
        var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        #expect(unsafe Glibc.poll(&entry, 1, -1) == 1 && entry.revents & Int16(POLLERR) != 0)
        #expect(server.nextLine().hasPrefix("failed"))
        let next = try open(path)
        sendAll(next, Array("more".utf8))
        #expect(receive(next, 4) == Array("more".utf8))
        close(next)
        close(file)
        try system.end()
    }

    /// A handshake that a death interrupts is begun anew, on a new connection: who opens doesn't notice.
    @Test func handshakesBeginAnew() throws {
        let peers = try SecurePeers()
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        let listener = try Listener()
        let path = "\(system.network)/tls/127.0.0.1:\(listener.port)"
        let opener = Locked<Int32?>(nil)
        let thread = try spawnThread(name: "opener") {
            let code = errno(of: path)
            opener.withLock { $0 = code }
        }
        let first = try listener.accept()
        #expect(receive(first, 1) == [22], "a handshake record")
        if let pid = try system.pid("network"), pid > 1 { kill(pid, SIGKILL) }
        let second = try listener.accept()
        #expect(receive(second, 1) == [22])
        close(second)
        thread.join()
        #expect(opener.withLock { $0 } == ECONNRESET)
        close(first)
        try system.end()
    }

    /// The example with a server that isn't ours.
    @Test func shellFetchesFromOpenSSL() throws {
        let peers = try SecurePeers()
        let server = try peers.server("-HTTP")
        let system = try MountedSystem.withNetwork(descriptors: try peers.certificates())
        let examples = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } + "/Scripts/examples"
        _ = try runScript("printf 'HTTP/1.0 200 OK\\r\\n\\r\\nfirst\\nlast' > '\(peers.folder.file("page"))'")
        let fetched = try runScript(
            "'\(examples)/network-fetch' '\(system.root)' https://localhost:\(server.port)/page 2>&1")
        #expect(fetched == "first\nlast")
        try system.end()
    }
}
