import CLinux
import Glibc

/// The machine's processors, and on which of them a thread runs.
public enum Processors {
    /// How many are online, at least 1.
    public static var count: Int { max(Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), 1) }

    /// The number of the one that the calling thread runs on at the moment; nil if that isn't known.
    public static var current: UInt32? { UInt32(exactly: clinux_processor()) }

    /// Keeps the calling thread on one processor. False if it isn't one of those that the thread might use so far.
    public static func keepThread(on number: UInt32) -> Bool { clinux_keep_to_processor(number) == 0 }

    /// Lets the calling thread use again what it might use before the first `keepThread`.
    public static func releaseThread() { _ = clinux_leave_processor() }
}
