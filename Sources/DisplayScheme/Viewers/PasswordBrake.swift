/// Slows down who tries passwords at a listener: a connection that gave a wrong one keeps its place for a while, longer each time.
struct PasswordBrake {
    private static let shortest: UInt64 = 250_000_000
    private static let longest: UInt64 = 16_000_000_000
    /// After so long without a wrong password all is forgotten.
    private static let memory: UInt64 = 120_000_000_000

    private var delay: UInt64 = 0
    private var lastAt: UInt64 = 0

    /// A wrong password came; returns when its connection may end. Times in nanoseconds.
    mutating func failed(at now: UInt64) -> UInt64 {
        if now &- lastAt > Self.memory { delay = 0 }
        delay = min(max(delay &* 2, Self.shortest), Self.longest)
        lastAt = now
        return now &+ delay
    }
}
