import Platform
import SystemPackage

/// Many are in at once, or one alone, who goes before those who come after it.
final class SharingLock: Sendable {
    private struct State {
        var sharers = 0
        var isTakenAlone = false
        var waitingToBeAlone = 0
    }

    private let state = Locked(State())
    private let changed = ConditionVariable()

    /// Waits for its turn; EIO if that doesn't come before the deadline.
    func enter(alone: Bool, deadline: UInt64) throws(Errno) {
        if alone { state.withLock { $0.waitingToBeAlone += 1 } }
        let isIn = state.wait(on: changed, deadline: deadline) { state -> Bool? in
            guard !state.isTakenAlone, alone ? state.sharers == 0 : state.waitingToBeAlone == 0 else { return nil }
            if alone { state.isTakenAlone = true } else { state.sharers += 1 }
            return true
        }
        if alone {
            state.withLock { $0.waitingToBeAlone -= 1 }
            changed.broadcast()
        }
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
