import Platform
import SchemeProtocol
import SchemeTransport
import Synchronization
import SystemPackage

/// Turns requests into calls of a scheme, and their results into completions. One for all channels of a server.
///
/// Waiting calls are kept here, so that no thread waits with them. A change gets its number inside the scheme; completions with
/// numbers are posted in their order (`SequenceOrder`), as a client that repeats them must find no gap.
public final class Dispatcher: Sendable {
    /// A request with the channel that it came through.
    struct Taken: Sendable {
        let request: IncomingRequest
        let server: ChannelServer
    }

    /// What a call gave.
    struct Outcome {
        var result: Int64 = 0
        var replyBytes = 0
        var value0: UInt64 = 0
        var value1: UInt64 = 0
    }

    let scheme: any NodeScheme
    let order: SequenceOrder
    private let serial = Locked(())
    private let isSerial: Bool
    private let handleCalls = HandleCalls()
    private let parked = Locked(ParkedCalls())
    /// Counts wake-ups.
    private let wakes = Atomic<UInt64>(0)
    private let adoptions = Locked<[Adoption]>([])
    private let beforeCall: (@Sendable (IncomingRequest) -> Void)?
    private let points: CrashPoints?

    struct Adoption: Sendable {
        let node: UInt64
        let generation: UInt64
        let handle: UInt64
        let flags: UInt32
        /// The number of the change behind which it was opened.
        let openedAfter: UInt64
    }

    /// A dispatcher for a scheme.
    ///
    /// - Parameter beforeCall: sees each request before the scheme does: for faults that are set on purpose.
    /// - Parameter points: where the process ends itself.
    public init(
        _ scheme: any NodeScheme, points: CrashPoints? = nil,
        beforeCall: (@Sendable (IncomingRequest) -> Void)? = nil
    ) {
        self.points = points
        self.scheme = scheme
        self.beforeCall = beforeCall
        isSerial = scheme.isSerial
        order = SequenceOrder(after: scheme.recoveredSequence)
    }

    /// Handles a request: answers it, or keeps it until its node is woken.
    public func handle(_ request: IncomingRequest, from server: ChannelServer, scratch: AlignedBuffer) {
        beforeCall?(request)
        if let points, request.opcode.isLogged { points.reached(request.isReplay ? .repeating : .taken) }
        if request.opcode == .cancel {
            cancel(request, server)
            return
        }
        let woken = attempt(Taken(request: request, server: server), scratch)
        if !woken.isEmpty { retry(woken, scratch) }
    }

    /// Tries the calls again that wait on a node, and tells who polls it.
    public func wake(_ node: UInt64) { retry([node], AlignedBuffer(byteCount: CallNames.scratchBytes)) }

    /// Remembers that somebody wants to be told of events on a handle.
    func watch(_ taken: Taken, events: UInt32) {
        parked.withLock { $0.watch(taken, events: events) }
    }

    /// Forgets what waits or watches through a channel that ends: the calls stay unanswered.
    public func forget(channel server: ChannelServer) {
        parked.withLock { $0.forget { $0.server === server } }
        try? administer { $0.channelEnded(server.number) }
    }

    /// One attempt; returns the nodes that it woke. The request is answered afterwards, or kept.
    private func attempt(_ taken: Taken, _ scratch: AlignedBuffer) -> [UInt64] {
        let request = taken.request
        var context = CallContext(request, channel: taken.server.number, handleCalls)
        defer { context.endHandleCall() }
        let wakesBefore = wakes.load(ordering: .sequentiallyConsistent)
        do throws(Errno) {
            let outcome = try exclusively { () throws(Errno) in try perform(taken, scratch, &context) }
            let opened = context.opened.rawValue
            answer(taken, &context) { context in
                taken.server.complete(
                    request, result: outcome.result, replyBytes: outcome.replyBytes, sequence: context.sequence,
                    value0: opened != 0 ? opened : outcome.value0,
                    value1: context.openedAfter != 0 ? context.openedAfter : outcome.value1)
            }
            if context.tellsWhenAnswered {
                try exclusively { () throws(Errno) in
                    scheme.answered(request.entry.node, handle: request.entry.handle, &context)
                }
            }
        } catch .wouldBlock where mayPark(request) {
            if parked.withLock({ $0.park(taken) }) {
                taken.server.park(request)
                // Another thread may have woken the node after the call looked and before it was listed. To look again isn't a
                // wake-up: else two calls that wait could keep each other busy for ever.
                if wakes.load(ordering: .sequentiallyConsistent) != wakesBefore {
                    var woken = context.wokenNodes
                    for missed in parked.withLock({ $0.takeAll(request.entry.node) }) {
                        woken += attempt(missed, scratch)
                    }
                    return woken
                }
            } else {
                taken.server.complete(request, result: interruption(taken))
            }
        } catch {
            let code = error.rawValue
            answer(taken, &context) { context in
                taken.server.complete(
                    request, result: code > 0 ? -Int64(code) : -Int64(Errno.ioError.rawValue),
                    sequence: context.sequence)
            }
        }
        return context.wokenNodes
    }

