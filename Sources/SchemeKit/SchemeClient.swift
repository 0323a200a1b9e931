import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

// Who takes completions: the threads that wait for one. One of them leads, sleeps on the channel and gives the others theirs; with
// one request at a time the thread that asked is the one that the server wakes. While the server is replaced nobody leads.

/// Another scheme, as this one uses it: synchronous calls over a channel, from any thread.
///
/// The death of the server is not seen by callers: their calls wait, open files are opened again in the next incarnation, and
/// what was in flight is sent again. So use it for calls that may be made twice: reads, and writes at offsets. If the server stays
/// away (offline), calls fail with ENODEV until it is back.
public final class SchemeClient: Sendable {
    private struct State {
        /// By record: 0 nobody waits, 1 somebody waits, 2 the completion is there.
        var status: [UInt8]
        var completions: [Completion?]
        var waiting = 0
        var hasLeader = false
        var isPaused = false
        var isOffline = false
        /// Answers that made no sense, as far as they were told.
        var violations: UInt64 = 0
        var nextHandle: UInt64 = 1
        var files: [UInt64: OpenedPath] = [:]
    }

    struct OpenedPath: Sendable {
        let path: [UInt8]
        let flags: UInt32
        var node: UInt64
        var opened: OpenedFlags
    }

    /// The scheme's name.
    public let scheme: String
    let channel: ChannelClient
    private let state: Locked<State>
    private let changed = ConditionVariable()
    private let isSuperseded: @Sendable () -> Bool
    private let suspects: @Sendable () -> Void

    /// Uses a channel whose server is, or will be, attached.
    ///
    /// - Parameters:
    ///   - isSuperseded: asked while a server is brought up: true if another one is on its way already.
    ///   - suspects: called when the server gave an answer that makes no sense: what it was asked would wait for ever, it must go.
    public init(
        _ channel: ChannelClient, scheme: String, isSuperseded: @escaping @Sendable () -> Bool = { false },
        suspects: @escaping @Sendable () -> Void = {}
    ) {
        self.channel = channel
        self.scheme = scheme
        self.isSuperseded = isSuperseded
        self.suspects = suspects
        let count = channel.layout.geometry.recordCount
        state = Locked(
            State(
                status: Array(repeating: 0, count: count), completions: Array(repeating: nil, count: count)))
    }

    // MARK: Files

    /// Opens a path of the scheme. Flags as open(2); those that only make sense once aren't repeated for a new incarnation.
    public func open(_ path: String, flags: UInt32) throws(Errno) -> RemoteFile {
        let bytes = Array(path.utf8)
        let handle = state.withLock { state -> UInt64 in
            defer { state.nextHandle += 1 }
            return state.nextHandle
        }
        let (node, opened) = try openRemote(bytes, flags: flags, handle: handle, inRecovery: false)
        let once = OpenFlags.create | OpenFlags.exclusive | OpenFlags.truncate
        state.withLock { $0.files[handle] = OpenedPath(path: bytes, flags: flags & ~once, node: node, opened: opened) }
        return RemoteFile(self, handle: handle)
    }

    private func openRemote(
        _ path: [UInt8], flags: UInt32, handle: UInt64, inRecovery: Bool
    ) throws(Errno) -> (node: UInt64, opened: OpenedFlags) {
        let slot = try reserve(payloadBytes: path.count, replyBytes: 0, inRecovery: inRecovery)
        let span = path.span
        let channel = channel
        var payload = channel.payload(slot)
        payload.copyBytes(from: unsafe span.bytes)
        let completion = try call(
            slot, SubmissionEntry(.openat, handle: handle), RequestArguments(flags: flags), payload: 0..<path.count,
            inRecovery: inRecovery)
        defer { channel.release(completion) }
        if let code = completion.errno { throw Errno(rawValue: code) }
        return (completion.value1, OpenedFlags(rawValue: completion.value0))
    }

    /// What the server said of an open file.
    func opened(_ handle: UInt64) -> OpenedFlags { state.withLock { $0.files[handle]?.opened ?? [] } }

    func node(_ handle: UInt64) throws(Errno) -> UInt64 {
        guard let file = state.withLock({ $0.files[handle] }) else { throw .badFileDescriptor }
        return file.node
    }

    func forget(_ handle: UInt64) { _ = state.withLock { $0.files.removeValue(forKey: handle) } }

    // MARK: Calls

    /// Takes a record; waits for others to be answered if there is none.
    func reserve(payloadBytes: Int, replyBytes: Int, inRecovery: Bool = false) throws(Errno) -> RequestSlot {
        while true {
            if !inRecovery, state.withLock({ $0.isOffline }) { throw .operationNotSupportedByDevice }
            if let slot = channel.reserve(payloadBytes: payloadBytes, replyBytes: replyBytes, important: true) {
                return slot
            }
            if inRecovery { throw .noBufferSpace }
            _ = lead(nanoseconds: 1_000_000) { _ in false }
        }
    }

    /// Submits without waiting: the slot is then given to `finish`.
    func begin(
        _ slot: RequestSlot, _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments(),
        payload: Range<Int> = 0..<0, inRecovery: Bool = false
    ) {
        state.withLock { state in
            state.status[Int(slot.tag)] = 1
            state.completions[Int(slot.tag)] = nil
        }
        channel.submit(slot, entry, arguments, payload: payload, inRecovery: inRecovery)
    }

