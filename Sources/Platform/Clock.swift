import Glibc

/// The machine's clocks. The file system engine reads none of them: it gets times from outside.
public enum Clock {
    /// Seconds since 1970 and nanoseconds of the current time.
    public static func realtime() -> (seconds: Int64, nanoseconds: UInt32) {
        let now = read(CLOCK_REALTIME)
        return (Int64(now.tv_sec), UInt32(truncatingIfNeeded: now.tv_nsec))
    }

    /// Nanoseconds of a clock that never goes back, from an unspecified start.
    public static func monotonicNanoseconds() -> UInt64 {
        let now = read(CLOCK_MONOTONIC)
        return UInt64(truncatingIfNeeded: now.tv_sec) &* 1_000_000_000 &+ UInt64(truncatingIfNeeded: now.tv_nsec)
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var result = timespec()
        // Cannot fail: the clocks exist and the pointer is valid.
        _ = unsafe clock_gettime(clock, &result)
        return result
    }
}
