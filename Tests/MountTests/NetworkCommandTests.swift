import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// What the options of `saltbridge mount` let the network scheme do.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct NetworkCommandTests {
    /// Enough for both ends of some 700 connections, and for what other tests have open.
    private static let descriptors: UInt64 = 4096
    private static let mayOpenEnough = ResourceLimit.own(ResourceLimit.openFiles).hard >= descriptors

    /// The rules hold for connecting and for listening, by number and by name: names are looked up first.
    @Test func rulesOfTheCommandLine() throws {
        let (open, closed) = (try Listener(), try Listener())
        let free = try freePort()
        let tool = try ToolMount()
        try tool.mount(
            "--network-allow", "127.0.0.0/8:\(open.port)", "--network-allow", "127.0.0.1:\(closed.port)",
            "--network-allow", "[::1]:\(open.port)", "--network-allow", "127.0.0.1:\(free)",
            "--network-deny", "127.0.0.2", "--network-deny", "*:\(closed.port)", "--network-deny", "[::]/0")
        let tcp = tool.path("network/tcp")
        #expect(errno(of: "\(tcp)/127.0.0.1:\(open.port)") == 0)
        // The name stands for 127.0.0.1 and ::1; the second is denied.
        #expect(errno(of: "\(tcp)/localhost:\(open.port)") == 0)
        #expect(errno(of: "\(tcp)/[::1]:\(open.port)") == EACCES)
        #expect(errno(of: "\(tcp)/127.0.0.2:\(open.port)") == EACCES)
        #expect(errno(of: "\(tcp)/127.0.0.1:\(closed.port)") == EACCES)
        #expect(errno(of: "\(tcp)/localhost:\(closed.port)") == EACCES)
        #expect(errno(of: "\(tcp)/192.0.2.1:\(open.port)") == EACCES)
        #expect(errno(of: tool.path("network/udp/127.0.0.1:\(closed.port)")) == EACCES)
        #expect(errno(of: tool.path("network/tls/127.0.0.1:\(closed.port)")) == EACCES)
        let echo = tool.path("network/icmp/echo/127.0.0.1")
        #expect(errno { try textFile(echo) } == EACCES)
        for address in ["127.0.0.1:\(closed.port)", "127.0.0.2:\(free)", "[::1]:\(free)", "*:\(free)"] {
            #expect(errno(of: "\(tcp)/listen/\(address)") == EACCES, "\(address)")
        }
        let listening = try spawnThread(name: "server") {
            guard let file = try? MountTests.open("\(tcp)/listen/127.0.0.1:\(free)") else { return }
            sendAll(file, Array("hello".utf8))
            close(file)
        }
        while !((try? SystemCall.directoryNames("\(tcp)/listen")) ?? []).contains("127.0.0.1:\(free)") { usleep(1000) }
        let client = try connectLocally(free)
        #expect(receive(client, 5) == Array("hello".utf8))
        listening.join()
        close(client)
        // Also after a death.
        try tool.ask("crash", "network")
        #expect(errno(of: "\(tcp)/127.0.0.1:\(closed.port)") == EACCES)
        #expect(errno(of: "\(tcp)/127.0.0.1:\(open.port)") == 0)
        try tool.unmount()
    }

    @Test func badRulesAreRefused() throws {
        let tool = try ToolMount()
        for rule in ["nonsense", "127.0.0.1/33", "127.0.0.1:99999"] {
            let result = try tool.run(["mount", tool.image, tool.point, "--network-deny", rule])
            #expect(result.status != 0)
            #expect(result.errors.contains(rule), "\(result.errors)")
            #expect(!tool.isMounted)
        }
        let result = try tool.run(["mount", tool.image, tool.point, "-o", "network.ca=\(tool.folder.path)/none"])
        #expect(result.status != 0 && result.errors.contains("none"), "\(result.errors)")
        try tool.mount("--no-network")
        #expect(unsafe access(tool.path("network"), F_OK) == -1 && Glibc.errno == ENOENT)
        try tool.unmount()
    }

    /// Who may open few files has fewer connections; neither the scheme nor who holds its sockets dies of them.
    @Test(.enabled(if: mayOpenEnough, "the tests themselves may have too few files open"))
    func fewDescriptorsAreFewConnections() throws {
        let own = ResourceLimit.own(ResourceLimit.openFiles)
        if own.soft < Self.descriptors {
            var limit = rlimit(rlim_cur: rlim_t(Self.descriptors), rlim_max: rlim_t(own.hard))
            let outcome = unsafe setrlimit(__rlimit_resource_t(ResourceLimit.openFiles), &limit)
            try #require(outcome == 0)
        }
        let tool = try ToolMount()
        let script = "ulimit -n 1024 && exec '\(tool.programPath)' mount '\(tool.image)' '\(tool.point)'"
        let result = try tool.host("/bin/sh", "-c", script)
        try #require(result.status == 0, "\(result.errors)")
        let listener = try Listener()
        let path = tool.path("network/tcp/127.0.0.1:\(listener.port)")
        var (files, peers): ([Int32], [Int32]) = ([], [])
        var code: Int32 = 0
        while code == 0 {
            code = errno {
                files.append(try open(path))
                peers.append(try listener.accept())
            }
        }
        #expect(code == EMFILE)
        // It is the scheme that has no more, not this process.
        try #require(errno(of: "/dev/null") == 0)
        #expect(files.count > 600)
        // All of them survive a death.
        try tool.ask("crash", "network")
        for (file, peer) in zip(files, peers) {
            sendAll(peer, [7])
            #expect(receive(file, 1) == [7])
        }
        for file in files + peers { close(file) }
        while errno(of: path) == EMFILE { usleep(1000) }
        #expect(errno(of: path) == 0)
        try tool.unmount()
    }

    /// A mount by the command line has what the scheme can't open itself: certificates and sockets for echoes.
    @Test func whatOnlyTheMountCanOpen() throws {
        let peers = try SecurePeers()
        let server = try peers.echo()
        let tool = try ToolMount()
        try tool.mount("-o", "network.ca=\(peers.authority),network.netcfg=write")
        let file = try open(tool.path("network/tls/localhost:\(server.port)"))
        sendAll(file, Array("text".utf8))
        #expect(receive(file, 4) == Array("text".utf8))
        close(file)
        #expect(errno { close(try open(tool.path("network/netcfg/resolv/nameserver"))) } == 0)
        let echo = unsafe Glibc.open(tool.path("network/icmp/echo/127.0.0.1"), O_RDONLY | O_CLOEXEC)
        if (try? SystemCall.rawEchoSocket(isIPv6: false)) != nil {
            #expect(echo >= 0, "\(Errno(rawValue: Glibc.errno))")
            let start = "64 bytes from 127.0.0.1: seq=1 time="
            #expect(receive(echo, start.utf8.count) == Array(start.utf8))
        }
        if echo >= 0 { close(echo) }
        try tool.unmount()
    }
}
