import Platform
import SchemeKit

/// What epoll is asked and tells.
typealias SocketEvents = Platform.PollEvents
/// What who polls is told.
typealias PollEvents = SchemeKit.PollEvents

/// A handle: its number is only unique within its channel.
struct HandleKey: Hashable {
    let channel: UInt32
    let handle: UInt64

    init(channel: UInt32, handle: UInt64) {
        self.channel = channel
        self.handle = handle
    }

    init(_ context: CallContext, _ handle: UInt64) {
        channel = context.channel
        self.handle = handle
    }
}

/// States of a TCP socket, as the kernel numbers them.
enum TCPState {
    static let finWait1: UInt32 = 4
    static let finWait2: UInt32 = 5
    static let timeWait: UInt32 = 6
    static let closed: UInt32 = 7
    static let closeWait: UInt32 = 8
    static let lastAcknowledgement: UInt32 = 9
    static let closing: UInt32 = 11
    /// Those in which the other side's end has come.
    static let withEnd = [timeWait, closeWait, lastAcknowledgement, closing]
    /// Those in which our own end was sent.
    static let withOwnEnd = [finWait1, finWait2, timeWait, lastAcknowledgement, closing]
}

/// A request that waits for a caller.
struct Waiter: Hashable {
    let request: UInt64
    let channel: UInt32
    let node: UInt64
}

/// What this incarnation knows of a connection besides what lies in memory. Guarded by the scheme's lock.
final class Connection {
    let slot: Int
    let serial: UInt64
    let kind: ConnectionKind
    var descriptor: SharedDescriptor?
    /// Nodes whose calls may wait for it.
    var nodes: Set<UInt64> = []
    /// Handles of a numbered connection; without any it ends.
    var handles: Set<HandleKey> = []
    /// What is asked of epoll.
    var armed: SocketEvents = []
    var isWatched = false

    // Connecting.
    /// Sockets that are connecting, by the number of the attempt.
    var candidates: [UInt64: SharedDescriptor] = [:]
    var addresses: [SocketAddress] = []
    var isResolving = false
    /// This incarnation has begun, or gone on, to connect.
    var hasBegun = false
    var attemptCount: UInt64 = 0
    /// Which wish to connect this is: what the resolver finds out for an earlier one is for nobody.
    var wish: UInt64 = 0
    /// When the next attempt begins, if none has succeeded.
    var nextAttemptAt: UInt64?
    var lastError = Errno.connectionRefused

    /// The session of a `tls` connection.
    var session: TLSSession?
    /// Its handle is closed; the end of the session is still to be sent.
    var isLingering = false
    /// How often something was thrown away that came meanwhile.
    var lingerRounds = 0

    // Echoes.
    var echo = EchoState()

    // Transfer.
    /// A read is between its look at the receive queue and the removal of what it answered.
    var isAnswering = false
    var answerCount = 0
    /// Whether the counts below are right: after a death they are taken from the kernel.
    var isSettled = false
    /// Bytes of the stream taken out of the receive queue.
    var consumed: UInt64 = 0
    /// Bytes of the stream that the kernel took from us.
    var accepted: UInt64 = 0
    /// The write that has sent a part.
    var writer: NetworkMemory.WriteMark?
    /// Another write waits for that one.
    var isWriterAwaited = false

    // Listening.
    /// Callers that nobody has opened yet.
    var pending: [(name: SocketName, descriptor: SharedDescriptor)] = []
    var waiters: [Waiter] = []
    var isAccepting = false
    /// Callers with lower numbers were asked for by an earlier listening.
    var firstCaller: UInt64 = 0
    /// Why the last caller couldn't be taken.
    var acceptFailure: Errno?

    /// Bytes of a write that the kernel took.
    func sent(of write: NetworkMemory.WriteMark) -> UInt64 {
        accepted > write.position ? accepted - write.position : 0
    }

    init(slot: Int, serial: UInt64, kind: ConnectionKind) {
        self.slot = slot
        self.serial = serial
        self.kind = kind
    }
}
