import Platform

/// Posts the completions of changes in the order of their sequence numbers, whatever thread they were made on.
///
/// A client repeats the changes it was told of. If number 8 were told and number 7 not, 8 would be repeated without 7,
/// on which it may depend (a name in a directory that 7 made). So 8 waits for 7: for the few instructions between applying
/// and posting on another thread.
public final class SequenceOrder: Sendable {
    private let last: Locked<UInt64>
    private let moved = ConditionVariable()
    /// A number that never comes is a fault in the scheme: it costs a pause, not a hang.
    private static let patience: UInt64 = 1_000_000_000

    /// An order whose first number is the one after `sequence`.
    public init(after sequence: UInt64) { last = Locked(sequence) }

    /// Posts the completion with this number, after those with lower ones.
    ///
    /// - Parameter first: the first number that belongs to the completion, if that has several.
    public func post(_ sequence: UInt64, from first: UInt64 = 0, _ body: () -> Void) {
        wait(for: (first == 0 ? sequence : min(first, sequence)) &- 1)
        last.withLock { last in
            body()
            last = max(last, sequence)
        }
        moved.broadcast()
    }

    /// Waits until everything up to a number is posted: before it is made durable, as what a commit covers must have been told.
    public func wait(for sequence: UInt64) {
        if last.withLock({ $0 >= sequence }) { return }
        _ = last.wait(on: moved, deadline: Clock.monotonicNanoseconds() &+ Self.patience) {
            $0 >= sequence ? true : nil
        }
    }

    /// The last number posted.
    public var lastPosted: UInt64 { last.withLock { $0 } }

    /// Goes on after a number that a replay has reached.
    public func advance(to sequence: UInt64) {
        last.withLock { $0 = max($0, sequence) }
        moved.broadcast()
    }
}
