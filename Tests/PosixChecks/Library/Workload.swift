/// Something that several applications do at once until they are stopped, and every step of which has one right outcome.
public protocol Workload: Sendable {
    /// One worker's rounds, on the calling thread, until `stop` or a fault.
    func run(worker: Int) -> WorkloadOutcome
    /// Ends all workers after their present round.
    func stop()
}

/// What came of one worker.
public struct WorkloadOutcome: Sendable {
    /// Rounds that were done.
    public var rounds = 0
    /// Calls that were made.
    public var calls = 0
    /// The longest that one call took, in microseconds.
    public var longestCall: UInt64 = 0
    /// What went wrong; empty if all was well.
    public var faults: [String] = []
}
