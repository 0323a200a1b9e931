@_exported public import SchemeProtocol
@_exported public import SystemPackage
import SchemeTransport

/// Who calls, when, and what the scheme says about the call beside its result.
public struct CallContext {
    /// The caller's user.
    public let uid: UInt32
    /// The caller's group. Supplementary groups don't come here: the kernel has checked permissions.
    public let gid: UInt32
    /// The caller's process, or 0.
    public let pid: UInt32
    /// The time of the call: what a scheme stamps on what it changes, so that a replay gives the same.
    public let time: WireTime
    /// The same for as long as the request isn't answered, also in the next incarnation; different for every request of a
    /// channel that isn't answered.
    public let requestID: UInt64
    /// The node that the call is about, or 0.
    public let node: UInt64
    /// The call's file flags: `OpenFlags`.
    public let flags: UInt32
    /// The number of the channel that the request came through.
    public let channel: UInt32
    /// The request was acknowledged by an earlier incarnation, and is repeated: `replaySequence` is the number it had.
    public let isReplay: Bool
    /// The request was with an incarnation that died before it answered: it may have begun.
    public let isResubmitted: Bool
    /// The number the request had when it was first applied, in a replay.
    public let replaySequence: UInt64
    /// Set-user-id, set-group-id and file capabilities must be dropped.
    public let killPrivileges: Bool
    /// A page that the kernel reads for its cache or writes back from it, not the caller.
    public let isFromCache: Bool
    /// A write to a disk: to be done when everything written before is on the medium, and answered when this is, too.
    public let isAfterFlush: Bool
    /// A write of several pieces; the offset is their number. Comes only to files that were opened with `scattersWrites`.
    public let isScattered: Bool

    /// Set by a scheme with durable state when the call changed something: the number of the change, taken at the moment when it
    /// was applied. The request is then kept by the client until `SchemeHost.reportCommitted` has reached it.
    public var sequence: UInt64
    /// The number of the first change, if the call made several with numbers that follow one another; 0 if it made one.
    public var firstSequence: UInt64 = 0
    /// Set by an opening that is no change, in a scheme whose changes depend on what is open: the number of the last change that was
    /// applied before. A repetition opens the file there.
    public var openedAfter: UInt64 = 0
    /// What the kernel may do with an opened file: set by open and create.
    public var opened: OpenedFlags = []
    /// Set when a call removed a node for good, name and all: its number. Nobody needs to ask for it any more.
    public var removedNode: UInt64 = 0
    /// `NodeScheme.answered` is to be called when the answer is posted.
    public var tellsWhenAnswered = false
    /// Nodes whose waiting calls should be tried again.
    public private(set) var wokenNodes: [UInt64] = []

    /// Has calls that wait on this node tried again, and its readiness told to who polls, after this call.
    public mutating func wake(_ node: UInt64) { wokenNodes.append(node) }

    private let handleCalls: HandleCalls?
    private var handleCall: UInt64?

    /// Says that this call is about to open or close a handle, in a scheme whose changes depend on what is open.
    ///
    /// To be called right before that is done, when nothing is left that may wait for other calls. Unless the call becomes a
    /// change, it is then told before later changes are.
    public mutating func willChangeHandles() {
        if handleCall == nil { handleCall = handleCalls?.begin() }
    }

    /// Says that the opening or closing goes on as a change, whose number says when it was; from here on the call may wait.
    public mutating func handleChangeIsNumbered() { endHandleCall() }

    /// It is told, or its number says when it was.
    mutating func endHandleCall() {
        if let ticket = handleCall.take() { handleCalls?.end(ticket) }
    }

    init(_ request: IncomingRequest, channel: UInt32, _ handleCalls: HandleCalls? = nil) {
        self.handleCalls = handleCalls
        uid = request.entry.uid
        gid = request.entry.gid
        pid = request.arguments.pid
        node = request.entry.node
        flags = request.arguments.flags
        time = request.time
        requestID = UInt64(request.tag) | UInt64(request.entry.generation) << 32
        self.channel = channel
        isReplay = request.isReplay
        isResubmitted = request.entry.flags.contains(.resubmitted)
        replaySequence = request.isReplay ? request.arguments.sequence : 0
        killPrivileges = request.entry.flags.contains(.killPrivileges)
        isFromCache = request.entry.flags.contains(.fromCache)
        isAfterFlush = request.entry.flags.contains(.afterFlush)
        isScattered = request.entry.flags.contains(.scattered)
        sequence = 0
    }

    /// A context made by hand, for tests of a scheme without a channel.
    public init(
        uid: UInt32 = 0, gid: UInt32 = 0, time: WireTime = WireTime(seconds: 0, nanoseconds: 0), requestID: UInt64 = 0,
        node: UInt64 = 0, flags: UInt32 = 0, isFromCache: Bool = false
    ) {
        self.uid = uid
        self.gid = gid
        pid = 0
        self.node = node
        self.flags = flags
        self.time = time
        self.requestID = requestID
        handleCalls = nil
        channel = 0
        isReplay = false
        isResubmitted = false
        replaySequence = 0
        killPrivileges = false
        isAfterFlush = false
        isScattered = false
        self.isFromCache = isFromCache
        sequence = 0
    }
}
