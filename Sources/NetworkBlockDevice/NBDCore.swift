import BlockDevice
import Platform
import SystemPackage

// Who does what:
// - A caller takes a connection, makes one request on it, and gives it back. With a request on each connection he waits.
// - A write is noted (`UnflushedWrites`) before it is sent, and stays noted until a flush covers it.
// - When a connection breaks, all are given up: the phase is `down`, and callers wait. The keeper, a thread of its own, waits until
//   nobody has a connection and the server has let go of the old ones, so that nothing that was sent on them is done later; then it
//   connects anew, repeats all that is noted in its order, flushes, and the phase is `up`. What was in a caller's
//   hand was noted, so it is done by then; reads and flushes are made again.
// - After a time (`patience`) callers get EIO, those to come at once. The keeper goes on, and brings the disk back when it can.

/// The connections to a server, and what it may lose.
final class NBDCore: Sendable {
    enum Phase: Equatable {
        case up
        case down(since: UInt64)
        case ended
    }

    struct State {
        var phase: Phase
        /// What the server can do now, in the sizes of `opened`.
        var export: NBDExport
        /// Counts connections made anew; those of an earlier number are worth nothing.
        var generation: UInt64 = 0
        var idle: [NBDConnection] = []
        /// Idle or in somebody's hand.
        var all: [NBDConnection] = []
        var busy = 0
        /// Sockets of a predecessor.
        var inherited: [SharedDescriptor]
        /// Where notes begin whose writes aren't answered.
        var outstanding: Set<UInt64> = []
        /// Everything noted before this was repeated when the connections were made.
        var repeatedTo: UInt64 = 0
        var reconnections: UInt64 = 0
        var repetitions: UInt64 = 0
        /// Why there is no connection.
        var obstacle: String?
        /// Which of the server's addresses all connections go to.
        var endpoint: Int
        /// The next socket's number.
        var nextDial = 0

        /// Up to here what is noted was answered by the server.
        func answeredEnd(_ notes: UnflushedWrites) -> UInt64 { outstanding.min() ?? notes.tail }
    }

    /// A connection in somebody's hand.
    struct Lease {
        let connection: NBDConnection
        let generation: UInt64
        let export: NBDExport
    }

    let state: Locked<State>
    let changed = ConditionVariable()
    let notes: UnflushedWrites
    let name: String
    let options: NBDOptions
    let dialer: any NBDDialer
    /// What the disk was opened with, here or by a predecessor: all requests keep to its blocks, whatever a later server would take.
    let opened: NBDExport

    /// Whether anything is written.
    var isWritable: Bool { options.isWritable && !opened.abilities.contains(.readOnly) }

    init(
        _ dialer: any NBDDialer, export name: String, _ notes: UnflushedWrites, _ options: NBDOptions,
        inherited: [SharedDescriptor]
    ) throws(NBDError) {
        self.dialer = dialer
        self.name = name
        self.notes = notes
        self.options = options
        guard notes.isSound else { throw .unusable("the notes of what was written are damaged") }
        let now = Clock.monotonicNanoseconds()
        if let known = notes.export {
            opened = known
            // The predecessor's callers wait already: the process is up at once, the connections come.
            state = Locked(
                State(phase: .down(since: now), export: known, inherited: inherited, endpoint: notes.endpoint))
        } else {
            let (first, endpoint) = try Self.connectFirst(dialer, name, options)
            opened = first.export
            state = Locked(
                State(
                    phase: .down(since: now), export: first.export, inherited: inherited, endpoint: endpoint,
                    nextDial: endpoint + 1))
            notes.endpoint = endpoint
            notes.export = first.export
            do throws(NBDFailure) {
                try bringUp(first, isBeginning: true)
            } catch {
                throw Self.error(error)
            }
        }
        do throws(Errno) {
            try spawnThread(name: "keeper", stackSize: 512 << 10) { [self] in keep() }
        } catch {
            throw .unusable("cannot start a thread: \(error)")
        }
    }

