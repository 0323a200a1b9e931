import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import Synchronization

// Who takes completions:
// - Threads that wait for an answer do it themselves. One of them leads: it sleeps on the channel and gives the others theirs.
//   With one request at a time, the thread that asked is the one that the server wakes: no hand-over.
// - A leader that has its own answer leaves; a thread that still waits takes over.
// - Where a thread listens all the time for events, it leads only while nobody asks: after an answer it steps aside for a moment, so
//   that who asks next is woken by the server itself. It doesn't while somebody polls: events must not be late for him.
// - While the channel's server is replaced nobody leads: the thread that does that takes the completions.
// - A completion that nobody waits for was asked for by a process that is dead, and is kept for the resent request, or nobody
//   is interested in it, and its record is freed.
// - What a completion says of open files is noted when it is taken, not by the thread that waited for it: that thread may be late,
//   and the file may have to be handed over before.

/// Waiting for the answers of one channel's server.
final class Exchange: Sendable {
    struct State {
        /// Who waits for the record of that index.
        var waiters: [Waiter?]
        var waiting: [Waiter] = []
        var hasLeader = false
        var isPaused = false
    }

    /// How long a thread waits before it lets another one read requests: longer than a request that is answered from memory, its
    /// wake-ups of sleeping processors included, as it costs two more to wake the other thread.
    static let patience: UInt64 = 400_000

    let client: ChannelClient
    let state: Locked<State>
    let leaderGone = ConditionVariable()
    /// Events are taken by this, on whatever thread.
    let onEvent: @Sendable (EventEntry) -> Void
    /// As with `Router`.
    let willBlock: @Sendable (Bool) -> Bool
    /// Told of every completion before anybody else is.
    let onCompletion: @Sendable (Completion) -> Void
    /// Told of a completion that nobody waits for; true if its record is to be kept. Called with the lock held.
    let isAwaited: @Sendable (Completion) -> Bool

    init(
        _ client: ChannelClient, willBlock: @escaping @Sendable (Bool) -> Bool,
        onEvent: @escaping @Sendable (EventEntry) -> Void, onCompletion: @escaping @Sendable (Completion) -> Void,
        isAwaited: @escaping @Sendable (Completion) -> Bool
    ) {
        self.client = client
        self.willBlock = willBlock
        self.onEvent = onEvent
        self.onCompletion = onCompletion
        self.isAwaited = isAwaited
        state = Locked(State(waiters: Array(repeating: nil, count: client.layout.geometry.recordCount)))
    }

    /// Announces that the thread will wait for this record: before the request is submitted.
    func expect(_ tag: UInt32, _ waiter: Waiter) {
        state.withLock { state in
            waiter.completion = nil
            state.waiters[Int(tag)] = waiter
        }
    }

    /// Gives a completion to the thread that waits for it.
    func deliver(_ completion: Completion) {
        onCompletion(completion)
        guard !completion.isReplay else { return }
        let index = Int(completion.tag)
        let isTaken = state.withLock { state -> Bool in
            guard let waiter = state.waiters[index] else { return isAwaited(completion) }
            state.waiters[index] = nil
            waiter.completion = completion
            if waiter.isFollowing { waiter.condition.signal() }
            return true
        }
        if !isTaken { client.release(completion) }
    }

    /// Takes over a record that a dead process asked for; nil if there is none. `isComplete`: its completion was taken already.
    /// Otherwise the thread is announced as with `expect`.
    ///
    /// - Parameter find: called with the lock held, so that no completion comes between the answer and the announcement.
    func adopt(
        _ waiter: Waiter, _ find: () -> (tag: UInt32, isComplete: Bool)?
    ) -> (tag: UInt32, isComplete: Bool)? {
        state.withLock { state in
            guard let found = find() else { return nil }
            waiter.completion = nil
            if !found.isComplete { state.waiters[Int(found.tag)] = waiter }
            return found
        }
    }

    /// Waits for what `expect` announced.
    ///
    /// - Parameter mustNotWait: called if the answer takes long and the thread is one that must not wait for ever: to have it come soon.
    func wait(_ waiter: Waiter, mustNotWait: () -> Void = {}) -> Completion {
        var isPatient = true
        while true {
            switch role(waiter) {
            case .done(let completion): return completion
            case .leader:
                let count = client.waitAndDrain(nanoseconds: isPatient ? Self.patience : 1_000_000_000) { completion in
                    deliver(completion)
                }
                takeEvents()
                if let completion = leave(waiter) { return completion }
                if count == 0, isPatient {
                    isPatient = false
                    if !willBlock(false) { mustNotWait() }
                }
            case .follower:
                if isPatient {
                    isPatient = false
                    if !willBlock(false) { mustNotWait() }
                }
                follow(waiter)
            }
        }
    }

