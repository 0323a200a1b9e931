import Platform

// With one request at a time, client and server take turns: two processors can't make that faster, but to wake the other one from
// its sleep takes tens of microseconds in a virtual machine (and on hardware, when it sleeps deeply), ten times as long as a
// change of threads on one processor. The scheduler prefers the idle processor all the same, so the server follows its client:
//
//     short turns   the thread that takes requests is kept on the processor where the client submits
//     long turns    (much to do, or always more of it) the thread may run where it likes: now two processors are faster

/// Keeps a serving thread on the processor of its client for as long as it has little to do each time it is woken. Belongs to one
/// thread.
struct Companion {
    /// A turn that takes longer is long, in nanoseconds: a few times what it takes to wake a processor.
    private static let short: UInt64 = 120_000
    /// How far the turns of one kind must prevail before the thread is kept, or let go: a single one says nothing.
    private static let patience = 16

    /// Up with short turns, down with long ones.
    private var balance = 0
    /// Where the client submitted last, plus one; 0 at the start.
    private var seen: UInt32 = 0
    /// Where the thread is kept, plus one; 0 if it isn't.
    private var kept: UInt32 = 0

    /// Learns from a turn: from the first request after a sleep to the next sleep.
    ///
    /// - Parameters:
    ///   - nanoseconds: how long it took.
    ///   - processor: the client's word: where it submitted, plus one; a wrong one makes the call to the kernel fail, no more.
    mutating func finishedTurn(_ nanoseconds: UInt64, client processor: UInt32) {
        guard nanoseconds < Self.short, processor != 0 else {
            balance = max(balance - 4, -Self.patience)
            if balance == -Self.patience, kept != 0 {
                kept = 0
                Processors.releaseThread()
            }
            return
        }
        balance = processor == seen ? min(balance + 1, Self.patience) : 0
        seen = processor
        guard balance == Self.patience, kept != processor else { return }
        kept = Processors.keepThread(on: processor - 1) ? processor : 0
    }
}
