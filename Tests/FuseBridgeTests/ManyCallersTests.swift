import Platform
import Router
import SchemeProtocol
import SystemPackage
import Testing

/// Many threads that ask one scheme at once, with nobody who comes later and looks after those that are left.
@Suite struct ManyCallersTests {
    @Test func everybodyGetsAnAnswer() throws {
        let system = try LocalSystem()
        let route = system.route
        // A caller that took the answers of others away must not leave while one of them still waits for his. Seldom: hence so often.
        for _ in 0..<3000 {
            let callers = try (0..<6).map { caller in
                try spawnThread(name: "caller") {
                    let opcode: Opcode = caller.isMultiple(of: 2) ? .getattr : .statfs
                    do throws(Errno) {
                        try route.perform(Call(SubmissionEntry(opcode, node: 1))) { _ in }
                    } catch {
                        Issue.record("\(opcode): \(error)")
                    }
                }
            }
            for caller in callers { caller.join() }
        }
        try system.end()
    }
}
