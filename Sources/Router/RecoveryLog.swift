import Platform
import SchemeProtocol

/// What one recovery did.
public struct RecoveryReport: Sendable {
    /// A change whose repetition gave something else than what was acknowledged.
    public struct Mismatch: Sendable {
        /// The change.
        public var opcode: Opcode
        /// The result that the application got.
        public var acknowledged: Int64
        /// The result of the repetition.
        public var repeated: Int64
        /// The node that the application got and the one of the repetition, if they differ.
        public var nodes: (acknowledged: UInt64, repeated: UInt64)?
    }

    /// The new incarnation.
    public var incarnation: UInt32
    /// The number that it found in its durable state.
    public var recoveredSequence: UInt64 = 0
    /// Open files handed over.
    public var handles = 0
    /// Changes repeated.
    public var replayed = 0
    /// Requests in flight that were given to it.
    public var resubmitted = 0
    /// Requests ended with EIO, because servers died of them.
    public var quarantined = 0
    /// Results that differ.
    public var mismatches: [Mismatch] = []

    init(incarnation: UInt32) { self.incarnation = incarnation }
}

/// The times of a route's recoveries: monotonic nanoseconds.
public final class RecoveryLog: Sendable {
    /// One recovery.
    public struct Entry: Sendable {
        /// When the router heard of the death; 0 for a first start.
        public var died: UInt64 = 0
        /// When the successor was ready.
        public var started: UInt64 = 0
        /// When requests went on.
        public var resumed: UInt64 = 0
        /// What was done.
        public var report: RecoveryReport?
    }

    private struct State {
        var entries: [Entry] = []
        var current = Entry()
        var isOffline = false
        var count = 0
    }

    private static let limit = 64
    private let state = Locked(State())

    init() {}

    func serverDied() {
        state.withLock { state in
            state.current = Entry()
            state.current.died = Clock.monotonicNanoseconds()
        }
    }

    func serverStarted() {
        state.withLock { state in
            state.isOffline = false
            state.current.started = Clock.monotonicNanoseconds()
        }
    }

    func wentOffline() { state.withLock { $0.isOffline = true } }

    func resumed(_ report: RecoveryReport) {
        state.withLock { state in
            state.current.resumed = Clock.monotonicNanoseconds()
            state.current.report = report
            state.entries.append(state.current)
            state.count += 1
            if state.entries.count > Self.limit { state.entries.removeFirst() }
            state.current = Entry()
        }
    }

    /// The last recoveries, oldest first.
    public var entries: [Entry] { state.withLock { $0.entries } }
    /// All recoveries, the first start among them.
    public var count: Int { state.withLock { $0.count } }
    /// Whether the supervisor has given the scheme up.
    public var isOffline: Bool { state.withLock { $0.isOffline } }
}
