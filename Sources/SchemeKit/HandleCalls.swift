import Platform
import SchemeProtocol

/// Calls that open and close handles: they have no sequence number, as they change nothing that lasts, and yet what a later
/// change does depends on them. A node that loses its last name goes at once, and its number with it, unless it is open.
///
/// So whoever repeats the change must know whether the handle was open: the completion of a handle call that was applied before
/// a change is posted before that of the change. A change waits for the handle calls that are between the two.
final class HandleCalls: Sendable {
    private let underWay = Locked(0)
    private let ended = ConditionVariable()
    /// A handle call that never ends is a fault in the scheme: it costs a pause, not a hang.
    private static let patience: UInt64 = 1_000_000_000

    /// Whether calls of this kind open or close.
    static func contains(_ opcode: Opcode) -> Bool {
        switch opcode {
        case .open, .openat, .create, .tmpfile, .opendir, .close, .releasedir, .dup: true
        default: false
        }
    }

    /// A handle call is going to be applied.
    func begin() { underWay.withLock { $0 += 1 } }

    /// Its completion is posted.
    func end() {
        let isLast = underWay.withLock { count in
            count -= 1
            return count == 0
        }
        if isLast { ended.broadcast() }
    }

    /// Returns when no handle call is between being applied and being posted.
    func wait() {
        if underWay.withLock({ $0 == 0 }) { return }
        _ = underWay.wait(on: ended, deadline: Clock.monotonicNanoseconds() &+ Self.patience) { $0 == 0 ? true : nil }
    }
}