    private enum Role {
        case done(Completion), leader, follower
    }

    private func role(_ waiter: Waiter) -> Role {
        state.withLock { state in
            if let completion = waiter.completion.take() { return .done(completion) }
            if state.hasLeader || state.isPaused { return .follower }
            state.hasLeader = true
            return .leader
        }
    }

    /// Ends a turn of leading. Without an answer yet the thread leads again at once, unless it must not.
    private func leave(_ waiter: Waiter) -> Completion? {
        let (completion, next) = state.withLock { state -> (Completion?, Waiter?) in
            state.hasLeader = false
            let completion = waiter.completion.take()
            // Somebody who waits must lead, if this thread doesn't: one that hasn't got its answer meanwhile, as that one would
            // leave without leading, and the others would wait for ever.
            guard completion != nil, !state.isPaused else { return (completion, nil) }
            return (completion, state.waiting.last { $0.completion == nil })
        }
        next?.condition.signal()
        if state.withLock({ $0.isPaused }) { leaderGone.broadcast() }
        return completion
    }

    private func follow(_ waiter: Waiter) {
        state.withLock { state in
            state.waiting.append(waiter)
            waiter.isFollowing = true
        }
        state.wait(on: waiter.condition) { state -> Void? in
            guard waiter.completion != nil || !(state.hasLeader || state.isPaused) else { return nil }
            waiter.isFollowing = false
            state.waiting.removeAll { $0 === waiter }
            return ()
        }
    }

    /// One turn of taking completions and events without waiting for any in particular.
    ///
    /// - Parameter isUrgent: whether events have to be taken as soon as they come.
    func listen(_ waiter: Waiter, isUrgent: () -> Bool) {
        guard case .leader = role(waiter) else { return pauseThread(nanoseconds: Self.absence) }
        let count = client.waitAndDrain(nanoseconds: 1_000_000_000) { completion in deliver(completion) }
        takeEvents()
        _ = leave(waiter)
        if count > 0, !isUrgent() { pauseThread(nanoseconds: Self.absence) }
    }

    /// For how long the thread that listens for events leaves that to those who wait for answers.
    private static let absence = 1_000_000

    func takeEvents() {
        _ = client.drainEvents(onEvent)
    }

    /// Keeps every thread from taking completions; returns when none does.
    func pause() {
        state.withLock { $0.isPaused = true }
        while state.withLock({ $0.hasLeader }) {
            client.wakeDrainer()
            _ = state.wait(on: leaderGone, deadline: Clock.monotonicNanoseconds() + 1_000_000) { state in
                state.hasLeader ? nil : true
            }
        }
    }

    /// Threads take completions again.
    func resume() {
        let waiting = state.withLock { state in
            state.isPaused = false
            return state.waiting
        }
        for waiter in waiting { waiter.condition.signal() }
    }
}

/// A thread that waits for an answer. Belongs to one thread; its fields are guarded by the lock of the exchange it waits in.
final class Waiter: @unchecked Sendable {
    let condition = ConditionVariable()
    var completion: Completion?
    var isFollowing = false
    /// The record whose reply isn't written yet: freed when it is.
    var unreplied: (client: ChannelClient, tag: UInt32)?

    /// The waiter of this thread.
    static var current: Waiter {
        if let pointer = unsafe pthread_getspecific(waiterKey) {
            return unsafe Unmanaged<Waiter>.fromOpaque(pointer).takeUnretainedValue()
        }
        let waiter = Waiter()
        // Released by the key's destructor at the thread's end.
        unsafe pthread_setspecific(waiterKey, Unmanaged.passRetained(waiter).toOpaque())
        return waiter
    }
}

/// Where a thread keeps its waiter.
private let waiterKey: pthread_key_t = {
    var key = pthread_key_t()
    unsafe pthread_key_create(&key) { pointer in
        guard let pointer = unsafe pointer else { return }
        unsafe Unmanaged<Waiter>.fromOpaque(pointer).release()
    }
    return key
}()
