import CLinux
import Glibc

/// A fault of this process on purpose: an access to nothing, an instruction that there isn't, a division by zero.
///
/// It can't just send itself the signal: the first process of a namespace dies of no signal that it sends itself, or is sent from
/// outside, but SIGKILL (pid_namespaces(7)). Of a fault it does.
public enum ProcessFault {
    /// The signals that there is a fault for.
    public static let signals: [Int32] = [SIGILL, SIGFPE, SIGSEGV]

    /// Dies by a signal. Returns only if there is no fault for it, here or on this kind of processor.
    public static func die(by signal: Int32) { _ = clinux_fault(signal) }
}
