import Platform
import Testing

@testable import SchemeTransport

/// Where a serving thread is kept follows what its requests take, also those that it answers while another thread has the lead.
@Suite struct CompanionTests {
    private static let short: UInt64 = 1000
    private static let long = 10 * TurnBalance.short

    /// Runs on a thread of its own: where it is kept ends with it.
    private func onOwnThread(_ body: @escaping @Sendable () throws -> Void) throws {
        let failure = Locked<(any Error)?>(nil)
        try spawnThread(name: "companion") {
            do { try body() } catch { failure.withLock { $0 = error } }
        }.join()
        if let error = failure.withLock({ $0 }) { throw error }
    }

    @Test func longTransfersSetTheThreadFree() throws {
        try onOwnThread {
            let here = try #require(Processors.current) + 1
            var companion = Companion()
            for _ in 0..<32 { companion.finishedTurn(Self.short, client: here) }
            #expect(companion.isKept)
            for _ in 0..<32 {
                companion.left(since: 5)
                companion.cameBack(at: 5 + Self.long, client: here)
            }
            #expect(!companion.isKept)
        }
    }

    @Test func shortTransfersKeepIt() throws {
        try onOwnThread {
            let here = try #require(Processors.current) + 1
            var companion = Companion()
            for _ in 0..<32 {
                companion.left(since: 5)
                companion.cameBack(at: 5 + Self.short, client: here)
            }
            #expect(companion.isKept)
        }
    }

    /// What it left the lead with is one turn: to come back again is none.
    @Test func aTurnCountsOnce() throws {
        try onOwnThread {
            let here = try #require(Processors.current) + 1
            var companion = Companion()
            for _ in 0..<32 { companion.finishedTurn(Self.short, client: here) }
            companion.left(since: 5)
            for _ in 0..<32 { companion.cameBack(at: 5 + Self.long, client: here) }
            #expect(companion.isKept)
        }
    }
}
