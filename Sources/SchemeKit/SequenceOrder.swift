import Platform

/// Posts the completions of changes in the order of their sequence numbers, whatever thread they were made on.
///
/// A client repeats the changes it was told of. If number 8 were told and number 7 not, 8 would be repeated without 7,
/// on which it may depend (a name in a directory that 7 made). So 8 waits for 7: for the few instructions between applying
/// and posting on another thread, for as long as that thread isn't let run.
///
/// Nobody gives up waiting: what would go on without its predecessors couldn't be repeated exactly. A number that never
/// comes is a fault of the scheme; its requests hang, and the supervisor, who watches that, replaces the server.
public final class SequenceOrder: Sendable {
    private let last: Locked<UInt64>
    private let moved = ConditionVariable()

    /// An order whose first number is the one after `sequence`.
    public init(after sequence: UInt64) { last = Locked(sequence) }

    /// Posts the completion with this number, after those with lower ones.
    ///
    /// - Parameter first: the first number that belongs to the completion, if that has several.
    public func post(_ sequence: UInt64, from first: UInt64 = 0, _ body: () -> Void) {
        let previous = (first == 0 ? sequence : min(first, sequence)) &- 1
        last.wait(on: moved) { last -> Void? in
            guard last >= previous else { return nil }
            body()
            last = max(last, sequence)
            return ()
        }
        moved.broadcast()
    }

    /// Waits until everything up to a number is posted: before it is made durable, as what a commit covers must have been told.
    public func wait(for sequence: UInt64) {
        last.wait(on: moved) { last -> Void? in last >= sequence ? () : nil }
    }

    /// The last number posted.
    public var lastPosted: UInt64 { last.withLock { $0 } }

    /// Goes on after a number that a replay has reached.
    public func advance(to sequence: UInt64) {
        last.withLock { $0 = max($0, sequence) }
        moved.broadcast()
    }
}
