import Platform
import Testing

@testable import SchemeKit

/// A process that was started ahead of time goes through its start once: that must get to its end and leave nothing behind.
@Suite struct RehearsalTests {
    @Test(arguments: [1, 2]) func comesToItsEnd(workers: Int) throws {
        for _ in 0..<3 { try Rehearsal.perform(workers: workers) }
    }
}