    private func answer(_ taken: Taken, _ context: inout CallContext, _ post: (CallContext) -> Void) {
        if taken.request.isReplay {
            post(context)
            order.advance(to: taken.request.arguments.sequence)
            finishReplay(taken.request)
            points?.reached(.repeated)
            return
        }
        let isChange = taken.request.opcode.isLogged
        if isChange { points?.reached(.applied) }
        defer { if isChange { points?.reached(.posted) } }
        if context.sequence == 0 {
            post(context)
        } else {
            // What opened or closed a handle and has a number is told in the order of the numbers.
            context.endHandleCall()
            // A handle call that was applied before this change has no number, but a repetition must know of it.
            handleCalls.wait()
            order.post(context.sequence, from: context.firstSequence) { post(context) }
        }
    }

    /// A call that comes from the control loop, not from a channel.
    func administer<Result>(_ body: (any NodeScheme) throws(Errno) -> Result) throws(Errno) -> Result {
        try exclusively { () throws(Errno) in try body(scheme) }
    }

    /// The scheme's settings and figures.
    func report() throws(ChannelError) -> [ControlMessage.Field] {
        do throws(Errno) {
            return try exclusively { () throws(Errno) in scheme.report() }
        } catch {
            throw .system(error, call: "report")
        }
    }

    private func exclusively<Result>(_ body: () throws(Errno) -> Result) throws(Errno) -> Result {
        guard isSerial else { return try body() }
        return try serial.withLock { _ throws(Errno) in try body() }
    }

    /// Whether the caller waits rather than get EAGAIN.
    private func mayPark(_ request: IncomingRequest) -> Bool {
        switch request.opcode {
        case .setlk, .flock: request.arguments.flags & 1 != 0
        case .read, .write, .open, .openat, .call: request.arguments.flags & OpenFlags.nonBlocking == 0
        default: false
        }
    }

    private func retry(_ nodes: [UInt64], _ scratch: AlignedBuffer) {
        var pending = nodes
        // Each attempt may wake further nodes; a node in the list twice finds nobody the second time.
        while let node = pending.popLast() {
            wakes.add(1, ordering: .sequentiallyConsistent)
            for taken in parked.withLock({ $0.takeAll(node) }) { pending += attempt(taken, scratch) }
            for watch in parked.withLock({ $0.watches(node) }) { notify(watch) }
        }
    }

    private func notify(_ watch: ParkedCalls.Watch) {
        var context = CallContext(watch.taken.request, channel: watch.taken.server.number)
        let request = watch.taken.request
        let ready: UInt32
        do throws(Errno) {
            ready = try exclusively { () throws(Errno) in
                try scheme.poll(
                    request.entry.node, handle: request.entry.handle, events: watch.events, &context)
            }
        } catch {
            ready = PollEvents.error
        }
        guard ready != 0 else { return }
        parked.withLock { $0.unwatch(watch) }
        watch.taken.server.post(
            EventEntry(.ready, flags: ready, node: request.entry.node, handle: request.entry.handle))
    }

    private func cancel(_ request: IncomingRequest, _ server: ChannelServer) {
        let target = parked.withLock {
            $0.cancel(server, tag: request.arguments.word0, generation: request.arguments.word1)
        }
        if let target {
            server.complete(target.request, result: interruption(target))
        }
        server.complete(request, result: target == nil ? 0 : 1)
        // The others may have waited for the one that is gone.
        if let target { retry([target.request.entry.node], AlignedBuffer(byteCount: CallNames.scratchBytes)) }
    }

    /// What a cancelled call gets: what it had done, or EINTR.
    private func interruption(_ taken: Taken) -> Int64 {
        let id = UInt64(taken.request.tag) | UInt64(taken.request.entry.generation) << 32
        let node = taken.request.entry.node
        let done = try? administer { $0.cancelled(requestID: id, channel: taken.server.number, node: node) }
        return (done ?? nil) ?? -Int64(Errno.interrupted.rawValue)
    }

    // MARK: Handing over

