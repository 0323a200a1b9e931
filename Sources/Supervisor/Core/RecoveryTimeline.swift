/// What happened from the death of a process to the first answer of the next incarnation. Times are of the monotonic clock, in
/// nanoseconds; nil: not yet.
public struct RecoveryTimeline: Sendable, Equatable {
    /// The number of the incarnation that took over.
    public let incarnation: UInt32
    /// Why the one before is gone.
    public let cause: String
    /// When the process was told to die, if it was.
    public var orderedAt: UInt64?
    /// When the supervisor saw that it is gone.
    public let detectedAt: UInt64
    /// When the next program ran in its sandbox.
    public var startedAt: UInt64?
    /// When it was ready for its clients.
    public var readyAt: UInt64?
    /// When the last client had brought it up to date.
    public var resumedAt: UInt64?
    /// Acknowledged changes that were repeated.
    public var replayed = 0
    /// Requests in flight that were handed out again.
    public var resubmitted = 0
    /// Requests that were given up because two incarnations died of them.
    public var quarantined = 0
    /// Repeated changes whose result differed from the acknowledged one.
    public var mismatches = 0

    /// A recovery that begins.
    public init(incarnation: UInt32, cause: String, orderedAt: UInt64?, detectedAt: UInt64) {
        self.incarnation = incarnation
        self.cause = cause
        self.orderedAt = orderedAt
        self.detectedAt = detectedAt
    }

    /// Microseconds since the death was ordered, or else detected.
    private func microseconds(_ time: UInt64?) -> ControlJSON {
        guard let time else { return .null }
        let origin = orderedAt ?? detectedAt
        return .count(time >= origin ? (time - origin) / 1000 : 0)
    }

    /// With times in microseconds since the death.
    public var json: ControlJSON {
        .make([
            "incarnation": .count(incarnation), "cause": .string(cause), "at": .count(detectedAt / 1000),
            "detected_us": microseconds(detectedAt), "started_us": microseconds(startedAt),
            "ready_us": microseconds(readyAt), "resumed_us": microseconds(resumedAt), "replayed": .count(replayed),
            "resubmitted": .count(resubmitted), "quarantined": .count(quarantined),
            "mismatches": .count(mismatches),
        ])
    }
}
