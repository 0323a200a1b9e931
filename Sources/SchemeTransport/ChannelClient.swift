import Platform
import SchemeProtocol
import Synchronization
import SystemPackage

/// The client's side of a channel: it writes requests, the server answers them.
///
/// A request goes through these calls, from any thread:
///
///     reserve -> (payload, setReply, trim) -> submit -> ... drain gives its Completion ... -> reply -> release
///
/// Rules:
/// - Any number of threads reserve, submit and release at once: a lock around a few dozen instructions (the bitmap, the free
///   list, the ring's tail). A slot belongs to who reserved it until it is submitted.
/// - One thread at a time drains, the others find the lock taken. The body of `drain` may reserve, submit and release,
///   but not drain.
/// - A completed request keeps its record until `release`; until then it can be found by a successor (`records`).
/// - A request whose completion carries a sequence number keeps record and payload after `release`, until the server's committed
///   sequence number has reached it: the log. `logPressure` says how full the channel is of it.
/// - The memory outlives the process: `init(adopting:)` goes on where a dead client was.
public final class ChannelClient: @unchecked Sendable {
    /// Where everything lies.
    public let layout: ChannelLayout
    /// The memory that we alone write.
    let request: SharedMapping
    /// The memory that the server writes.
    let reply: SharedMapping
    /// The descriptor of the request memory: sealed, safe to hand to the server.
    public let requestDescriptor: SharedDescriptor
    /// The descriptor of the reply memory.
    public let replyDescriptor: SharedDescriptor
    /// What the server polls, if it polls.
    public let serverBell: SharedDescriptor?
    /// What we poll, if we poll.
    public let clientBell: SharedDescriptor?

    let submission: Locked<SubmissionSide>
    let completion: Locked<CompletionSide>
    let violationCounts = Locked(ProtocolViolations())
    /// Completions that the client gives itself, without the server.
    let local = Locked<[(tag: UInt32, errno: Int32)]>([])
    /// Counts when a thread begins a sleep in `waitAndDrain` and when it ends it: odd while one sleeps, or is about to.
    let sleeps = Atomic<UInt64>(0)
    /// Such a thread was asked to come back.
    let isWoken = Atomic(false)

    /// Sets up a new channel: makes both memories, maps them, and seals the request memory so that nobody else ever writes it.
    ///
    /// - Parameters:
    ///   - bells: with event descriptors, for sides that wait in poll.
    public init(
        _ geometry: ChannelGeometry, name: String, bells: Bool = false
    ) throws(ChannelError) {
        let layout = ChannelLayout(geometry)
        let requestFile = try system("memfd_create") { () throws(Errno) in
            SharedDescriptor(try SharedMemory.create(name: "\(name)-request", byteCount: layout.requestMemoryBytes))
        }
        let replyFile = try system("memfd_create") { () throws(Errno) in
            SharedDescriptor(try SharedMemory.create(name: "\(name)-reply", byteCount: layout.replyMemoryBytes))
        }
        // Written once through a mapping of its own: ours for the channel's life is read-only, what is in there is the server's.
        let replyHeader = try system("mmap") { () throws(Errno) in
            try SharedMapping(replyFile.rawValue, byteCount: layout.replyMemoryBytes, writable: true)
        }
        ChannelHeader.write(replyHeader, magic: ChannelLayout.replyMagic, geometry)
        let request = try system("mmap") { () throws(Errno) in
            try SharedMapping(requestFile.rawValue, byteCount: layout.requestMemoryBytes, writable: true)
        }
        ChannelHeader.write(request, magic: ChannelLayout.requestMagic, geometry)
        request.store32(ChannelLayout.memoryGenerationOffset, 1)
        try ChannelHeader.seal(requestFile)
        let serverBell = bells ? try ChannelHeader.makeBell() : nil
        let clientBell = bells ? try ChannelHeader.makeBell() : nil
        let reply = try system("mmap") { () throws(Errno) in
            try SharedMapping(replyFile.rawValue, byteCount: layout.replyMemoryBytes, writable: false)
        }
        self.layout = layout
        self.request = request
        self.reply = reply
        requestDescriptor = requestFile
        replyDescriptor = replyFile
        self.serverBell = serverBell
        self.clientBell = clientBell
        submission = Locked(SubmissionSide(layout, request, reply, serverBell))
        completion = Locked(CompletionSide(request, reply))
        submission.withLock { $0.free = (0..<UInt32(geometry.recordCount)).reversed() }
        SharedMapping.fence()
    }

