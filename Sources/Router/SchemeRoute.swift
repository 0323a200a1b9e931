import Platform
import SchemeProtocol
import SchemeTransport
import Synchronization
import SystemPackage

/// What a router is told of a scheme when its channel arrives.
public struct SchemeDescription: Sendable {
    /// The directory under which it appears, and Redox's name.
    public var name: String
    /// The channel's number with the supervisor.
    public var channel: UInt32
    /// The server's number of the scheme's root.
    public var rootNode: UInt64
    /// The server tells of events by itself: somebody must always listen.
    public var hasEvents: Bool
    /// What there is comes and goes without the doing of this mount: a name that isn't there may be there the next time, and an answer
    /// ENOENT may be what the request came to, a host that isn't known.
    public var changesByItself: Bool { hasEvents }

    /// A scheme.
    public init(name: String, channel: UInt32, rootNode: UInt64 = 1, hasEvents: Bool = false) {
        self.name = name
        self.channel = channel
        self.rootNode = rootNode
        self.hasEvents = hasEvents
    }
}

/// Faults that tests put in, to see that what they test would be noticed without its remedy.
public struct RouterFaults: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt32
    /// Faults of bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Changes that a dead server had not committed are not repeated.
    public static let noLog = RouterFaults(rawValue: 1)
    /// Answers that a dead router may not have passed on are forgotten: resent requests are carried out again.
    public static let noReplyCache = RouterFaults(rawValue: 2)
}

/// A request whose caller may wait for long, and gives up when he gets a signal.
struct BlockingRequest {
    /// By which the server knows it; nil as long as there is no room for it.
    var identity: (tag: UInt32, generation: UInt32)?
    /// The caller got a signal before the server had it.
    var isInterrupted = false
}

/// Whether a commit was asked for that nobody waits for.
final class CommitGate: Sendable {
    let isPending = Atomic<Bool>(false)
}

/// Whether a server's events are still listened to.
private final class Hearing: Sendable {
    let hasEnded = Atomic<Bool>(false)
}

/// The way to one scheme: the channel to its server, what is open there, and what has become of the server.
///
/// Any number of threads ask at once (`perform`). Another thread, one at a time, replaces the server (`recover`).
public final class SchemeRoute: Sendable {
    /// Whether the scheme answers.
    enum Availability: Int, AtomicRepresentable {
        /// A server is there, or will be: requests wait for it.
        case available
        /// The supervisor has given up: ENODEV at once.
        case offline
    }

    /// The place in the registry: part of the node numbers that the kernel sees.
    public let index: Int
    /// What the supervisor told.
    public let description: SchemeDescription
    let client: ChannelClient
    let exchange: Exchange
    let handles: HandleTable
    let availability = Atomic<Availability>(.available)
    /// The incarnation that recovery is for: a newer one ends it.
    let incarnation = Atomic<UInt32>(0)
    /// How much what the dead server had in hand is to blame for its death; the most if it isn't known.
    let blame = Atomic<UInt32>(SchemeRoute.guilt)
    let faults: RouterFaults
    let points: CrashPoints?
    /// A commit was asked for to make room and isn't done yet.
    let isCommitting = CommitGate()
    /// Requests of a dead router that the kernel may hand out again: unique number to record.
    let orphans: Orphans
    /// What need not be asked again.
    private let memory: Locked<AnswerMemory>
    /// What recoveries did.
    public let timeline = RecoveryLog()
    private let hearing = Hearing()
    /// Requests that may wait for long, by unique number: what an interrupt looks for.
    let blocking = Locked<[UInt64: BlockingRequest]>([:])
    /// When the files that are kept open were seen first, by handle; the largest time for those that are being closed.
    let keptSince = Locked<[UInt64: UInt64]>([:])

    /// A route over a channel.
    ///
    /// - Parameters:
    ///   - isAdopted: the channel was a dead router's: its requests are looked for.
    ///   - trace: gets the requests that are completed, while somebody traces.
    ///   - willBlock: as with `Router`.
    ///   - onEvent: gets the server's events.
    public init(
        index: Int, _ description: SchemeDescription, _ client: ChannelClient, isAdopted: Bool,
        faults: RouterFaults = [], trace: TraceRing? = nil, points: CrashPoints? = nil,
        willBlock: @escaping @Sendable (Bool) -> Bool,
        onEvent: @escaping @Sendable (EventEntry) -> Void
    ) {
        self.index = index
        self.description = description
        self.client = client
        self.faults = faults
        self.points = points
        memory = Locked(AnswerMemory(isOpen: !isAdopted))
        handles = HandleTable(client)
        let orphans = Orphans(client, isAdopted: isAdopted, faults)
        self.orphans = orphans
        let gate = isCommitting
        let channel = description.channel
        let handles = handles
        exchange = Exchange(client, willBlock: willBlock, onEvent: onEvent) { completion in
            if let trace, trace.isActive { client.trace(completion, channel: channel, into: trace) }
            if completion.isReplay { return }
            if HandleTable.isAbout(completion.opcode), let record = client.record(tag: completion.tag) {
                handles.note(record)
            }
            points?.reached(.delivered)
        } isAwaited: { completion in
            if completion.opcode == .commit { gate.isPending.store(false, ordering: .relaxed) }
            return orphans.isAwaited(completion)
        }
        if isAdopted { finishOpening() }
        if description.hasEvents { listen() }
    }

