import Platform
import SchemeKit
import Testing

@testable import DisplayScheme

/// A viewer and its server's side, by bytes. Another server takes over after each step.
struct SteppedViewer {
    let harness: DisplayHarness
    var session: ViewerSession
    private let password: [UInt8]?

    init(_ harness: DisplayHarness, password: String? = nil, number: UInt64 = 1) {
        self.harness = harness
        self.password = password.map { Array($0.utf8) }
        session = ViewerSession(viewer: number, display: 0, hasPassword: password != nil)
    }

    mutating func say(_ bytes: [UInt8]) throws -> [UInt8] {
        try session.receive(bytes, harness.scheme, password: password)
        return try take()
    }

    mutating func take() throws -> [UInt8] {
        let damage = harness.scheme.core.withLock { $0.damage[0].take() }
        session.note(damage)
        var all: [UInt8] = []
        repeat {
            all += session.output
            try handOver()
            try session.update(harness.scheme, RectangleEncoder())
        } while !session.output.isEmpty
        return all
    }

    private mutating func handOver() throws {
        var writer = StateWriter()
        session.encode(into: &writer)
        var reader = StateReader(writer.bytes)
        var next = try #require(ViewerSession(decoding: &reader))
        #expect(reader.isWhole)
        // It would show everything again.
        next.damage = session.damage
        session = next
    }

    /// Greets without a password; returns the server's description of the display.
    mutating func begin() throws -> [UInt8] {
        #expect(try take() == Array("RFB 003.008\n".utf8))
        #expect(try say(Array("RFB 003.008\n".utf8)) == [1, 1])
        #expect(try say([1]) == [0, 0, 0, 0])
        return try say([1])
    }
}
