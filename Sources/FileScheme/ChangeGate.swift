import Glibc
import Synchronization

/// Lets single changes through side by side, and several changes that make up one call without any other in between: their
/// numbers then follow one another, and a repetition gives the same.
@safe
final class ChangeGate: @unchecked Sendable {
    private let lock: UnsafeMutablePointer<pthread_rwlock_t>
    /// The first number of the several changes that are being made; 0 if none are.
    private let firstOfSeveral = Atomic<UInt64>(0)

    init() {
        unsafe lock = .allocate(capacity: 1)
        unsafe lock.initialize(to: pthread_rwlock_t())
        unsafe pthread_rwlock_init(lock, nil)
    }

    deinit {
        unsafe pthread_rwlock_destroy(lock)
        unsafe lock.deallocate()
    }

    /// One change.
    func single<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        unsafe pthread_rwlock_rdlock(lock)
        defer { unsafe pthread_rwlock_unlock(lock) }
        return try body()
    }

    /// Several changes.
    ///
    /// - Parameter first: computes the first one's number, when nobody else changes anything.
    func several<Result, Failure: Error>(
        first: () -> UInt64, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_rwlock_wrlock(lock)
        firstOfSeveral.store(first(), ordering: .sequentiallyConsistent)
        defer {
            firstOfSeveral.store(0, ordering: .sequentiallyConsistent)
            unsafe pthread_rwlock_unlock(lock)
        }
        return try body()
    }

    /// The last number that must have been told before everything up to `sequence` is made durable.
    ///
    /// The changes of a call that is still being made can't be told yet, and the call may wait for just this commit. They may become
    /// durable: a call that consists of several changes can be made again from the start.
    func lastToTell(of sequence: UInt64) -> UInt64 {
        let first = firstOfSeveral.load(ordering: .sequentiallyConsistent)
        return first != 0 && first <= sequence ? first - 1 : sequence
    }
}
