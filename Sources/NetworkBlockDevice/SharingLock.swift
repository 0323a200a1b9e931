import Platform
import SystemPackage

/// Many are in at once, or one alone. Everybody's turn comes in the order in which they came.
final class SharingLock: Sendable {
    private struct State {
        var sharers = 0
        var isTakenAlone = false
        /// Who waits, the first first.
        var queue: [UInt64] = []
        var nextTicket: UInt64 = 0
    }

    private let state = Locked(State())
    private let changed = ConditionVariable()

    /// Waits for its turn; EIO if that doesn't come before the deadline.
    func enter(alone: Bool, deadline: UInt64) throws(Errno) {
        let ticket = state.withLock { state -> UInt64 in
            state.nextTicket &+= 1
            state.queue.append(state.nextTicket)
            return state.nextTicket
        }
        let isIn = state.wait(on: changed, deadline: deadline) { state -> Bool? in
            guard state.queue.first == ticket, !state.isTakenAlone, !alone || state.sharers == 0 else { return nil }
            state.queue.removeFirst()
            if alone { state.isTakenAlone = true } else { state.sharers += 1 }
            return true
        }
        if isIn == nil { state.withLock { $0.queue.removeAll { $0 == ticket } } }
        // The next may be one who shares.
        changed.broadcast()
        guard isIn == true else { throw .ioError }
    }

    /// Lets others in.
    func leave(alone: Bool) {
        state.withLock { state in
            if alone { state.isTakenAlone = false } else { state.sharers -= 1 }
        }
        changed.broadcast()
    }
}
