import Platform

/// Calls that open and close handles without being a change: they have no number, and yet what a later change does depends on
/// them. A node that loses its last name goes at once, and its number with it, unless it is open.
///
/// So whoever repeats the change must know whether the handle was open: the completion of a handle call that was applied before
/// a change is posted before that of the change. A change waits for the handle calls that are between the two.
///
/// A scheme begins one (`CallContext.willChangeHandles`) right before it applies it, with nothing to come that waits for other
/// calls: so this waiting always ends.
final class HandleCalls: Sendable {
    private struct State {
        var next: UInt64 = 0
        var underWay: [UInt64] = []
    }

    private let state = Locked(State())
    private let ended = ConditionVariable()

    /// A handle call is going to be applied; returns its ticket.
    func begin() -> UInt64 {
        state.withLock { state in
            state.next += 1
            state.underWay.append(state.next)
            return state.next
        }
    }

    /// Its completion is posted, or it became a change, which has a number.
    func end(_ ticket: UInt64) {
        state.withLock { $0.underWay.removeAll { $0 == ticket } }
        ended.broadcast()
    }

    /// Returns when the handle calls are posted that were begun before.
    func wait() {
        let last = state.withLock { $0.underWay.isEmpty ? 0 : $0.next }
        if last == 0 { return }
        state.wait(on: ended) { state -> Void? in state.underWay.contains { $0 <= last } ? nil : () }
    }
}