    /// A server that tells of events is always listened to, by a thread of its own.
    private func listen() {
        do {
            try spawnThread(name: "events", stackSize: 256 << 10) { [hearing, exchange, handles] in
                let waiter = Waiter()
                while !hearing.hasEnded.load(ordering: .relaxed) {
                    exchange.listen(waiter) { handles.isPolled }
                }
            }
        } catch {
            // Without the thread events come with the next answer.
        }
    }

    deinit { end() }

    /// Ends the listening.
    public func end() {
        hearing.hasEnded.store(true, ordering: .relaxed)
        client.wakeDrainer()
    }

    /// What a dead router got an answer for and had no time to write down: files that were opened and closed.
    private func finishOpening() {
        var mentioned: Set<UInt64> = []
        client.records { record in
            guard let opcode = record.opcode, HandleTable.isAbout(opcode) else { return }
            if record.state == .completed { handles.note(record) }
            mentioned.insert(record.entry.handle)
        }
        handles.dropUnfinished(except: mentioned)
    }

    /// A number for a file that is going to be opened. ENFILE if too many are open.
    public func reserveHandle(node: UInt64, flags: UInt32) throws(Errno) -> UInt64 {
        if let handle = handles.reserve(node: node, flags: flags) { return handle }
        handles.collect(committed: client.server.committedSequence)
        guard let handle = handles.reserve(node: node, flags: flags) else { throw .tooManyOpenFilesInSystem }
        return handle
    }

    /// The file was not opened.
    public func didNotOpen(_ handle: UInt64) { handles.free(handle) }

    /// The flags of open(2) that a file was opened with; nil if it isn't open.
    public func openFlags(_ handle: UInt64) -> UInt32? { handles.flags(handle) }

    /// The kernel's number to wake those who poll an open file with.
    public func setWakeHandle(_ number: UInt64, handle: UInt64) { handles.setWakeHandle(number, handle) }

    /// The number of `setWakeHandle`, 0 if nobody polls.
    public func wakeHandle(_ handle: UInt64) -> UInt64 { handles.wakeHandle(handle) }

    /// All open files that somebody polls: a new router can't know what happened to them meanwhile.
    public var wakeHandles: [UInt64] { handles.records().map(\.wakeHandle).filter { $0 != 0 } }

    // MARK: What is known

    /// A directory's attributes, if an earlier answer said them.
    public func knownAttributes(_ node: UInt64) -> NodeAttributes? { memory.withLock { $0.attributes(node) } }

    /// Whether an earlier answer said that the node is gone.
    public func isKnownGone(_ node: UInt64) -> Bool { memory.withLock { $0.isGone(node) } }

    /// Whether an earlier answer said that the file has no capabilities.
    public func isKnownIncapable(_ node: UInt64) -> Bool { memory.withLock { $0.hasNoCapability(node) } }

    /// Before the request is submitted.
    func noteSubmission(_ entry: SubmissionEntry, _ arguments: RequestArguments) -> AnswerMemory.Ticket? {
        memory.withLock { $0.begin(entry, arguments) { client.fill.inFlight == 0 } }
    }

    /// When it is answered.
    func noteAnswer(_ ticket: AnswerMemory.Ticket?, _ answer: borrowing Answer) {
        guard let ticket else { return }
        let (reply, value) = (answer.reply, answer.value0)
        memory.withLock { $0.answered(ticket, reply, value0: value) }
    }

    /// When it failed.
    func noteFailure(_ ticket: AnswerMemory.Ticket?, _ error: Errno) {
        guard let ticket else { return }
        memory.withLock { $0.failed(ticket, error) }
    }

    /// What was known needn't be right any more: the server says so, or it is another one.
    public func forgetAnswers() { memory.withLock { $0.forget() } }

    /// Asks the server to end a request early, if it is one that may wait for long.
    public func interrupt(_ unique: UInt64) -> Bool {
        let (isKnown, identity) = blocking.withLock { blocking -> (Bool, (tag: UInt32, generation: UInt32)?) in
            guard let found = blocking[unique] else { return (false, nil) }
            if found.identity == nil { blocking[unique]?.isInterrupted = true }
            return (true, found.identity)
        }
        if let identity { client.cancel(tag: identity.tag, generation: identity.generation) }
        return isKnown
    }

    /// How nodes are numbered for the kernel.
    public var numbers: NodeNumbers { NodeNumbers(index: index, rootNode: description.rootNode) }

    /// The channel, for its memory and its figures.
    public var channel: ChannelClient { client }

    /// Open files.
    public var openFileCount: Int { handles.openCount }
}
