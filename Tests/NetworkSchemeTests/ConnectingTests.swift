import Glibc
import Platform
import SchemeProtocol
import SystemPackage
import TestSupport
import Testing

@testable import NetworkScheme
@testable import SchemeKit

/// Connecting: what is interrupted leaves nothing behind, what fails can be tried again, what a death interrupts goes on.
struct ConnectingTests {
    /// Names that were looked up for a connect that is over are for nobody, least of all for the next one.
    @Test func lateAnswersAreForNobody() throws {
        let names = try NameServer { _ in [[127, 0, 0, 1]] }
        defer { names.stop() }
        let (old, new) = (try TestListener(), try TestListener())
        let local = try LocalScheme(names: names)
        let clone = try local.clone(.tcpClone)
        let first = local.request()
        #expect(throws: Errno.wouldBlock) {
            try local.command(clone, "connect late-old.test:\(old.address.port)", first)
        }
        names.waitForQuestion("late-old.test")
        #expect(local.scheme.cancelled(requestID: first.requestID, channel: 0, node: clone.node) == nil)
        #expect(try local.read(clone.file(.status)) == "Closed\n")
        let second = local.request()
        let command = "connect late-new.test:\(new.address.port)"
        #expect(throws: Errno.wouldBlock) { try local.command(clone, command, second) }
        names.answerLate("late-old.test")
        names.answerLate("late-new.test")
        try local.whole { try local.command(clone, command, second) }
        #expect(try local.read(clone.file(.remote)) == "\(new.address)\n")
        #expect(!old.hasCaller)
    }

    /// An attempt that a death interrupted goes on, and those that would have followed it follow.
    @Test func addressesThatWereNotTriedFollow() throws {
        let names = try NameServer { _ in [[127, 0, 0, 2], [127, 0, 0, 3]] }
        defer { names.stop() }
        var silent = try TestListener("127.0.0.2", backlog: 0)
        let candidate = try silent.fill()
        let open = try TestListener("127.0.0.3", port: silent.address.port)
        let memory = try LocalScheme.memory()
        let (node, handle, request) = (NodeNumber.name(5000).number, UInt64(7), CallContext(requestID: 9))
        memory.make(
            0, .tcp, stage: .connecting, node: node, channel: 0, handle: handle, request: request.requestID,
            isNumbered: false, text: "two.test:\(open.address.port)")
        let local = try LocalScheme(
            memory: memory, held: [SocketName(owner: memory.serial(0), number: 1): candidate], names: names)
        let connection = try #require(local.scheme.state.withLock { $0.connections[0] })
        func goOn() throws {
            try local.scheme.state.withLock { _ in
                guard try local.scheme.progress(connection) else { throw Errno.wouldBlock }
            }
        }
        try local.whole { try goOn() }
        #expect(try SystemCall.peerAddress(try #require(connection.descriptor).rawValue) == open.address)
        // What is being tried already isn't tried a second time.
        #expect(memory.socketName(0).number == 2)
    }

    /// A socket that was held and not connected yet is none that was refused.
    @Test func attemptsThatHadNotBegunBegin() throws {
        let listener = try TestListener()
        let memory = try LocalScheme.memory()
        memory.make(
            0, .tcp, stage: .connecting, node: NodeNumber.name(5000).number, channel: 0, handle: 7, request: 9,
            isNumbered: false, text: "\(listener.address)")
        // It was being given up when the process died.
        memory.setFailure(0, Errno.connectionRefused.rawValue)
        let socket = try SystemCall.socket(.stream, isIPv6: false)
        let local = try LocalScheme(memory: memory, held: [SocketName(owner: memory.serial(0), number: 1): socket])
        let connection = try #require(local.scheme.state.withLock { $0.connections[0] })
        try local.whole {
            try local.scheme.state.withLock { _ in
                guard try local.scheme.progress(connection) else { throw Errno.wouldBlock }
            }
        }
        #expect(local.stage(connection) == .connected)
        #expect(memory.failure(0) == 0)
    }

    /// Who waits for a connect to read what comes of it hears that it was interrupted.
    @Test func interruptedConnectsAreTold() throws {
        var silent = try TestListener(backlog: 0)
        let filler = try silent.fill()
        defer { withExtendedLifetime(filler) {} }
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        let request = local.request()
        #expect(throws: Errno.wouldBlock) { try local.command(clone, "connect \(silent.address)", request) }
        let (done, nodes) = local.scheme.state.withLock { local.scheme.cancel(request.requestID, 0, &$0) }
        #expect(done == nil)
        #expect(nodes.isSuperset(of: [clone.node, clone.file(.data)]))
        #expect(throws: Errno.socketNotConnected) { try local.read(clone.file(.data)) }
    }

    /// Whoever opens is gone, and the connection came at that moment: nobody else would ever close it.
    @Test(arguments: [NameKind.tcp, .udp])
    func interruptedOpeningsLeaveNothing(_ kind: NameKind) throws {
        let listener = try TestListener()
        let local = try LocalScheme()
        let request = local.request(flags: OpenFlags.readWrite)
        let node = local.node(kind, "\(listener.address)")
        do {
            try local.open(node, handle: 1, request)
        } catch Errno.wouldBlock {
        }
        let connection = try #require(local.scheme.state.withLock { $0.connections.values.first })
        while local.stage(connection) != .connected { usleep(1000) }
        #expect(local.scheme.cancelled(requestID: request.requestID, channel: 0, node: node) == nil)
        #expect(local.scheme.state.withLock { $0.connections.isEmpty && $0.byHandle.isEmpty })
    }

    /// A connect that nobody waited for fails: `status` says so, and the next one is tried.
    @Test func failuresThatNobodyWaitedForAreTold() throws {
        let closed = try ClosedPort()
        defer { withExtendedLifetime(closed) {} }
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        let connect = "connect \(closed.address)"
        for _ in 0..<2 {
            try local.command(clone, connect, local.request(flags: OpenFlags.nonBlocking))
            while !local.scheme.state.withLock({ _ in local.scheme.isHopeless(clone.connection) }) { usleep(1000) }
            #expect(try local.read(clone.file(.status)) == "Closed \(Errno.connectionRefused)\n")
        }
        #expect(throws: Errno.connectionRefused) { try local.read(clone.file(.data)) }
        // Also if nobody asked.
        try local.command(clone, connect, local.request(flags: OpenFlags.nonBlocking))
        while !local.scheme.state.withLock({ _ in local.scheme.isHopeless(clone.connection) }) { usleep(1000) }
        let listener = try TestListener()
        try local.command(clone, "connect \(listener.address)")
        #expect(try local.read(clone.file(.status)).hasPrefix("Established"))
    }

    /// Who waits for a connect is told why it failed, also if somebody else looked first.
    @Test func failuresAreToldToWhoWaits() throws {
        let closed = try ClosedPort()
        defer { withExtendedLifetime(closed) {} }
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        let request = local.request()
        let connect = "connect \(closed.address)"
        do {
            try local.command(clone, connect, request)
        } catch Errno.wouldBlock {
        }
        while !local.scheme.state.withLock({ _ in local.scheme.isHopeless(clone.connection) }) { usleep(1000) }
        #expect(try local.read(clone.file(.status)) == "Closed \(Errno.connectionRefused)\n")
        #expect(throws: Errno.connectionRefused) { try local.command(clone, connect, request) }
    }

    /// The unspecified address is the machine's own: rules can't be got around by it.
    @Test(arguments: ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "any.test"])
    func unspecifiedAddressesAreTheMachinesOwn(_ host: String) throws {
        let names = try NameServer { _ in [[0, 0, 0, 0]] }
        defer { names.stop() }
        let listener = try TestListener()
        let strict = try LocalScheme(deny: "127.0.0.0/8 ::1", names: names)
        for kind in [NameKind.tcp, .udp, .tls] {
            #expect(throws: Errno.permissionDenied) { try strict.open(kind, "\(host):\(listener.address.port)") }
        }
        #expect(throws: Errno.permissionDenied) { try strict.open(.echo, "\(host):0", flags: OpenFlags.readOnly) }
        let free = try LocalScheme(names: names)
        if host != "[::]" { try free.open(.tcp, "\(host):\(listener.address.port)") }
    }

    @Test func datagramsToUnspecifiedAddressesAreTheMachinesOwn() throws {
        let local = try LocalScheme(deny: "127.0.0.1 ::1")
        let clone = try local.clone(.udpClone)
        try local.command(clone, "announce 127.0.0.3:0")
        for host in ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"] {
            #expect(throws: Errno.permissionDenied) {
                try local.write(clone.file(.data), "\(host):9\nx", local.request())
            }
        }
    }

    /// What a file of `dns` has found out is what it reads, however many names were asked for since.
    @Test func answersOfOpenFilesStay() throws {
        let names = try NameServer { _ in [[192, 0, 2, 77]] }
        defer { names.stop() }
        let local = try LocalScheme(names: names)
        let (node, handle) = (local.node(.dns, "one.test"), local.newHandle())
        let request = local.request()
        try local.whole { try local.open(node, handle: handle, request) }
        for _ in 0...NetworkMemory.nameCount { _ = local.memory.addName(.dns, "other.test") }
        #expect(try local.read(node, handle: handle) == "192.0.2.77\n")
    }

    /// An opening that is interrupted after the answer came, and before it was told, leaves nothing behind.
    @Test func interruptedLookUpsLeaveNothing() throws {
        let names = try NameServer { _ in [[192, 0, 2, 77]] }
        defer { names.stop() }
        let local = try LocalScheme(names: names)
        let (node, handle) = (local.node(.dns, "one.test"), local.newHandle())
        let request = local.request()
        let key = HandleKey(channel: 0, handle: handle)
        #expect(throws: Errno.wouldBlock) { try local.open(node, handle: handle, request) }
        while local.scheme.state.withLock({ $0.lookups[key]?.answer == nil }) { usleep(1000) }
        #expect(local.scheme.cancelled(requestID: request.requestID, channel: 0, node: node) == nil)
        #expect(local.scheme.state.withLock { $0.lookups.isEmpty })
        // What is open isn't the request's any more.
        try local.whole { try local.open(node, handle: handle, request) }
        #expect(local.scheme.cancelled(requestID: request.requestID, channel: 0, node: node) == nil)
        #expect(local.scheme.state.withLock { $0.lookups.count == 1 })
    }
}
