import CLinux
import Glibc
import SystemPackage

/// What a descriptor is ready for (epoll(7)).
public struct PollEvents: OptionSet, Sendable {
    /// EPOLL* bits.
    public let rawValue: UInt32
    /// From EPOLL* bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// There is something to read, or an end.
    public static let readable = PollEvents(rawValue: 0x001)
    /// There is room to write.
    public static let writable = PollEvents(rawValue: 0x004)
    /// An error; always reported.
    public static let error = PollEvents(rawValue: 0x008)
    /// The other side is gone; always reported.
    public static let hangUp = PollEvents(rawValue: 0x010)
    /// The other side sends no more.
    public static let peerClosed = PollEvents(rawValue: 0x2000)
    /// Told once; then the descriptor has to be asked about again (`modify`).
    public static let once = PollEvents(rawValue: 1 << 30)
}

/// Waits for many descriptors at once (epoll).
public struct EventPoll: ~Copyable, Sendable {
    // EPOLL_CTL_* of epoll_ctl(2).
    private static let addOperation: Int32 = 1
    private static let removeOperation: Int32 = 2
    private static let modifyOperation: Int32 = 3

    private let descriptor: OwnedDescriptor

    /// Watches nothing at first.
    public init() throws(Errno) {
        descriptor = OwnedDescriptor(adopting: try SystemCall.retrying { clinux_epoll_create() })
    }

    /// Watches a descriptor; its events come with `token`.
    public func add(_ watched: Int32, _ events: PollEvents, token: UInt64) throws(Errno) {
        let raw = descriptor.rawValue
        try SystemCall.retrying { clinux_epoll_control(raw, Self.addOperation, watched, events.rawValue, token) }
    }

    /// Changes what is waited for.
    public func modify(_ watched: Int32, _ events: PollEvents, token: UInt64) throws(Errno) {
        let raw = descriptor.rawValue
        try SystemCall.retrying { clinux_epoll_control(raw, Self.modifyOperation, watched, events.rawValue, token) }
    }

    /// Watches a descriptor no more. Needed before closing one that others still hold open.
    public func remove(_ watched: Int32) throws(Errno) {
        let raw = descriptor.rawValue
        try SystemCall.retrying { clinux_epoll_control(raw, Self.removeOperation, watched, 0, 0) }
    }

    /// Waits until something is ready, at most so many milliseconds (-1: without end). None: the time is over or a
    /// signal came.
    public func wait(milliseconds: Int32) throws(Errno) -> [(token: UInt64, events: PollEvents)] {
        var events = [UInt32](repeating: 0, count: 64)
        var tokens = [UInt64](repeating: 0, count: 64)
        let count = unsafe clinux_epoll_wait(descriptor.rawValue, &events, &tokens, 64, milliseconds)
        if count < 0 {
            if errno == EINTR { return [] }
            throw Errno(rawValue: errno)
        }
        return (0..<Int(count)).map { (tokens[$0], PollEvents(rawValue: events[$0])) }
    }
}

/// Signals as something to read (signalfd). They are blocked in the thread that creates it, and in those that it starts.
public struct SignalDescriptor: ~Copyable, Sendable {
    /// Readable when a signal is waiting.
    public let descriptor: OwnedDescriptor

    /// Takes over these signals.
    public init(_ signals: [Int32]) throws(Errno) {
        let set = signals.reduce(UInt64(0)) { $1 >= 1 && $1 <= 64 ? $0 | 1 << UInt64($1 - 1) : $0 }
        descriptor = OwnedDescriptor(adopting: try SystemCall.retrying { clinux_signal_descriptor(set) })
    }

    /// The next signal that waits, or nil.
    public func next() throws(Errno) -> Int32? {
        let raw = descriptor.rawValue
        do {
            return try SystemCall.retrying { clinux_next_signal(raw) }
        } catch {
            if error == .wouldBlock { return nil }
            throw error
        }
    }
}

extension SystemCall {
    /// Ignores a signal in the whole process: SIGPIPE, for who writes to sockets.
    public static func ignoreSignal(_ signal: Int32) {
        clinux_ignore_signal(signal)
    }
}
