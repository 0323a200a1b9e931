import CLinux
import Glibc
import SystemPackage

/// A file descriptor with any number of owners: closed when the last reference goes.
public final class SharedDescriptor: Sendable {
    /// The number of the descriptor.
    public let rawValue: Int32

    /// Takes over a descriptor that nobody else closes.
    public init(adopting rawValue: Int32) { self.rawValue = rawValue }

    /// Takes over an owned descriptor.
    public init(_ descriptor: consuming OwnedDescriptor) { rawValue = descriptor.release() }

    deinit { _ = Glibc.close(rawValue) }
}

/// Unix sockets that carry descriptors (unix(7), SCM_RIGHTS), eventfd and poll.
extension SystemCall {
    /// A second descriptor of the same open file, closed on exec.
    public static func duplicate(_ descriptor: Int32) throws(Errno) -> OwnedDescriptor {
        OwnedDescriptor(adopting: try retrying { clinux_fcntl_int(descriptor, F_DUPFD_CLOEXEC, 0) })
    }

    /// A pair of connected sockets that keep messages apart (SOCK_SEQPACKET), closed on exec.
    public static func socketPair() throws(Errno) -> (SharedDescriptor, SharedDescriptor) {
        var pair: (Int32, Int32) = (-1, -1)
        try unsafe withUnsafeMutableBytes(of: &pair) { (raw) throws(Errno) -> Void in
            let numbers = unsafe raw.assumingMemoryBound(to: Int32.self)
            try retrying { unsafe clinux_socketpair(numbers.baseAddress) }
        }
        return (SharedDescriptor(adopting: pair.0), SharedDescriptor(adopting: pair.1))
    }

    /// Sends one message with descriptors beside it. EPIPE if the peer is gone; EAGAIN if `wait` is false and there is no room.
    public static func send(
        _ socket: Int32, _ bytes: RawSpan, descriptors: [Int32] = [], wait: Bool = true
    ) throws(Errno) {
        let sent = try unsafe bytes.withUnsafeBytes { (raw) throws(Errno) -> Int in
            try retrying {
                unsafe clinux_send_descriptors(
                    socket, raw.baseAddress, raw.count, descriptors, Int32(clamping: descriptors.count),
                    wait ? 1 : 0)
            }
        }
        if sent != bytes.byteCount { throw .messageTooLong }
    }

    /// Receives one message and the descriptors beside it (closed on exec). Zero bytes: the peer is gone.
    ///
    /// EAGAIN if `wait` is false and there is none; EMSGSIZE if the message or its descriptors didn't fit (they are lost).
    public static func receive(
        _ socket: Int32, into buffer: inout MutableRawSpan, wait: Bool = true
    ) throws(Errno) -> (byteCount: Int, descriptors: [SharedDescriptor]) {
        var numbers = [Int32](repeating: -1, count: Int(clinux_maximum_descriptors))
        var count: Int32 = 0
        let received = try unsafe buffer.withUnsafeMutableBytes { (raw) throws(Errno) -> Int in
            try retrying {
                unsafe clinux_receive_descriptors(
                    socket, raw.baseAddress, raw.count, &numbers, Int32(numbers.count), &count,
                    wait ? 1 : 0)
            }
        }
        return (received, numbers.prefix(Int(count)).map { SharedDescriptor(adopting: $0) })
    }

    /// A counter to be woken by in poll(2) (eventfd(2)), not blocking, closed on exec.
    public static func eventDescriptor() throws(Errno) -> OwnedDescriptor {
        OwnedDescriptor(adopting: try retrying { clinux_eventfd() })
    }

    /// Makes an event descriptor readable. A counter that is full is readable already.
    public static func signalEvent(_ descriptor: Int32) {
        var one: UInt64 = 1
        _ = unsafe withUnsafeBytes(of: &one) { unsafe Glibc.write(descriptor, $0.baseAddress, 8) }
    }

    /// Makes an event descriptor unreadable until the next signal.
    public static func clearEvent(_ descriptor: Int32) {
        var value: UInt64 = 0
        _ = unsafe withUnsafeMutableBytes(of: &value) { unsafe Glibc.read(descriptor, $0.baseAddress, 8) }
    }

    /// Lets the thread rest for a time (nanosleep(2)); a signal may end it early.
    public static func sleep(nanoseconds: UInt64) {
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        _ = unsafe nanosleep(&time, nil)
    }

    /// Waits for events on descriptors (poll(2)); the results are in `revents`. An interruption by a signal counts as none ready.
    ///
    /// - Parameter milliseconds: -1 to wait without limit.
    /// - Returns: how many descriptors have events.
    public static func poll(_ descriptors: inout [pollfd], milliseconds: Int32) throws(Errno) -> Int {
        let result = unsafe Glibc.poll(&descriptors, nfds_t(descriptors.count), milliseconds)
        if result >= 0 { return Int(result) }
        let code = errno
        if code == EINTR { return 0 }
        throw Errno(rawValue: code)
    }
}
