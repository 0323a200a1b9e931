import CLinux
import Glibc
import SystemPackage

/// A running thread. Joined by `join`; dropped without, it goes on by itself.
public final class JoinHandle: @unchecked Sendable {
    private let thread: pthread_t
    private let isJoined = Locked(false)

    fileprivate init(_ thread: pthread_t) {
        self.thread = thread
    }

    deinit {
        let isJoined = isJoined.withLock { $0 }
        if !isJoined { pthread_detach(thread) }
    }

    /// Waits for the thread's end. The second call returns at once.
    public func join() {
        let isFirst = isJoined.withLock { joined in
            defer { joined = true }
            return !joined
        }
        if isFirst { pthread_join(thread, nil) }
    }
}

private final class ThreadBody {
    let name: String
    let run: @Sendable () -> Void

    init(name: String, run: @escaping @Sendable () -> Void) {
        self.name = name
        self.run = run
    }
}

/// Starts a thread.
///
/// - Parameters:
///   - name: shown by debuggers and top(1); Linux keeps 15 bytes.
///   - stackSize: in bytes, 0 for the system's default.
/// - Throws: EAGAIN when there are too many threads.
@discardableResult
public func spawnThread(
    name: String, stackSize: Int = 0, _ body: @escaping @Sendable () -> Void
) throws(Errno) -> JoinHandle {
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    if stackSize > 0 {
        let code = unsafe pthread_attr_setstacksize(&attributes, stackSize)
        if code != 0 { throw Errno(rawValue: code) }
    }
    let context = unsafe Unmanaged.passRetained(ThreadBody(name: name, run: body))
    var thread = pthread_t()
    // Signals that end the program are the main thread's affair, which can keep them off for a moment: the new thread inherits that they
    // are off.
    let code = EndingSignals.keptOff {
        unsafe pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let body = unsafe Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue()
                _ = unsafe clinux_set_thread_name(String(decoding: body.name.utf8.prefix(15), as: UTF8.self))
                body.run()
                return nil
            }, context.toOpaque())
    }
    if code != 0 {
        unsafe context.release()
        throw Errno(rawValue: code)
    }
    return JoinHandle(thread)
}
