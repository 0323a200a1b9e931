import Platform

/// Threads for tests of what many may use at once.
public enum Threads {
    /// Runs the body on so many threads at the same time; how many returned false.
    public static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Bool) throws -> Int {
        let failures = Locked(0)
        let workers = try WorkerPool(threads: count)
        workers.parallelFor(count) { index in
            if !body(index) { failures.withLock { $0 += 1 } }
        }
        return failures.withLock { $0 }
    }
}