    private static func error(_ failure: NBDFailure, exports: [String] = []) -> NBDError {
        switch failure {
        case .unreachable(let code): .unreachable(code)
        case .disconnected(let text): .silent(text)
        case .refused(let code): .unusable("\(code)")
        case .negotiation(let text): .refused(text, exports: exports)
        }
    }

    /// Tries the server's addresses in turn: at the first that has the export we stay, as others may be of other servers. Throws
    /// what the one says that comes farthest.
    private static func connectFirst(
        _ dialer: any NBDDialer, _ name: String, _ options: NBDOptions
    ) throws(NBDError) -> (NBDConnection, endpoint: Int) {
        var best: (failure: NBDFailure, endpoint: Int) = (.unreachable(.noRouteToHost), 0)
        for endpoint in 0..<max(1, dialer.endpointCount) {
            do throws(NBDFailure) {
                return (try connect(dialer, name, options, endpoint, number: endpoint), endpoint)
            } catch {
                if endpoint == 0 || error.progress > best.failure.progress { best = (error, endpoint) }
            }
        }
        var exports: [String] = []
        if case .negotiation = best.failure,
            let socket = try? dialer.dial(best.endpoint, number: max(1, dialer.endpointCount))
        {
            let deadline = Clock.monotonicNanoseconds() &+ options.connectionLimit
            exports = NBDConnection.exports(socket, deadline: deadline)
            dialer.forget(socket)
        }
        throw error(best.failure, exports: exports)
    }

    /// Nobody uses it any more.
    func end() {
        state.withLock { state in
            state.phase = .ended
            state.idle = []
            state.all = []
        }
        changed.broadcast()
    }

    // MARK: Leases

    private enum Turn {
        case go(Lease)
        case isRepeated
        case failed
    }

    /// When a caller who begins now has waited long enough.
    var deadline: UInt64 {
        let (sum, isTooMuch) = Clock.monotonicNanoseconds().addingReportingOverflow(options.patience)
        return isTooMuch ? .max : sum
    }

    /// A connection; nil if the note was repeated meanwhile: there is nothing left to do. EIO if the server was away for too long,
    /// or the deadline is over: no more requests are made then, so that a call lasts no longer than that and one answer.
    func take(for note: UnflushedWrites.Record? = nil, deadline: UInt64) throws(Errno) -> Lease? {
        let turn = state.wait(on: changed, deadline: deadline) { state -> Turn? in
            if let note, note.position < state.repeatedTo { return .isRepeated }
            switch state.phase {
            case .ended: return .failed
            case .down(let since):
                return Clock.monotonicNanoseconds() &- since >= options.patience ? .failed : nil
            case .up:
                guard Clock.monotonicNanoseconds() < deadline else { return .failed }
                guard let connection = state.idle.popLast() else { return nil }
                state.busy += 1
                return .go(Lease(connection: connection, generation: state.generation, export: state.export))
            }
        }
        switch turn {
        case .go(let lease): return lease
        case .isRepeated: return nil
        case .failed, nil: throw .ioError
        }
    }

    /// Gives a connection back that is good.
    func give(_ lease: Lease) {
        state.withLock { state in
            state.busy -= 1
            if state.phase == .up, state.generation == lease.generation { state.idle.append(lease.connection) }
        }
        changed.broadcast()
    }

    /// Gives a connection back after a failure; throws what the server said, returns if the request is to be made again.
    func give(_ lease: Lease, _ failure: NBDFailure) throws(Errno) {
        if case .refused(let code) = failure {
            give(lease)
            throw code
        }
        let isFirst = state.withLock { state -> Bool in
            state.busy -= 1
            guard state.phase == .up, state.generation == lease.generation else { return false }
            state.phase = .down(since: Clock.monotonicNanoseconds())
            return true
        }
        if isFirst { options.log("the server is gone: \(failure.text)") }
        changed.broadcast()
    }

