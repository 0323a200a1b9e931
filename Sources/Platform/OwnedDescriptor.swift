import CLinux
import Glibc
import SystemPackage

/// A file descriptor with one owner: closed when the value ends.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// The number of the descriptor, valid as long as this value lives.
    public let rawValue: Int32

    /// Takes over a descriptor that nobody else closes.
    public init(adopting rawValue: Int32) {
        self.rawValue = rawValue
    }

    deinit {
        // Not repeated on EINTR: Linux has closed the descriptor then, and its number may already be another's.
        _ = Glibc.close(rawValue)
    }

    /// Gives up ownership: the caller closes the returned descriptor.
    public consuming func release() -> Int32 {
        let descriptor = rawValue
        discard self
        return descriptor
    }

    /// Closes now and reports what close(2) reports, such as a delayed error of a network file system.
    public consuming func close() throws(Errno) {
        let descriptor = release()
        if Glibc.close(descriptor) == -1 {
            let code = errno
            if code != EINTR { throw Errno(rawValue: code) }
        }
    }

    /// A second descriptor of the same open file, closed on exec.
    public func duplicate() throws(Errno) -> OwnedDescriptor {
        let source = rawValue
        return OwnedDescriptor(
            adopting: try SystemCall.retrying { clinux_fcntl_int(source, F_DUPFD_CLOEXEC, 0) })
    }
}
