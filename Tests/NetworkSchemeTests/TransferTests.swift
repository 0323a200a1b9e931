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
}