    // MARK: Notes

    /// Notes what is about to be written; makes room by a flush if there is none. EIO if there is none until the deadline.
    func note(
        _ kind: UnflushedWrites.Kind, at offset: UInt64, byteCount: UInt64, _ buffers: [BufferSlice], deadline: UInt64
    ) throws(Errno) -> UnflushedWrites.Record {
        while true {
            let noted = state.withLock { state -> UnflushedWrites.Record? in
                guard let note = notes.append(kind, at: offset, byteCount: byteCount, buffers) else { return nil }
                state.outstanding.insert(note.position)
                return note
            }
            if let noted { return noted }
            // The oldest may be in another caller's hand.
            let mayFlush = state.wait(on: changed, deadline: deadline) { state -> Bool? in
                if state.phase == .ended { return false }
                return state.answeredEnd(notes) > notes.head ? true : nil
            }
            guard mayFlush == true else { throw .ioError }
            try flush(deadline: deadline)
        }
    }

    /// The write is answered, or has failed: then nobody repeats it.
    func settle(_ note: UnflushedWrites.Record, hasFailed: Bool) {
        state.withLock { state in
            if hasFailed, note.position >= notes.head { notes.void(note) }
            state.outstanding.remove(note.position)
        }
        changed.broadcast()
    }

    /// Sends what is noted.
    func send(_ note: UnflushedWrites.Record, on connection: NBDConnection, _ export: NBDExport) throws(NBDFailure) {
        // A server that can't flush may make each write durable.
        let isDurable = !export.abilities.contains(.flush) && export.abilities.contains(.fua)
        switch note.kind {
        case .padding: break
        case .write:
            // A server that came back may take less at once.
            let data = notes.data(note)
            var done = 0
            while done < data.byteCount {
                let count = min(data.byteCount - done, Int(clamping: export.maximumBlock))
                try connection.write(
                    at: note.offset + UInt64(done), data.bytes(done..<(done + count)), durably: isDurable)
                done += count
            }
        case .zero:
            guard export.abilities.contains(.zero) else {
                return try sendZeros(note, on: connection, export, isDurable)
            }
            try connection.zero(at: note.offset, byteCount: note.byteCount, durably: isDurable)
        }
    }

    /// A server that came back can do less than before.
    private func sendZeros(
        _ note: UnflushedWrites.Record, on connection: NBDConnection, _ export: NBDExport, _ isDurable: Bool
    ) throws(NBDFailure) {
        let zeros = AlignedBuffer(byteCount: Int(min(export.maximumBlock, note.byteCount)))
        var done: UInt64 = 0
        while done < note.byteCount {
            let count = min(note.byteCount - done, UInt64(zeros.byteCount))
            try connection.write(at: note.offset + done, zeros.bytes(0..<Int(count)), durably: isDurable)
            done += count
        }
    }

    /// Returns when everything that was answered before is durable.
    func flush(deadline: UInt64) throws(Errno) {
        while true {
            // Notes that are answered may lie behind one that isn't: only without any there is nothing to flush.
            if state.withLock({ _ in notes.isEmpty }) { return }
            guard let lease = try take(deadline: deadline) else { return }
            let end = state.withLock { $0.answeredEnd(notes) }
            do throws(NBDFailure) {
                if lease.export.abilities.contains(.flush) { try lease.connection.flush() }
                state.withLock { _ in notes.drop(before: end) }
                give(lease)
                return
            } catch {
                try give(lease, error)
            }
        }
    }
}

extension NBDFailure {
    /// How far the server let us come.
    var progress: Int {
        switch self {
        case .unreachable: 0
        case .disconnected: 1
        case .negotiation: 2
        case .refused: 3
        }
    }

    var text: String {
        switch self {
        case .unreachable(let code): "\(code)"
        case .disconnected(let text), .negotiation(let text): text
        case .refused(let code): "\(code)"
        }
    }
}
