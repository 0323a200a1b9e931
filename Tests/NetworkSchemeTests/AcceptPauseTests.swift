import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage
import Testing

@testable import NetworkScheme
@testable import SchemeKit

/// A scheme that listens, with the test as its supervisor.
private final class Scheme {
    let scheme: NetworkScheme
    let listener: SharedDescriptor
    private let supervisor: ControlSocket
    private(set) var log: [String] = []
    private let node: UInt64

    init() throws {
        let (own, supervisor) = try ControlSocket.pair()
        self.supervisor = supervisor
        let file = try SharedMemory.create(name: "network", byteCount: NetworkMemory.byteCount)
        let memory = NetworkMemory(
            try SharedMapping(file.rawValue, byteCount: NetworkMemory.byteCount, writable: true))
        let scheme = try NetworkScheme(
            SchemeHost(control: own), memory, [:],
            NetworkScheme.Options(rules: try AccessRules(allow: "", deny: ""), owner: (0, 0)), EchoSockets(),
            TLSContext(certificates: nil))
        self.scheme = scheme
        let node = NodeNumber.name(memory.addName(.tcpListen, "127.0.0.1:0")).number
        self.node = node
        #expect(throws: Errno.wouldBlock) {
            var context = CallContext()
            try scheme.open(node, handle: 1, flags: 0, &context)
        }
        listener = try #require(scheme.state.withLock { $0.connections.values.first?.descriptor })
    }

    /// Opens what listens again, as a call that waited.
    func openAgain() throws {
        var context = CallContext()
        try scheme.open(node, handle: 1, flags: 0, &context)
    }

    /// Waits until the scheme asks for a caller.
    func nextWish() throws -> ControlMessage {
        while true {
            let message = try #require(try supervisor.receive()).message
            if message.kind == .accept { return message }
            if message.kind == .log { log.append(message["message"] ?? "") }
        }
    }
}

/// When a caller can't be taken it stays in the queue: the scheme asks again, but not at once.
struct AcceptPauseTests {
    @Test func refusedCallersAreAskedForLater() throws {
        let system = try Scheme()
        let caller = try SystemCall.socket(.stream, isIPv6: false)
        try SystemCall.connect(caller.rawValue, to: try SystemCall.localAddress(system.listener.rawValue))
        var wish = try system.nextWish()
        func answer(_ descriptor: SharedDescriptor?, _ errno: Errno) {
            system.scheme.accepted(
                HeldAnswer(
                    listener: wish["listener"] ?? "", name: descriptor == nil ? "" : wish["name"] ?? "",
                    descriptor: descriptor, errno: errno))
        }
        for _ in 0..<3 {
            let before = Clock.monotonicNanoseconds()
            answer(nil, .tooManyOpenFiles)
            wish = try system.nextWish()
            #expect(Clock.monotonicNanoseconds() - before >= NetworkScheme.acceptPause)
        }
        // Said once, not each time.
        #expect(system.log == ["accept: \(Errno.tooManyOpenFiles)"])
        let taken = try #require(try SystemCall.acceptInternet(system.listener.rawValue))
        answer(taken, Errno(rawValue: 0))
        try system.openAgain()
    }
}
