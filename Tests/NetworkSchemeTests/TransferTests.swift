import Glibc
import Platform
import SchemeProtocol
import SystemPackage
import Testing

@testable import NetworkScheme
@testable import SchemeKit

/// What goes through a connection.
struct TransferTests {
    /// After a death the kernel's counters say how much of a write was sent. They count an end that was sent behind it, too.
    @Test func noWriteSendsMoreThanItHas() throws {
        let listener = try TestListener()
        let local = try LocalScheme()
        let clone = try local.clone(.tcpClone)
        try local.command(clone, "connect \(listener.address)")
        var request = local.request()
        clone.connection.writer = NetworkMemory.WriteMark(
            request: request.requestID, channel: request.channel, position: clone.connection.accepted)
        clone.connection.accepted += 11
        let bytes = [UInt8](repeating: 7, count: 10)
        let count = try local.scheme.write(
            clone.file(.data), handle: 0, at: 0, unsafe bytes.span.bytes, flags: 0, &request)
        #expect(count == bytes.count)
    }

    /// An end that was sent is none of the bytes.
    @Test(arguments: [false, true])
    func anEndIsNoByte(_ hasPeerEnded: Bool) throws {
        let listener = try TestListener()
        let socket = try SystemCall.socket(.stream, isIPv6: false)
        try SystemCall.connect(socket.rawValue, to: listener.address)
        let local = try LocalScheme()
        let peer = try local.whole {
            guard let peer = try SystemCall.acceptInternet(listener.socket.rawValue) else { throw Errno.wouldBlock }
            return peer
        }
        let memory = try LocalScheme.memory()
        memory.make(
            0, .tcp, stage: .connected, node: NodeNumber.name(5000).number, channel: 0, handle: 7, request: 9,
            isNumbered: false, text: "\(listener.address)")
        let counters = try SystemCall.streamCounters(socket.rawValue)
        memory.setBaseline(0, sent: counters.acknowledged &+ counters.unsent, received: counters.received)
        let bytes = [UInt8](repeating: 7, count: 10)
        #expect(try SystemCall.sendSome(socket.rawValue, unsafe bytes.span.bytes) == bytes.count)
        try SystemCall.shutDown(socket.rawValue, receiving: false, sending: true)
        if hasPeerEnded {
            _ = try SystemCall.discard(peer.rawValue, count: bytes.count)
            try SystemCall.shutDown(peer.rawValue, receiving: false, sending: true)
            while SystemCall.readiness(socket.rawValue, events: UInt32(POLLIN)) == 0 { usleep(1000) }
        }
        let next = try LocalScheme(memory: memory, held: [SocketName(owner: memory.serial(0), number: 0): socket])
        let connection = try #require(next.scheme.state.withLock { $0.connections[0] })
        next.scheme.state.withLock { _ in next.scheme.settle(connection) }
        #expect(connection.isSettled)
        #expect(connection.accepted == UInt64(bytes.count))
        withExtendedLifetime(peer) {}
    }
}
