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
    private var turns = TurnBalance()
    /// Where the client submitted last, plus one; 0 at the start.
    private var seen: UInt32 = 0
    /// Where the thread is kept, plus one; 0 if it isn't.
    private var kept: UInt32 = 0
    /// When the turn began that goes on while another thread has the lead, in monotonic nanoseconds; nil if none does.
    private var openTurn: UInt64?

    /// Whether the thread is kept on a processor.
    var isKept: Bool { kept != 0 }

    /// The thread leaves the lead to move many bytes: its turn, begun at `start` (monotonic nanoseconds), ends when it comes back.
    mutating func left(since start: UInt64) { openTurn = start }

    /// The thread came back at `time` (monotonic nanoseconds). `processor`: as with `finishedTurn`.
    mutating func cameBack(at time: UInt64, client processor: UInt32) {
        guard let start = openTurn.take() else { return }
        finishedTurn(time &- start, client: processor)
    }

    /// Learns from a turn: from the first request after a sleep to the next sleep.
    ///
    /// - Parameters:
    ///   - nanoseconds: how long it took.
    ///   - processor: the client's word: where it submitted, plus one; a wrong one makes the call to the kernel fail, no more.
    mutating func finishedTurn(_ nanoseconds: UInt64, client processor: UInt32) {
        turns.add(processor == 0 ? UInt64.max : nanoseconds)
        if turns.isLong, kept != 0 {
            kept = 0
            Processors.releaseThread()
        }
        if processor != 0, processor != seen {
            if !turns.isLong { turns.reset() }
            seen = processor
        }
        guard turns.isShort, kept != processor else { return }
        kept = Processors.keepThread(on: processor - 1) ? processor : 0
    }
}
