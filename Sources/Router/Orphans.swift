import Platform
import SchemeProtocol
import SchemeTransport

/// The requests of a dead router that lie in a channel: the kernel hands those out again that it got no reply for, and they are
/// found here by their unique number instead of being carried out again.
final class Orphans: Sendable {
    private struct Record {
        let tag: UInt32
        let generation: UInt32
        /// Its completion was taken.
        var isComplete: Bool
    }

    private struct State {
        var records: [UInt64: Record] = [:]
        var until: UInt64 = 0
    }

    /// How long the kernel may take to hand everything out again, in nanoseconds.
    static let patience: UInt64 = 10_000_000_000

    private let client: ChannelClient
    private let state: Locked<State>

    init(
        _ client: ChannelClient, isAdopted: Bool, _ faults: RouterFaults, patience: UInt64 = Orphans.patience
    ) {
        self.client = client
        var found = State()
        if isAdopted {
            found.until = Clock.monotonicNanoseconds() &+ patience
            client.records { record in
                guard record.state == .submitted || record.state == .completed else { return }
                if record.cookie != 0, !faults.contains(.noReplyCache) {
                    found.records[record.cookie] = Record(
                        tag: record.tag, generation: record.entry.generation, isComplete: record.state == .completed)
                } else if record.state == .completed {
                    client.release(tag: record.tag)
                }
            }
        }
        state = Locked(found)
    }

    /// The record of a resent request, which is then the caller's, and whether it has its answer; nil if no server was given it.
    func take(_ unique: UInt64) -> (tag: UInt32, isComplete: Bool)? {
        state.withLock { state in
            state.records.removeValue(forKey: unique).map { (tag: $0.tag, isComplete: $0.isComplete) }
        }
    }

    /// Whether a completion is to be kept for a request that may be resent.
    func isAwaited(_ completion: Completion) -> Bool {
        state.withLock { state in
            guard state.records[completion.cookie]?.tag == completion.tag else { return false }
            state.records[completion.cookie]?.isComplete = true
            return true
        }
    }

    /// Whether a request of that unique number is here.
    func contains(_ unique: UInt64) -> Bool {
        state.withLock { state in state.records[unique] != nil }
    }

    /// Frees what the kernel hasn't asked for again: its caller is gone. What still waits with the server is ended, before it takes what
    /// is meant for others.
    func expire() {
        let expired = state.withLock { state -> [UInt64: Record] in
            guard !state.records.isEmpty, Clock.monotonicNanoseconds() > state.until else { return [:] }
            defer { state.records = [:] }
            return state.records
        }
        for (unique, record) in expired {
            if record.isComplete {
                client.release(tag: record.tag)
            } else if client.cancel(tag: record.tag, generation: record.generation) == nil {
                // No room for that now.
                state.withLock { $0.records[unique] = record }
            }
            // Its completion is nobody's then, and frees the record.
        }
    }

    /// How many there are.
    var count: Int { state.withLock { $0.records.count } }
}
