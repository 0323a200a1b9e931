import Platform
import Router
import SchemeProtocol
import SchemeTransport
import Synchronization
import SystemPackage

/// Carries out the kernel's requests by asking the schemes: each request becomes one request of the scheme protocol.
///
/// Beside the schemes there are the mount's root, unless a scheme is mounted as root, with a directory for each scheme; and `sys`.
public final class RouterBackend: FuseBackend {
    /// Where a node lies.
    enum Target {
        /// The list of schemes.
        case root
        /// What the router tells of itself.
        case system(SystemTree.Node)
        /// A server's node.
        case scheme(SchemeRoute, UInt64)
    }

    let router: Router
    let system: SystemTree
    let snapshots: SystemSnapshots
    /// The scheme that the last large write went to: the next request is read into its channel.
    let predicted = Atomic<Int>(-1)
    let lentCount = Atomic<Int>(0)
    /// A scheme that something was posted to, whose server may be asleep.
    let postponed = Atomic<Int>(-1)
    /// When, in monotonic nanoseconds.
    let postponedAt = Atomic<UInt64>(0)
    /// How long that may be put off while there is other work, in nanoseconds.
    private static let postponement: UInt64 = 1_000_000
    let notifications = KernelNotifications()
    let full = FullFiles()
    let staleCallers = StaleCallers()

    /// Receive buffers that are lent out at once, at most: the rest of the channel's memory is for what is in flight.
    static let lentLimit = 8

    /// A backend over a router's schemes.
    public init(_ router: Router) {
        self.router = router
        system = SystemTree(router)
        snapshots = SystemSnapshots(incarnation: router.options.incarnation)
        router.onEvent { [notifications] route, event in notifications.pass(event, of: route) }
    }

    /// Events of the servers are told to this session's kernel from now on.
    public func attach(_ session: FuseSession) {
        notifications.notifier.withLock { $0 = session.notifier }
        // Whoever polled a file when the last router died looks again.
        for route in router.routes {
            for number in route.wakeHandles { session.notifier.poll(wakeHandle: number) }
        }
    }

    /// Where the kernel's node lies. ESTALE if its scheme is gone.
    func target(_ node: UInt64) throws(Errno) -> Target {
        let index = NodeNumbers.index(of: node)
        if index == NodeNumbers.systemIndex {
            guard let found = SystemTree.node(node & 0xffff_ffff_ffff) else { throw .staleNFSFileHandle }
            return .system(found)
        }
        if let route = router.route(index) { return .scheme(route, route.numbers.server(node)) }
        guard node == NodeNumbers.root else { throw .staleNFSFileHandle }
        return .root
    }

    /// A server's node. The router's own are read-only: EROFS.
    func writable(_ node: UInt64) throws(Errno) -> (SchemeRoute, UInt64) {
        guard case .scheme(let route, let number) = try target(node) else { throw .readOnlyFileSystem }
        return (route, number)
    }

    /// Two nodes of one server. EXDEV if they aren't.
    func pair(_ first: UInt64, _ second: UInt64) throws(Errno) -> (SchemeRoute, UInt64, UInt64) {
        let (route, one) = try writable(first)
        let (other, two) = try writable(second)
        guard route === other else { throw .improperLink }
        return (route, one, two)
    }

    /// A request to a scheme on behalf of the kernel's.
    func call(
        _ opcode: Opcode, _ request: FuseRequest, _ node: UInt64, handle: UInt64 = 0, offset: UInt64 = 0,
        _ arguments: RequestArguments = RequestArguments(), flags: SubmissionFlags = [], payloadBytes: Int = 0,
        replyBytes: Int = 0
    ) -> Call {
        let flags = Self.changesNames(opcode) ? flags.union(.tellsDirectory) : flags
        let seconds = request.time.seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let time = seconds.partialValue &+ Int64(request.time.nanoseconds)
        var call = Call(
            SubmissionEntry(
                opcode, flags: flags, node: node, handle: handle, offset: offset, time: time, uid: request.user,
                gid: request.group),
            arguments, unique: request.unique, isResent: request.isResent)
        call.arguments.pid = request.process
        call.payloadBytes = payloadBytes
        call.replyBytes = replyBytes
        call.isImportant = !opcode.isLogged || opcode == .close || opcode == .read
        return call
    }

    private static func changesNames(_ opcode: Opcode) -> Bool {
        switch opcode {
        case .create, .mknod, .mkdir, .symlink, .link, .unlink, .rmdir: true
        default: false
        }
    }

    /// A server's attributes with the kernel's node number. EIO if the server's can't be.
    func attributes(_ answer: borrowing Answer, _ route: SchemeRoute) throws(Errno) -> NodeAttributes {
        guard var attributes = NodeAttributes(decoding: answer.reply),
            let number = route.numbers.kernel(attributes.node)
        else { throw .ioError }
        attributes.node = number
        // The kernel keeps a listing as long as the directory's time is the same, and here names come and go without its knowing.
        let never = WireTime(seconds: 0, nanoseconds: 0)
        if route.description.changesByItself, attributes.mode & ModeBits.typeMask == ModeBits.directory,
            attributes.modificationTime == never
        {
            let now = Clock.realtime()
            attributes.modificationTime = WireTime(seconds: now.seconds, nanoseconds: now.nanoseconds)
        }
        return attributes
    }

    /// The reply has been written.
    public func didReply(_ request: FuseRequest) {
        router.didReply()
        // Other requests keep the reader from going idle: not for long.
        if postponed.load(ordering: .relaxed) >= 0,
            Clock.monotonicNanoseconds() &- postponedAt.load(ordering: .relaxed) > Self.postponement
        {
            willIdle()
        }
    }

    /// What was put off is done now.
    public func willIdle() {
        guard postponed.exchange(-1, ordering: .acquiringAndReleasing) >= 0 else { return }
        for route in router.routes { route.wakeServer() }
    }

    /// The caller got a signal.
    public func interrupt(unique: UInt64) {
        for route in router.routes where route.interrupt(unique) { return }
    }
}

/// Copies a span to a place in another.
func put(_ bytes: RawSpan, at offset: Int, into target: inout MutableRawSpan) {
    guard !bytes.isEmpty else { return }
    unsafe target.withUnsafeMutableBytes { target in
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset..<(offset + bytes.count)]).copyMemory(
                from: bytes)
        }
    }
}
