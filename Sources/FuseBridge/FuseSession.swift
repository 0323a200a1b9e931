import CFuse3
import Glibc
import Platform
import Synchronization
import SystemPackage

/// A mount's conversation with the kernel: reads requests, has a `FuseBackend` carry them out, writes the replies.
///
/// libfuse's low-level session parses and encodes; every read and every write goes through hooks of ours, so that requests
/// land in the backend's memory, and so that a new process can take over a mount whose server died:
///
///      kernel --read--> hook -> [receive buffer] -> libfuse -> operation -> FuseBackend
///      kernel <-writev- hook <-------------------- libfuse <- reply
///
/// The session doesn't mount and doesn't unmount: it gets the descriptor of a mounted /dev/fuse. It ends when the mount does.
@safe
public final class FuseSession: @unchecked Sendable {
    /// The largest write and read in one request, in bytes.
    public static let maximumTransferByteCount = 1 << 20
    /// What a receive buffer must hold: the largest write and its headers (libfuse's bufsize).
    public static let receiveByteCount = maximumTransferByteCount + 4096

    /// How a session treats its mount.
    public struct Options: Sendable {
        /// The kernel collects writes. Right only if nobody but this mount changes the files.
        public var usesWriteBackCache = true
        /// Threads that may be busy with requests, or wait with them, at once.
        public var maximumThreadCount = 4096
        /// Lock the process's memory: without that a kill at a bad moment can cost an application an EIO.
        public var locksMemory = true

        /// The defaults of a mount.
        public init() {}
    }

    let descriptor: Int32
    let backend: any FuseBackend
    let options: Options
    let state: FuseSessionState?
    let workers: FuseWorkers
    /// For what the kernel didn't ask for.
    public let notifier: FuseNotifier
    /// What happened since the process started.
    public let counters = FuseCounters()
    /// What the hooks share while INIT is fed again; afterwards constant.
    let restart = Locked(FuseRestart())
    /// libfuse's next read gets the saved INIT.
    let isTakingOver = Atomic<Bool>(false)
    /// The next reply is INIT's.
    let isInitializing = Atomic<Bool>(false)
    /// Of the thread that reads.
    private let spin = Locked(IdleSpin())
    private let sessionAddress = Atomic<UInt>(0)

    /// A session over the descriptor of a mounted /dev/fuse.
    ///
    /// - Parameters:
    ///   - descriptor: stays the caller's; must outlive the session.
    ///   - state: memory that outlives this process: with it a later session can take over the mount.
    /// - Throws: EINVAL if libfuse refuses; EMFILE.
    public init(
        descriptor: Int32, backend: any FuseBackend, options: Options = Options(), state: FuseSessionState? = nil
    ) throws(Errno) {
        self.descriptor = descriptor
        self.backend = backend
        self.options = options
        self.state = state
        workers = FuseWorkers(maximumCount: options.maximumThreadCount)
        notifier = try FuseNotifier(descriptor)
        var operations = makeOperations()
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        let session = unsafe "saltbridge".withCString { name -> OpaquePointer? in
            var arguments: [UnsafeMutablePointer<CChar>?] = unsafe [UnsafeMutablePointer(mutating: name), nil]
            return unsafe arguments.withUnsafeMutableBufferPointer { vector in
                var list = unsafe fuse_args(argc: 1, argv: vector.baseAddress, allocated: 0)
                defer { unsafe fuse_opt_free_args(&list) }
                return unsafe fuse_session_new(
                    &list, &operations, MemoryLayout<fuse_lowlevel_ops>.size, context)
            }
        }
        guard let session = unsafe session else { throw .invalidArgument }
        sessionAddress.store(UInt(bitPattern: session), ordering: .relaxed)
        var hooks = fuse_custom_io()
        unsafe hooks.read = { descriptor, buffer, count, context in
            unsafe readHook(descriptor, buffer, count, context)
        }
        unsafe hooks.writev = { descriptor, vector, count, context in
            unsafe writeHook(descriptor, vector, count, context)
        }
        // libfuse closes what it is given when the session ends: by then the number of the caller's may be another file's.
        let own = try SystemCall.duplicate(descriptor)
        let code = unsafe fuse_session_custom_io(session, &hooks, own.rawValue)
        guard code == 0 else { throw Errno(rawValue: abs(code)) }
        _ = own.release()
    }

    deinit { unsafe fuse_session_destroy(session) }

    /// libfuse's session.
    @unsafe var session: OpaquePointer? {
        unsafe OpaquePointer(bitPattern: sessionAddress.load(ordering: .relaxed))
    }

    /// Serves the mount until it is unmounted. Returns when all requests are done.
    ///
    /// - Throws: the errno of a thread that couldn't be started.
    public func run() throws(Errno) {
        if options.locksMemory { lockMemory() }
        // Of the open file that the supervisor and later processes share: all of them read as `nextRequest` does. Without it reading
        // waits by itself.
        let flags = fcntl(descriptor, F_GETFL)
        if flags >= 0 { _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) }
        takeOver()
        try workers.run(self)
    }

    /// Makes what the first session of this process needs and what takes time, for a process that was started ahead of time.
    public static func prepare() { ReceiveMemory.prepare() }

    /// Called on a thread that is inside an operation, before it waits for long: another thread reads requests meanwhile. False: nobody
    /// would, as there are too many threads.
    ///
    /// - Parameter keepsRequest: the bytes that the kernel sent will still be needed; else their memory may go.
    public static func willBlock(keepsRequest: Bool) -> Bool {
        unsafe FuseWorker.current?.passOnReading(keepsRequest: keepsRequest) ?? true
    }

    /// Reads the next request (read(2)): looks for it for a while, then sleeps until there is one. -1 and `errno` as read(2).
    @unsafe
    func nextRequest(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer, _ byteCount: Int) -> Int {
        var count = unsafe read(descriptor, buffer, byteCount)
        if count >= 0 || errno != EAGAIN { return count }
        // While another thread waits for a server, this one would only be in that one's way.
        if workers.readerIsAlone {
            var code: Int32 = 0
            let isHere = spin.withLock { spin in
                spin.run {
                    count = unsafe read(descriptor, buffer, byteCount)
                    code = errno
                    return count >= 0 || code != EAGAIN
                }
            }
            if isHere {
                errno = code
                return count
            }
        }
        backend.willIdle()
        while true {
            let start = Clock.monotonicNanoseconds()
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = unsafe poll(&entry, 1, -1)
            let time = Clock.monotonicNanoseconds() &- start
            count = unsafe read(descriptor, buffer, byteCount)
            let code = errno
            if count >= 0 || code != EAGAIN {
                spin.withLock { $0.slept(time) }
                errno = code
                return count
            }
        }
    }

    /// Locked memory can't be dropped while the kernel copies into or out of it; unlocked pages of a dying process fail that copy.
    private func lockMemory() {
        // An ordinary user's limit may be too small for everything: what is locked page by page as it is touched is the
        // best there is then.
        if mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 {
            counters.memoryLockFailure.store(UInt64(errno), ordering: .relaxed)
        }
    }
}

/// Counts of a session, since its process started.
public final class FuseCounters: Sendable {
    /// Requests read.
    public let requests = Atomic<UInt64>(0)
    /// Requests that a dead process had been given before.
    public let resent = Atomic<UInt64>(0)
    /// FORGET messages, which need no work: node ids are computed.
    public let forgotten = Atomic<UInt64>(0)
    /// Interrupted callers.
    public let interrupts = Atomic<UInt64>(0)
    /// Errno of mlockall, 0 if memory is locked.
    public let memoryLockFailure = Atomic<UInt64>(0)

    init() {}
}
