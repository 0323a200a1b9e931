import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
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

    /// A port for datagrams belongs to whoever has it.
    @Test func portsOfDatagramsAreNotShared() throws {
        let local = try LocalScheme()
        let (first, second) = (try local.clone(.udpClone), try local.clone(.udpClone))
        try local.command(first, "announce 127.0.0.1:0")
        let address = try local.read(first.file(.local)).dropLast()
        #expect(throws: Errno.addressInUse) { try local.command(second, "announce \(address)") }
        // Nor is one taken away from a socket that isn't of this scheme.
        let other = try SystemCall.socket(.datagram, isIPv6: false)
        try SystemCall.bind(other.rawValue, to: try #require(SocketAddress(numeric: "127.0.0.1", port: 0)))
        let taken = try SystemCall.localAddress(other.rawValue)
        #expect(throws: Errno.addressInUse) { try local.command(second, "announce \(taken)") }
        try local.command(second, "announce 127.0.0.1:0")
    }

    /// A socket that was bound and held, and the process died before it wrote that down: its address couldn't be had again.
    @Test(arguments: [ConnectionKind.udp, .tcp, .listener])
    func socketsThatWereBoundAreTakenOver(_ kind: ConnectionKind) throws {
        let socket = try SystemCall.socket(kind == .udp ? .datagram : .stream, isIPv6: false)
        try SystemCall.bind(socket.rawValue, to: try #require(SocketAddress(numeric: "127.0.0.1", port: 0)))
        if kind != .udp { try SystemCall.listen(socket.rawValue, backlog: 10) }
        let memory = try LocalScheme.memory()
        let isNumbered = kind != .listener
        memory.make(
            0, kind, stage: .idle, node: NodeNumber.name(5000).number, channel: 0, handle: isNumbered ? 7 : 0,
            request: 9, isNumbered: isNumbered, text: isNumbered ? "" : "127.0.0.1:0")
        let local = try LocalScheme(memory: memory, held: [SocketName(owner: memory.serial(0), number: 0): socket])
        let connection = try #require(local.scheme.state.withLock { $0.connections[0] })
        #expect(connection.descriptor?.rawValue == socket.rawValue)
        #expect(local.stage(connection) == (kind == .udp ? .connected : .listening))
        #expect(memory.hasHeaders(0) == (kind == .udp))
    }

    /// Hanging up ends the listening: who waits is sent away, who comes later isn't let in, and the connection can be used anew.
    @Test func hangingUpEndsListening() throws {
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        try local.command(clone, "announce 127.0.0.1:0")
        let address = try #require(clone.connection.descriptor.flatMap { try? SystemCall.localAddress($0.rawValue) })
        let waiting = local.request()
        #expect(throws: Errno.wouldBlock) { try local.open(clone.file(.listen), handle: 50, waiting) }
        for what in ["read", "write", "both"] {
            #expect(throws: Errno.invalidArgument) { try local.command(clone, "shutdown \(what)") }
        }
        try local.command(clone, "hangup")
        #expect(throws: Errno.connectionAbort) { try local.open(clone.file(.listen), handle: 50, waiting) }
        #expect(throws: Errno.invalidArgument) { try local.open(clone.file(.listen), handle: 51, local.request()) }
        #expect(try local.read(clone.file(.status)) == "Closed\n")
        #expect(throws: Errno.socketNotConnected) { try local.command(clone, "hangup") }
        #expect(throws: Errno.connectionRefused) { try local.open(.tcp, "\(address)") }
        try local.command(clone, "announce \(address)")
        try local.open(.tcp, "\(address)")
        #expect(try local.read(clone.file(.status)) == "Listen\n")
    }

    /// The last handle of what listens goes, and with it what others wait for.
    @Test func closingSendsWaitersAway() throws {
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        try local.command(clone, "announce 127.0.0.1:0")
        let (waiting, node) = (local.request(), clone.file(.listen))
        #expect(throws: Errno.wouldBlock) { try local.open(node, handle: 50, waiting) }
        var request = local.request()
        try local.scheme.close(clone.node, handle: clone.handle, flags: 0, &request)
        #expect(request.wokenNodes.contains(node))
        #expect(throws: Errno.connectionAbort) { try local.open(node, handle: 50, waiting) }
        #expect(throws: Errno.staleNFSFileHandle) { try local.open(node, handle: 50, local.request()) }
    }

    /// A listening socket that gives no callers at all says so to who waits; one that can't at the moment is asked again.
    @Test func errorsOfAcceptingAreTold() throws {
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        try local.command(clone, "announce 127.0.0.1:0")
        let waiting = local.request()
        let listener = local.memory.socketName(clone.connection.slot).text
        func answer(_ errno: Errno) {
            local.scheme.accepted(HeldAnswer(listener: listener, name: "", descriptor: nil, errno: errno))
        }
        for passing in [
            Errno.tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory, .noBufferSpace, .connectionAbort,
        ] {
            #expect(throws: Errno.wouldBlock) { try local.open(clone.file(.listen), handle: 50, waiting) }
            answer(passing)
        }
        #expect(throws: Errno.wouldBlock) { try local.open(clone.file(.listen), handle: 50, waiting) }
        answer(.badFileDescriptor)
        #expect(throws: Errno.badFileDescriptor) { try local.open(clone.file(.listen), handle: 50, waiting) }
    }

    /// Callers get the hops that were set of the listener, over whichever family they come.
    @Test func callersOfBothFamiliesGetTheHops() throws {
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        try local.command(clone, "ttl 9")
        try local.command(clone, "announce *:0")
        let listener = try #require(clone.connection.descriptor)
        let port = try SystemCall.localAddress(listener.rawValue).port
        for host in Self.hasIPv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"] {
            let caller = try SystemCall.socket(.stream, isIPv6: host == "::1")
            try SystemCall.connect(caller.rawValue, to: try #require(SocketAddress(numeric: host, port: port)))
            let call = try local.whole {
                guard let call = try SystemCall.acceptInternet(listener.rawValue) else { throw Errno.wouldBlock }
                return call
            }
            #expect(local.scheme.options(call).contains(" ttl 9 "), "\(host)")
            #expect(
                try host == "::1"
                    ? option(call, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 9 : option(call, IPPROTO_IP, IP_TTL) == 9)
        }
    }

    private func socket() throws -> SharedDescriptor { try SystemCall.socket(.stream, isIPv6: false) }

    /// Who waits, and can't have the caller that came, doesn't wait any more: those who come later do.
    @Test func refusedWaitersAreNotInTheWay() throws {
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        try local.command(clone, "announce 127.0.0.1:0")
        let node = clone.file(.listen)
        let refused = local.request()
        #expect(throws: Errno.wouldBlock) { try local.open(node, handle: 50, refused) }
        local.answer(clone, try socket())
        let slots = (0..<NetworkMemory.slotCount).filter { local.memory.kind($0) == .free }
        for slot in slots {
            local.memory.make(
                slot, .tcp, stage: .idle, node: 0, channel: 0, handle: 0, request: 0, isNumbered: false, text: "")
        }
        #expect(throws: Errno.tooManyOpenFilesInSystem) { try local.open(node, handle: 50, refused) }
        for slot in slots { local.memory.free(slot) }
        #expect(local.scheme.state.withLock { _ in clone.connection.waiters.isEmpty })
        // The caller is the next one's; then others are waited for.
        try local.open(node, handle: 51, local.request())
        let next = local.request()
        #expect(throws: Errno.wouldBlock) { try local.open(node, handle: 52, next) }
        #expect(local.scheme.state.withLock { _ in clone.connection.waiters.map(\.request) } == [next.requestID])
    }

    /// A caller that was asked for before a hanging up isn't the next listening's, nor is an error.
    @Test func lateCallersAreForNobody() throws {
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        try local.command(clone, "announce 127.0.0.1:0")
        let old = local.memory.newSerial()
        try local.command(clone, "hangup")
        try local.command(clone, "announce 127.0.0.1:0")
        let waiting = local.request()
        #expect(throws: Errno.wouldBlock) { try local.open(clone.file(.listen), handle: 50, waiting) }
        local.answer(clone, try socket(), number: old)
        #expect(throws: Errno.wouldBlock) { try local.open(clone.file(.listen), handle: 50, waiting) }
        local.answer(clone, nil, number: old, .invalidArgument)
        #expect(throws: Errno.wouldBlock) { try local.open(clone.file(.listen), handle: 50, waiting) }
        local.answer(clone, try socket())
        try local.open(clone.file(.listen), handle: 50, waiting)
    }

    /// Port 0 stands for the port that the system gives: that one may be denied.
    @Test(arguments: ["127.0.0.1:0", "0.0.0.0:0", "*:0"])
    func rulesHoldForGivenPorts(_ text: String) throws {
        #expect(throws: Errno.permissionDenied) { try bound(text, deny: "*:1-65535") }
        #expect(throws: Errno.permissionDenied) { try bound(text, allow: "*:0") }
        let endpoint = try #require(Endpoint(text))
        #expect(throws: Errno.permissionDenied) {
            try LocalScheme(deny: "*:1-65535").scheme.bound(.datagram, endpoint)
        }
        _ = try bound(text, deny: "*:1-1023")
    }

    /// A caller and an attempt of the same connection have different names, whatever their numbers: the supervisor holds both.
    @Test func namesOfSocketsAreDifferent() throws {
        let (own, supervisor) = try ControlSocket.pair()
        let local = try LocalScheme(control: own)
        let clone = try local.clone(.tcpClone)
        try local.command(clone, "announce 127.0.0.1:0")
        let address = try #require(clone.connection.descriptor.flatMap { try? SystemCall.localAddress($0.rawValue) })
        let waiting = local.request()
        #expect(throws: Errno.wouldBlock) { try local.open(clone.file(.listen), handle: 50, waiting) }
        let caller = try socket()
        try SystemCall.connect(caller.rawValue, to: address)
        var wish: ControlMessage?
        while wish == nil {
            let message = try #require(try supervisor.receive()).message
            if message.kind == .accept { wish = message }
        }
        let name = try #require(wish?["name"])
        local.scheme.accepted(
            HeldAnswer(
                listener: wish?["listener"] ?? "", name: name, descriptor: caller, errno: Errno(rawValue: 0)))
        try local.open(clone.file(.listen), handle: 50, waiting)
        try local.command(clone, "hangup")
        let closed = try ClosedPort()
        defer { withExtendedLifetime(closed) {} }
        for _ in 0..<8 {
            #expect(throws: Errno.connectionRefused) { try local.command(clone, "connect \(closed.address)") }
        }
        var attempts = 0
        while let message = try supervisor.receive(wait: false)?.message {
            attempts += message.descriptorNames.count
            #expect(!message.descriptorNames.contains(name))
        }
        #expect(attempts == 8)
    }

    /// What an earlier incarnation's connection that connects had accepted, and nobody has, isn't an attempt of its own.
    @Test func callersAreNoAttempts() throws {
        let memory = try LocalScheme.memory()
        memory.make(
            0, .tcp, stage: .connecting, node: NodeNumber.name(5000).number, channel: 0, handle: 7, request: 9,
            isNumbered: true, text: "127.0.0.1:9")
        let serial = memory.serial(0)
        let held = [
            SocketName(owner: serial, number: 5): try socket(), SocketName.caller(of: serial, 5): try socket(),
        ]
        let local = try LocalScheme(memory: memory, held: held)
        let connection = try #require(local.scheme.state.withLock { $0.connections[0] })
        #expect(connection.candidates.keys.sorted() == [5])
    }
}
