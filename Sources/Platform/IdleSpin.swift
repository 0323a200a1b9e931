import Glibc

/// Looking again and again for a while before sleeping, as far as that has paid lately.
///
/// To wake a processor that sleeps takes tens of microseconds in a virtual machine, and as long on hardware in a deep sleep: longer
/// than most requests. Who expects the next message soon therefore looks for it until `budget` is over, and gives the
/// processor to whoever wants it between two looks. The budget follows what happens, as with the halt polling of KVM:
///
/// - a sleep that was shorter than `limit` would have been spared: the budget doubles;
/// - a search in vain, and the sleep after it was long, too: the budget is halved, and ends at nothing;
/// - another thread took the processor when it was offered: it is needed, the search ends, the budget is halved.
///
/// So an idle side sleeps, and a busy machine isn't kept busy by looking. Belongs to one thread at a time.
public struct IdleSpin: Sendable {
    /// The longest time to look for, in nanoseconds: a few times what a wake-up takes.
    public static let limit: UInt64 = 200_000
    /// The shortest time that isn't nothing.
    private static let least: UInt64 = 25_000
    /// A yield that took longer gave the processor to another thread, in nanoseconds.
    private static let theft: UInt64 = 5_000

    /// How long the next search may take, in nanoseconds.
    public private(set) var budget: UInt64

    /// Nobody looks on a machine with one processor: what is waited for can't happen meanwhile.
    private let isUseful: Bool

    /// Begins without looking.
    public init() {
        budget = 0
        isUseful = Processors.count > 1
    }

    /// Looks until `isReady` says so (true) or the budget is over.
    public mutating func run(_ isReady: () -> Bool) -> Bool {
        guard budget > 0 else { return false }
        let start = Clock.monotonicNanoseconds()
        var last = start
        while true {
            sched_yield()
            let now = Clock.monotonicNanoseconds()
            if isReady() { return true }
            if now &- last > Self.theft {
                budget = Self.halved(budget)
                return false
            }
            if now &- start > budget { return false }
            last = Clock.monotonicNanoseconds()
        }
    }

    /// Learns from a sleep, in nanoseconds.
    public mutating func slept(_ nanoseconds: UInt64) {
        guard isUseful else { return }
        if nanoseconds < Self.limit {
            budget = min(max(budget * 2, Self.least), Self.limit)
        } else {
            budget = Self.halved(budget)
        }
    }

    private static func halved(_ budget: UInt64) -> UInt64 { budget / 2 < least ? 0 : budget / 2 }
}
