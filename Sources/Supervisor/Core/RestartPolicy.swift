/// When a process that died is started again, and when no more.
///
/// A death after a time of good service is answered at once. Deaths in quick succession are answered after a wait that doubles
/// each time; so are starts that fail. Either reaches a limit, and the scheme goes offline until it is restarted by hand. One that
/// served before and can't start any more is tried again from time to time: what it needs may come back.
///
/// Good service is short: it is there to tell a process that dies of what it is given first from one that dies now and then.
/// A start takes a few milliseconds of a processor, so that one that follows a tenth of a second of service costs little, and
/// applications that wait gain nothing by a wait on top. But it must not go on like that for ever, as it would with a process that
/// outgrows its memory again and again: each death that nobody ordered is a debt, which service pays off. Who has too much of
/// it must serve for long until its service is good.
public struct RestartPolicy: Sendable, Equatable {
    /// The first wait, in nanoseconds.
    public var firstDelay: UInt64 = 5_000_000
    /// The longest wait, in nanoseconds.
    public var longestDelay: UInt64 = 2_000_000_000
    /// Quick deaths that are still answered at once.
    public var freeDeaths = 4
    /// So many quick deaths in a row: offline.
    public var deathLimit = 64
    /// So many starts in a row that never got ready: offline.
    public var failedStartLimit = 6
    /// How long after it went offline a scheme that had served and then couldn't start is tried again, in nanoseconds. It doubles each
    /// time, up to `longestRetryDelay`.
    public var retryDelay: UInt64 = 2_000_000_000
    /// The longest such time, in nanoseconds.
    public var longestRetryDelay: UInt64 = 60_000_000_000
    /// Serving so long, in nanoseconds, counts as good service.
    public var stableAfter: UInt64 = 100_000_000
    /// How much service pays off a death that nobody ordered, in nanoseconds: one per such time is answered at once for ever.
    public var debtPerDeath: UInt64 = 1_000_000_000
    /// With more debt than this, in nanoseconds, service is good only after `stableInDebtAfter`.
    public var debtLimit: UInt64 = 300_000_000_000
    /// As `stableAfter`, of a process with too much debt.
    public var stableInDebtAfter: UInt64 = 60_000_000_000

    /// The defaults.
    public init() {}

    /// What to do about a death.
    public enum Decision: Sendable, Equatable {
        /// Start again at this time of the monotonic clock (maybe past), in nanoseconds.
        case restart(at: UInt64)
        /// Start no more.
        case offline
    }

    /// What the policy remembers of one process.
    public struct History: Sendable, Equatable {
        /// Starts in a row that never got ready.
        public private(set) var failedStarts = 0
        /// Deaths in a row with too little service between them.
        public private(set) var quickDeaths = 0
        /// When the deaths so far are paid off, on the clock of `died`.
        private var paidAt: UInt64 = 0

        /// A process without past.
        public init() {}

        /// Forgets all: somebody restarted it by hand.
        public mutating func reset() { self = History() }

        /// Counts a death at `now`, of a process that was ready at `readyAt` (nil: never).
        ///
        /// - Parameter isOrdered: somebody had it killed through the supervisor, which says nothing of the process.
        public mutating func died(
            at now: UInt64, readyAt: UInt64?, isOrdered: Bool = false, _ policy: RestartPolicy
        ) -> Decision {
            guard let readyAt else {
                failedStarts += 1
                if failedStarts >= policy.failedStartLimit { return .offline }
                return .restart(at: now &+ policy.delay(after: failedStarts))
            }
            failedStarts = 0
            if !isOrdered { paidAt = max(paidAt, now) &+ policy.debtPerDeath }
            let isInDebt = paidAt > now && paidAt - now > policy.debtLimit
            if now &- readyAt >= (isInDebt ? policy.stableInDebtAfter : policy.stableAfter) {
                quickDeaths = 0
                return .restart(at: now)
            }
            quickDeaths += 1
            if quickDeaths >= policy.deathLimit { return .offline }
            if quickDeaths <= policy.freeDeaths { return .restart(at: now) }
            let delay = policy.delay(after: quickDeaths - policy.freeDeaths)
            // Only service pays: else the waits would forgive what they are for.
            paidAt &+= delay
            return .restart(at: now &+ delay)
        }
    }

    /// The wait after so many failures in a row (1...).
    public func delay(after failures: Int) -> UInt64 { Self.doubled(firstDelay, after: failures, upTo: longestDelay) }

    /// The time offline before the next attempt, after so many in a row that failed (1...).
    public func retryDelay(after failures: Int) -> UInt64 {
        Self.doubled(retryDelay, after: failures, upTo: longestRetryDelay)
    }

    private static func doubled(_ first: UInt64, after failures: Int, upTo longest: UInt64) -> UInt64 {
        guard failures > 0 else { return 0 }
        let shift = min(failures - 1, 40)
        let (delay, overflow) = first.multipliedReportingOverflow(by: 1 << UInt64(shift))
        return overflow ? longest : min(delay, longest)
    }
}