    /// Offers a handle of the last incarnation to the scheme, or keeps it for when the replay has made its node.
    func adopt(_ adoption: Adoption, _ context: inout CallContext) throws(Errno) {
        // Opened later: what has the node's number at the moment may be another file.
        guard order.lastPosted >= adoption.openedAfter else { return adoptions.withLock { $0.append(adoption) } }
        do throws(Errno) {
            try scheme.adopt(
                adoption.node, generation: adoption.generation, handle: adoption.handle, flags: adoption.flags, &context
            )
        } catch .noSuchFileOrDirectory {
            adoptions.withLock { $0.append(adoption) }
        } catch .staleNFSFileHandle {
            adoptions.withLock { $0.append(adoption) }
        }
    }

    private func finishReplay(_ request: IncomingRequest) {
        let waiting = adoptions.withLock { list in
            defer { list = [] }
            return list
        }
        for adoption in waiting {
            var context = CallContext(request, channel: 0)
            // What fails again is kept again; other errors mean that the handle is lost, and its use tells so (EBADF).
            try? adopt(adoption, &context)
        }
    }

    /// The replay is over: what was opened behind a change that nobody was told of is open now. What isn't there any more is lost,
    /// and its use tells so (EBADF).
    func adoptTheRest(_ request: IncomingRequest) {
        let waiting = adoptions.withLock { list in
            defer { list = [] }
            return list
        }
        for adoption in waiting {
            var context = CallContext(request, channel: 0)
            try? scheme.adopt(
                adoption.node, generation: adoption.generation, handle: adoption.handle, flags: adoption.flags, &context
            )
        }
    }
}

/// Calls that wait, and who watches, by node.
struct ParkedCalls {
    struct Watch: Sendable {
        let taken: Dispatcher.Taken
        let events: UInt32
    }
    private var calls: [UInt64: [Dispatcher.Taken]] = [:]
    private var watchers: [UInt64: [Watch]] = [:]

    /// Cancels that found nothing: their target may be on another thread, about to wait. The last few; too late is no harm.
    private var early: [(server: ObjectIdentifier, tag: UInt64, generation: UInt64)] = []
    private static let earlyCount = 16

    /// False if the call was cancelled before it could wait.
    mutating func park(_ taken: Dispatcher.Taken) -> Bool {
        let server = ObjectIdentifier(taken.server)
        let isCancelled = early.contains {
            $0.server == server && $0.tag == UInt64(taken.request.tag)
                && $0.generation == UInt64(taken.request.entry.generation)
        }
        if !isCancelled { calls[taken.request.entry.node, default: []].append(taken) }
        return !isCancelled
    }

    /// The waiting call, which doesn't wait any more; nil if there is none yet, or it is answered.
    mutating func cancel(_ server: ChannelServer, tag: UInt64, generation: UInt64) -> Dispatcher.Taken? {
        let found = take {
            $0.server === server && UInt64($0.request.tag) == tag && UInt64($0.request.entry.generation) == generation
        }
        if found == nil {
            if early.count == Self.earlyCount { early.removeFirst() }
            early.append((ObjectIdentifier(server), tag, generation))
        }
        return found
    }

    mutating func takeAll(_ node: UInt64) -> [Dispatcher.Taken] { calls.removeValue(forKey: node) ?? [] }

    mutating func take(_ isWanted: (Dispatcher.Taken) -> Bool) -> Dispatcher.Taken? {
        for (node, list) in calls {
            guard let index = list.firstIndex(where: isWanted) else { continue }
            return calls[node]?.remove(at: index)
        }
        return nil
    }

    mutating func watch(_ taken: Dispatcher.Taken, events: UInt32) {
        let node = taken.request.entry.node
        var list = watchers[node] ?? []
        list.removeAll {
            $0.taken.request.entry.handle == taken.request.entry.handle && $0.taken.server === taken.server
        }
        list.append(Watch(taken: taken, events: events))
        watchers[node] = list
    }

    func watches(_ node: UInt64) -> [Watch] { watchers[node] ?? [] }

    mutating func unwatch(_ watch: Watch) {
        let node = watch.taken.request.entry.node
        watchers[node]?.removeAll {
            $0.taken.request.entry.handle == watch.taken.request.entry.handle && $0.taken.server === watch.taken.server
        }
        if watchers[node]?.isEmpty ?? false { watchers[node] = nil }
    }

    mutating func forget(_ isGone: (Dispatcher.Taken) -> Bool) {
        calls = calls.mapValues { $0.filter { !isGone($0) } }.filter { !$0.value.isEmpty }
        watchers = watchers.mapValues { $0.filter { !isGone($0.taken) } }.filter { !$0.value.isEmpty }
    }
}
