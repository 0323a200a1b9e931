import Glibc
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// A request to a scheme.
public struct Call: Sendable {
    /// What is asked.
    public var entry: SubmissionEntry
    /// The rest of what is asked.
    public var arguments: RequestArguments
    /// The kernel's number of the request, 0 for one of our own.
    public var unique: UInt64
    /// The kernel handed the request out before.
    public var isResent: Bool
    /// Bytes of payload that will be filled in.
    public var payloadBytes = 0
    /// Bytes of reply that there must be room for.
    public var replyBytes = 0
    /// Important requests find room when changes don't: reads, commits.
    public var isImportant = false

    /// A request without payload.
    public init(
        _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments(), unique: UInt64 = 0,
        isResent: Bool = false
    ) {
        self.entry = entry
        self.arguments = arguments
        self.unique = unique
        self.isResent = isResent
    }
}

/// A server's answer, while its record is held.
public struct Answer: ~Escapable {
    /// What was asked; of a resent request, what was asked the first time.
    public let entry: SubmissionEntry
    /// A count or the like; never negative.
    public let result: Int64
    /// Meaning by opcode.
    public let value0: UInt64
    /// Meaning by opcode.
    public let value1: UInt64
    /// The number of the change, 0 if there was none.
    public let sequence: UInt64
    /// The reply's bytes. The server can change them at any time.
    public let reply: RawSpan

    @_lifetime(copy reply)
    init(entry: SubmissionEntry, result: Int64, value0: UInt64, value1: UInt64, sequence: UInt64, reply: RawSpan) {
        self.entry = entry
        self.result = result
        self.value0 = value0
        self.value1 = value1
        self.sequence = sequence
        self.reply = reply
    }
}

extension SchemeRoute {
    /// Asks the server and waits for the answer, whatever becomes of the server meanwhile.
    ///
    /// The record of a change is kept until `Router.didReply`: a successor of this process finds the answer there.
    ///
    /// - Parameters:
    ///   - fill: writes the payload, of at least `payloadBytes` bytes, and returns how many bytes it has.
    ///   - take: gets the answer; runs with nothing locked.
    /// - Throws: the server's errno; ENODEV if the scheme is offline, EIO if the request killed servers.
    public func perform<Result>(
        _ call: Call, _ fill: (inout MutableRawSpan) -> Int = { _ in 0 },
        _ take: (borrowing Answer) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        let waiter = Waiter.current
        if call.isResent, orphans.count > 0,
            let found = exchange.adopt(waiter, { orphans.take(call.unique) })
        {
            return try attach(call, found.tag, isComplete: found.isComplete, waiter, take)
        }
        let mayBlock = mayBlock(call.entry)
        if mayBlock { blocking.withLock { $0[call.unique] = BlockingRequest() } }
        defer { if mayBlock { blocking.withLock { _ = $0.removeValue(forKey: call.unique) } } }
        var slot = try reserve(call)
        let count: Int
        do {
            let client = client
            var payload = client.payload(slot)
            count = fill(&payload)
        }
        return try submit(&slot, call, payload: 0..<count, waiter, take)
    }

    /// As `perform`, for a payload that already lies in a reserved slot's pages.
    public func performInPlace<Result>(
        _ call: Call, _ slot: consuming RequestSlot, payload: Range<Int>,
        _ take: (borrowing Answer) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        var slot = slot
        client.trim(&slot, toPayloadBytes: payload.upperBound)
        defer { if mayBlock(call.entry) { blocking.withLock { _ = $0.removeValue(forKey: call.unique) } } }
        return try submit(&slot, call, payload: payload, Waiter.current, take)
    }

    /// Asks the server for something whose answer nobody waits for; a server that sleeps isn't woken for it (`wakeServer`).
    ///
    /// While the server is away it is waited for, as with `perform`.
    ///
    /// - Throws: ENODEV if the scheme is offline, and the server's errno if it was waited for.
    public func post(_ call: Call) throws(Errno) {
        var slot = try reserve(call)
        if client.submit(slot, call.entry, call.arguments, cookie: call.unique, quietly: true) {
            boundLog()
            return
        }
        try submit(&slot, call, payload: 0..<0, Waiter.current) { _ in }
    }

    /// Wakes the server if it sleeps although something was posted.
    public func wakeServer() { client.wakeServer() }

    /// Whether a resent request is known here.
    public func knows(_ unique: UInt64) -> Bool { orphans.count > 0 && orphans.contains(unique) }

    private func submit<Result>(
        _ slot: inout RequestSlot, _ call: Call, payload: Range<Int>, _ waiter: Waiter,
        _ take: (borrowing Answer) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        var entry = call.entry
        entry.length = UInt32(call.replyBytes)
        let mayBlock = mayBlock(entry)
        if mayBlock, noteBlocking(call.unique, slot.tag, slot.generation) {
            client.abandon(slot)
            throw .interrupted
        }
        let ticket = noteSubmission(entry, call.arguments)
        exchange.expect(slot.tag, waiter)
        client.submit(slot, entry, call.arguments, payload: payload, cookie: call.unique)
        // The supervisor gave up between the look at the scheme and now: nobody else will end this request.
        if availability.load(ordering: .sequentiallyConsistent) == .offline { failHeld() }
        var isGivenUp = false
        let completion = exchange.wait(waiter) {
            guard mayBlock else { return }
            isGivenUp = true
            _ = interrupt(call.unique)
        }
        if let code = completion.errno {
            let errno = Errno(rawValue: code)
            noteFailure(ticket, errno)
            keepUntilReplied(completion.tag, completion.opcode, waiter)
            // Nobody sent the caller a signal: there is no thread to wait with its request.
            throw isGivenUp && errno == .interrupted ? .resourceTemporarilyUnavailable : errno
        }
        let client = client
        let answer = Answer(
            entry: entry, result: completion.result, value0: completion.value0, value1: completion.value1,
            sequence: completion.sequence, reply: client.reply(completion))
        defer { keepUntilReplied(completion.tag, completion.opcode, waiter) }
        noteAnswer(ticket, answer)
        if completion.sequence != 0 { boundLog() }
        return try take(answer)
    }

