/// Whether the turns of a thread, from a request to the next rest, are short or long by and large.
///
/// With one request at a time the parties take turns, and two processors can't make that faster; but to wake the other one takes
/// several times as long as a change of threads on one. Whoever has long turns gains by a processor of its own. A single turn
/// says nothing, so it takes some to change the verdict. Belongs to one thread.
public struct TurnBalance: Sendable {
    /// A turn that takes longer is long, in nanoseconds: a few times what it takes to wake a processor.
    public static let short: UInt64 = 120_000
    private static let limit = 16
    /// A long turn weighs as much as so many short ones.
    private static let weight = 4

    private var balance = 0

    /// Begins undecided.
    public init() {}

    /// Short ones prevail.
    public var isShort: Bool { balance == Self.limit }
    /// Long ones prevail.
    public var isLong: Bool { balance == -Self.limit }

    /// Counts a turn that took so many nanoseconds.
    public mutating func add(_ nanoseconds: UInt64) {
        balance =
            nanoseconds < Self.short ? min(balance + 1, Self.limit) : max(balance - Self.weight, -Self.limit)
    }

    /// Forgets the turns so far.
    public mutating func reset() { balance = 0 }
}
