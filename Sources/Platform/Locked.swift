import Glibc

/// A value behind a lock (pthread mutex): the only way to it is `withLock` and `wait`.
///
/// To wait for a change, call `wait(on:)` instead of `withLock`: its closure looks at the state and returns nil to go
/// on waiting. Waiting inside `withLock` would let others change what the closure holds exclusively.
@safe
public final class Locked<State: ~Copyable>: @unchecked Sendable {
    // Memory of its own, not a stored property: no exclusivity check at each access.
    @usableFromInline let state: UnsafeMutablePointer<State>
    @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>

    /// - Parameter initial: the value to guard.
    public init(_ initial: consuming sending State) {
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: initial)
        unsafe mutex = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe pthread_mutex_init(mutex, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
    }

    /// Runs the closure with the lock held. Not recursive.
    @inlinable
    public func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try unsafe body(&state.pointee)
    }

    /// Runs the closure if nobody holds the lock; nil if somebody does.
    @inlinable
    public func withLockIfAvailable<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        guard unsafe pthread_mutex_trylock(mutex) == 0 else { return nil }
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try unsafe body(&state.pointee)
    }

    /// Runs the closure with the lock held, again after each signal of `condition`, until it returns a value.
    ///
    /// - Parameter attempt: returns nil to wait. While it waits the lock is free.
    @inlinable
    public func wait<Result, Failure: Error>(
        on condition: ConditionVariable, until attempt: (inout State) throws(Failure) -> Result?
    ) throws(Failure) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = try unsafe attempt(&state.pointee) { return result }
            unsafe pthread_cond_wait(condition.condition, mutex)
        }
    }

    /// As `wait(on:until:)`, but gives up at a time of `Clock.monotonicNanoseconds`: nil then, after a last attempt.
    @inlinable
    public func wait<Result, Failure: Error>(
        on condition: ConditionVariable, deadline: UInt64, until attempt: (inout State) throws(Failure) -> Result?
    ) throws(Failure) -> Result? {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = try unsafe attempt(&state.pointee) { return result }
            if unsafe !condition.wait(mutex, deadline: deadline) {
                return try unsafe attempt(&state.pointee)
            }
        }
    }
}

/// What threads wait on for a change of a `Locked` value. Use one with one `Locked` only.
@safe
public final class ConditionVariable: @unchecked Sendable {
    @usableFromInline let condition: UnsafeMutablePointer<pthread_cond_t>

    /// A condition whose timed waits use the monotonic clock.
    public init() {
        unsafe condition = .allocate(capacity: 1)
        unsafe condition.initialize(to: pthread_cond_t())
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe condition.deallocate()
    }

    /// Waits with the mutex held; false when the deadline has passed.
    @usableFromInline
    func wait(_ mutex: UnsafeMutablePointer<pthread_mutex_t>, deadline: UInt64) -> Bool {
        var time = timespec(tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
        return unsafe pthread_cond_timedwait(condition, mutex, &time) != ETIMEDOUT
    }

    /// Wakes one waiting thread. The state is changed with the lock held before.
    @inlinable public func signal() {
        unsafe pthread_cond_signal(condition)
    }

    /// Wakes all waiting threads. The state is changed with the lock held before.
    @inlinable public func broadcast() {
        unsafe pthread_cond_broadcast(condition)
    }
}