    /// Whether the caller may wait as long as he likes, and gives up when he gets a signal.
    private func mayBlock(_ entry: SubmissionEntry) -> Bool {
        description.hasEvents && (Opcode(rawValue: entry.opcode)?.properties.mayBlock ?? false)
    }

    /// Says by what the server will know a request that may wait. Whether its caller has given up already.
    private func noteBlocking(_ unique: UInt64, _ tag: UInt32, _ generation: UInt32) -> Bool {
        blocking.withLock { blocking in
            var request = blocking[unique] ?? BlockingRequest()
            request.identity = (tag, generation)
            blocking[unique] = request
            return request.isInterrupted
        }
    }

    /// Waits for the answer to a request of a dead router, or takes it if it is there.
    private func attach<Result>(
        _ call: Call, _ tag: UInt32, isComplete: Bool, _ waiter: Waiter,
        _ take: (borrowing Answer) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        let client = client
        if !isComplete {
            if let found = client.record(tag: tag), mayBlock(found.entry) {
                _ = noteBlocking(call.unique, tag, found.entry.generation)
            }
            defer { blocking.withLock { _ = $0.removeValue(forKey: call.unique) } }
            _ = exchange.wait(waiter) { _ = interrupt(call.unique) }
        }
        guard let record = client.record(tag: tag), let opcode = record.opcode else { throw .ioError }
        defer { keepUntilReplied(tag, opcode, waiter) }
        if record.result < 0 { throw Errno(rawValue: Int32(truncatingIfNeeded: -record.result)) }
        let answer = Answer(
            entry: record.entry, result: record.result, value0: record.value0, value1: record.value1,
            sequence: record.sequence, reply: client.reply(of: record))
        return try take(answer)
    }

    /// A change's record is the memory of its reply until the kernel has that.
    private func keepUntilReplied(_ tag: UInt32, _ opcode: Opcode, _ waiter: Waiter) {
        if opcode.isLogged, !faults.contains(.noReplyCache) {
            if let last = waiter.unreplied { last.client.release(tag: last.tag) }
            waiter.unreplied = (client, tag)
        } else {
            client.release(tag: tag)
        }
    }

    /// A record with room; waits for it if changes that aren't committed take it all, or callers who wait.
    func reserve(_ call: Call) throws(Errno) -> RequestSlot {
        // Where callers wait for each other, those who end others' waits find room when those who wait don't.
        let waits = mayBlock(call.entry) && call.entry.opcode != Opcode.write.rawValue
        let isImportant = description.hasEvents ? !waits : call.isImportant
        while true {
            guard availability.load(ordering: .relaxed) == .available else { throw Errno(rawValue: ENODEV) }
            if let slot = client.reserve(
                payloadBytes: call.payloadBytes, replyBytes: call.replyBytes, important: isImportant)
            {
                return slot
            }
            guard description.hasEvents else {
                commit()
                continue
            }
            // Nothing there is to be committed: there is room when a caller has his answer, or gives up.
            if blocking.withLock({ $0[call.unique]?.isInterrupted ?? false }) { throw .interrupted }
            guard exchange.willBlock(true) else { throw .resourceTemporarilyUnavailable }
            pauseThread(nanoseconds: Self.crowdedPause)
        }
    }

    /// How many bytes to ask for in a read of so many. Where callers wait, each with room for its answer, that gets scarce: then each
    /// gets little, as a stream may give less than was asked for.
    public func room(for byteCount: Int) -> Int {
        description.hasEvents && client.isReplyRoomScarce ? min(byteCount, Self.scarceBytes) : byteCount
    }

    private static let scarceBytes = 4096

    /// How often to look for room that callers who wait have taken.
    private static let crowdedPause = 20_000_000

    /// Keeps the log short of what the channel can hold.
    private func boundLog() {
        guard client.logPressure > 0.4, !isCommitting.isPending.exchange(true, ordering: .relaxed) else { return }
        requestCommit()
    }
}

extension SchemeRoute {
    /// Has the server make everything durable without waiting: when it is done its record is freed, and the log shrinks by itself.
    func requestCommit() {
        guard let slot = client.reserve(important: true) else {
            return isCommitting.isPending.store(false, ordering: .relaxed)
        }
        client.submit(slot, SubmissionEntry(.commit))
    }

    /// Has the server make everything durable, and waits for it.
    public func commit() {
        let waiter = Waiter()
        guard availability.load(ordering: .relaxed) == .available else { return }
        guard let slot = client.reserve(important: true) else {
            // All records are in use: one will be completed soon.
            _ = exchange.willBlock(true)
            pauseThread(nanoseconds: 200_000)
            return
        }
        exchange.expect(slot.tag, waiter)
        client.submit(slot, SubmissionEntry(.commit))
        client.release(exchange.wait(waiter))
    }
}
