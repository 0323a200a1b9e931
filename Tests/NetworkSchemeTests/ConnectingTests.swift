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
        names.stop()
    }
}
