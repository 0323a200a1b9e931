import Platform

// The thread that reads requests asks a server and waits, then wakes the application. The scheduler moves a thread that is woken
// to an idle processor, which has to be woken for it: so reader and server would run away from each other with each request. A reader
// with short turns therefore stays where it is, its server follows it (`Companion` of the transport), and the application
// keeps the other processors.

/// Keeps a reading thread on one processor for as long as its requests are answered soon. Belongs to one thread.
struct ReaderPlace {
    private var turns = TurnBalance()
    private var isKept = false

    /// Learns from a request.
    ///
    /// - Parameter nanoseconds: from its arrival to its answer; nil if it took so long that another thread was let read.
    mutating func finishedTurn(_ nanoseconds: UInt64?) {
        turns.add(nanoseconds ?? .max)
        if turns.isLong, isKept {
            isKept = false
            Processors.releaseThread()
        } else if turns.isShort, !isKept, let processor = Processors.current {
            isKept = Processors.keepThread(on: processor)
        }
    }
}