    /// Goes on with the channel of a client that is dead, from its memories alone.
    ///
    /// A sealed memory can't be mapped for writing again, so what is alive in it is copied, at the same offsets, into a new one.
    /// The server must then be told to go on with the new one (`ControlKind.replaceRequestMemory`): until then it
    /// sees no new request, and goes on with what it has.
    ///
    /// - Parameters:
    ///   - oldRequest: the request memory of the dead client; the client must be wholly dead.
    public init(
        adopting oldRequest: SharedDescriptor, reply replyFile: SharedDescriptor, geometry: ChannelGeometry,
        name: String, serverBell: SharedDescriptor? = nil, clientBell: SharedDescriptor? = nil
    ) throws(ChannelError) {
        let layout = ChannelLayout(geometry)
        try ChannelHeader.verify(oldRequest, layout.requestMemoryBytes)
        try ChannelHeader.verify(replyFile, layout.replyMemoryBytes)
        let old = try system("mmap") { () throws(Errno) in
            try SharedMapping(oldRequest.rawValue, byteCount: layout.requestMemoryBytes, writable: false)
        }
        let newFile = try system("memfd_create") { () throws(Errno) in
            SharedDescriptor(try SharedMemory.create(name: "\(name)-request", byteCount: layout.requestMemoryBytes))
        }
        let request = try system("mmap") { () throws(Errno) in
            try SharedMapping(newFile.rawValue, byteCount: layout.requestMemoryBytes, writable: true)
        }
        let reply = try system("mmap") { () throws(Errno) in
            try SharedMapping(replyFile.rawValue, byteCount: layout.replyMemoryBytes, writable: false)
        }
        var side = SubmissionSide(layout, request, reply, serverBell)
        try RequestMemoryCopy.copyLive(
            from: old, descriptor: oldRequest, to: request, newDescriptor: newFile, layout, &side)
        try ChannelHeader.seal(newFile)
        self.layout = layout
        self.request = request
        self.reply = reply
        requestDescriptor = newFile
        replyDescriptor = replyFile
        self.serverBell = serverBell
        self.clientBell = clientBell
        submission = Locked(side)
        completion = Locked(CompletionSide(request, reply))
        Sleeper(
            own: request, stateOffset: ChannelLayout.clientStateOffset, peer: reply,
            tailOffset: ChannelLayout.completionTailOffset
        ).awake()
        submission.withLock { $0.ringer.ringAlways() }
        skipRecorded()
    }

    /// The dead client may have recorded a completion, the last thing it did, and not passed over it in the ring.
    private func skipRecorded() {
        completion.withLock { side in
            let tail = reply.load32Acquiring(ChannelLayout.completionTailOffset)
            guard tail != side.head else { return }
            let place = Int(side.head) & (layout.geometry.recordCount - 1)
            guard
                let index = Untrusted(reply.load32(layout.completionRing + 4 * place)).index(
                    below: layout.geometry.recordCount)
            else { return }
            let answer = CopiedWords<8>(reply, layout.replyRecords + index * ProtocolLimits.replyRecordBytes)
            let flags = request.load32(
                layout.requestRecords + index * ProtocolLimits.requestRecordBytes + Bookkeeping.flags)
            guard flags & Bookkeeping.replaying == 0, let record = RequestRecord(request, layout, tag: index),
                record.state == .completed || record.state == .retained,
                CompletionEntry(decoding: answer.bytes)?.generation == record.entry.generation
            else { return }
            side.head &+= 1
            request.store32Releasing(ChannelLayout.completionHeadOffset, side.head)
        }
    }

    /// The client area: bytes whose meaning is the user's, that outlive it like the records do.
    @_lifetime(borrow self)
    public func clientArea(_ offset: Int, count: Int) -> MutableRawSpan {
        precondition(offset >= 0 && count >= 0 && offset + count <= layout.geometry.clientAreaBytes)
        return request.mutableBytes(layout.clientArea + offset, count: count, heldBy: self)
    }

    /// Keeps both memories resident, so that a killed process can't leave a system call with a page fault unfinished.
    public func lockInMemory() throws(ChannelError) {
        try system("mlock") { () throws(Errno) in
            try request.lockInMemory()
            try reply.lockInMemory()
        }
    }
}

/// The parts of setting up that client and server share.
enum ChannelHeader {
    static func write(_ memory: SharedMapping, magic: UInt64, _ geometry: ChannelGeometry) {
        memory.store64(0, magic)
        memory.store32(ChannelLayout.versionOffset, ProtocolLimits.version)
        var bytes = memory.mutableBytes(ChannelLayout.geometryOffset, count: ChannelGeometry.byteCount)
        geometry.encode(into: &bytes)
    }

    /// Forbids new writable mappings: ours stays.
    static func seal(_ descriptor: SharedDescriptor) throws(ChannelError) {
        try system("fcntl F_ADD_SEALS") { () throws(Errno) in
            try SharedMemory.addSeals(descriptor.rawValue, [.futureWrite, .seal])
        }
    }

    /// Size and seals of a memory that came from another process.
    static func verify(
        _ descriptor: SharedDescriptor, _ byteCount: Int, required: SharedMemory.Seals = []
    ) throws(ChannelError) {
        do throws(Errno) {
            try SharedMemory.verify(descriptor.rawValue, byteCount: byteCount, required: required)
        } catch .invalidArgument {
            throw .memory("not a sealed memory file of \(byteCount) bytes")
        } catch {
            throw .system(error, call: "fcntl F_GET_SEALS")
        }
    }

    /// Magic, version and geometry in the memory itself: against mix-ups, not against malice.
    static func check(_ memory: SharedMapping, magic: UInt64, _ geometry: ChannelGeometry) throws(ChannelError) {
        guard memory.load64(0) == magic else { throw .memory("wrong magic") }
        let version = memory.load32(ChannelLayout.versionOffset)
        guard version == ProtocolLimits.version else { throw .memory("version \(version)") }
        let words = CopiedWords<4>(memory, ChannelLayout.geometryOffset)
        guard ChannelGeometry(decoding: words.bytes) == geometry else { throw .memory("another geometry") }
    }

    static func makeBell() throws(ChannelError) -> SharedDescriptor {
        try system("eventfd") { () throws(Errno) in SharedDescriptor(try SystemCall.eventDescriptor()) }
    }
}
