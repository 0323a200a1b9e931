import Glibc
import SystemPackage

/// The system calls. Each wrapper is an extension of this type in a file of its topic, throws an `Errno`, and
/// handles EINTR by asking `retrying`: a caller never sees it.
public enum SystemCall {
    /// Makes a system call until a signal doesn't interrupt it.
    ///
    /// - Parameter call: makes the call and returns its result, -1 for an error in `errno`.
    /// - Returns: the call's result, never -1.
    @inlinable @discardableResult
    public static func retrying<Result: SignedInteger & FixedWidthInteger>(
        _ call: () -> Result
    ) throws(Errno) -> Result {
        while true {
            let result = call()
            if result != -1 { return result }
            if let failure = lastFailure() { throw failure }
        }
    }

    /// What `errno` says; nil if the call was only interrupted.
    @usableFromInline static func lastFailure() -> Errno? {
        let code = errno
        return code == EINTR ? nil : Errno(rawValue: code)
    }
}