    /// Submits a call whose answer nobody waits for; it isn't made if there is no room, or the scheme is offline.
    func post(_ entry: SubmissionEntry) {
        guard !state.withLock({ $0.isOffline }), let slot = channel.reserve(important: true) else { return }
        channel.submit(slot, entry)
    }

    /// Waits for the answer of a submitted slot. The caller releases it.
    func finish(_ slot: RequestSlot) -> Completion {
        while true {
            if let completion = take(slot.tag) { return completion }
            let isDone = lead(nanoseconds: 1_000_000_000) { state in state.status[Int(slot.tag)] == 2 }
            if !isDone { continue }
        }
    }

    private func take(_ tag: UInt32) -> Completion? {
        state.withLock { state in
            guard state.status[Int(tag)] == 2, let completion = state.completions[Int(tag)] else { return nil }
            state.status[Int(tag)] = 0
            state.completions[Int(tag)] = nil
            return completion
        }
    }

    /// Submits and waits. The caller releases the completion.
    func call(
        _ slot: RequestSlot, _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments(),
        payload: Range<Int> = 0..<0, inRecovery: Bool = false
    ) throws(Errno) -> Completion {
        begin(slot, entry, arguments, payload: payload, inRecovery: inRecovery)
        if !inRecovery { return finish(slot) }
        while true {
            channel.waitAndDrain(nanoseconds: 20_000_000) { deliver($0) }
            if let completion = take(slot.tag) { return completion }
            if isSuperseded() { throw .connectionReset }
        }
    }

    private enum Role { case done, leader, follower }

    /// Leads for a while, or waits until the leader is done or the condition holds.
    private func lead(nanoseconds: UInt64, _ isDone: (State) -> Bool) -> Bool {
        let role = state.withLock { state -> Role in
            if isDone(state) { return .done }
            if state.hasLeader || state.isPaused { return .follower }
            state.hasLeader = true
            return .leader
        }
        switch role {
        case .done: return true
        case .leader:
            channel.waitAndDrain(nanoseconds: nanoseconds) { deliver($0) }
            let violations = channel.violations.total
            let (others, isSuspect) = state.withLock { state in
                state.hasLeader = false
                defer { state.violations = violations }
                return (state.waiting, state.violations != violations)
            }
            if others > 0 { changed.broadcast() }
            if isSuspect { suspects() }
            return false
        case .follower:
            let deadline = Clock.monotonicNanoseconds() &+ nanoseconds
            state.withLock { $0.waiting += 1 }
            _ = state.wait(on: changed, deadline: deadline) { state in
                isDone(state) || (!state.hasLeader && !state.isPaused) ? true : nil
            }
            state.withLock { $0.waiting -= 1 }
            return false
        }
    }

    private func deliver(_ completion: Completion) {
        let tag = Int(completion.tag)
        let isAwaited = state.withLock { state -> Bool in
            guard state.status[tag] == 1 else { return false }
            state.status[tag] = 2
            state.completions[tag] = completion
            return true
        }
        if isAwaited { changed.broadcast() } else { channel.release(completion) }
    }

    // MARK: Recovery

    /// The server died: calls wait from now on.
    public func serverDied() { channel.holdBack() }

    /// The server is offline: everything in flight and to come fails with ENODEV.
    public func serverOffline() {
        channel.holdBack()
        state.withLock { $0.isOffline = true }
        pause()
        channel.drain { deliver($0) }
        for record in channel.requestsInFlight() + channel.requestsHeld() {
            channel.failLocally(record, errno: Errno.operationNotSupportedByDevice.rawValue)
        }
        channel.drain { deliver($0) }
        unpause()
    }

    /// The next incarnation is up: opens the files again, sends what was in flight again, and lets calls through.
    public func serverStarted(_ incarnation: UInt32) {
        channel.holdBack()
        pause()
        defer { unpause() }
        while channel.drain({ deliver($0) }) > 0 {}
        channel.startEpoch(incarnation)
        while channel.drain({ deliver($0) }) > 0 {}
        let inFlight = channel.requestsInFlight()
        for (handle, file) in state.withLock({ $0.files }) {
            do throws(Errno) {
                let (node, opened) = try openRemote(file.path, flags: file.flags, handle: handle, inRecovery: true)
                state.withLock { state in
                    state.files[handle]?.node = node
                    state.files[handle]?.opened = opened
                }
            } catch .connectionReset {
                return
            } catch {
                // The file is gone: its calls get the server's errno.
            }
        }
        for record in inFlight { channel.resubmit(record) }
        state.withLock { $0.isOffline = false }
        channel.resume()
    }

    private func pause() {
        while true {
            let hasLeader = state.withLock { state -> Bool in
                state.isPaused = true
                return state.hasLeader
            }
            if !hasLeader { return }
            channel.wakeDrainer()
            _ = state.wait(on: changed, deadline: Clock.monotonicNanoseconds() &+ 1_000_000) {
                $0.hasLeader ? nil : true
            }
        }
    }

    private func unpause() {
        state.withLock { $0.isPaused = false }
        changed.broadcast()
    }
}
