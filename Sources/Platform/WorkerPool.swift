import Synchronization
import SystemPackage

/// A fixed number of threads that run jobs: hashing and compression on all cores. Never used for waiting on I/O of
/// unknown length.
public final class WorkerPool: Sendable {
    private let queue = WorkQueue()
    private let threads: [JoinHandle]

    /// - Parameter threads: how many threads are started; with 0 all work is done by the callers.
    /// - Throws: EAGAIN when there are too many threads.
    public init(threads count: Int) throws(Errno) {
        var threads: [JoinHandle] = []
        let queue = queue
        for index in 0..<max(count, 0) {
            do {
                threads.append(try spawnThread(name: "worker-\(index)") { queue.work() })
            } catch {
                queue.stop()
                throw error
            }
        }
        self.threads = threads
    }

    deinit {
        queue.stop()
    }

    /// The number of threads.
    public var threadCount: Int { threads.count }

    /// Runs the job on one of the threads, in order of submission; without threads at once.
    public func submit(_ job: @escaping @Sendable () -> Void) {
        if threads.isEmpty { job() } else { queue.append(job, times: 1) }
    }

    /// Runs the body for each index in 0..<count on the threads and the caller, returns when all are done. The first
    /// error ends the work early and is thrown. May be called from a job.
    public func parallelFor<Failure: Error>(
        _ count: Int, _ body: @escaping @Sendable (Int) throws(Failure) -> Void
    ) throws(Failure) {
        if count <= 1 || threads.isEmpty {
            for index in 0..<max(count, 0) { try body(index) }
            return
        }
        let loop = ParallelLoop(count: count, body: body)
        queue.append({ loop.run() }, times: min(threads.count, count - 1))
        loop.run()
        if let failure = loop.waitForEnd() { throw failure }
    }
}

private final class WorkQueue: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var head = 0
        var isStopped = false
    }

    private let state = Locked(State())
    private let changed = ConditionVariable()

    func append(_ job: @escaping @Sendable () -> Void, times: Int) {
        state.withLock { state in
            for _ in 0..<times { state.jobs.append(job) }
        }
        if times == 1 { changed.signal() } else { changed.broadcast() }
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        changed.broadcast()
    }

    /// What a thread does: jobs, until stopped and nothing is left.
    func work() {
        while let job = next() { job() }
    }

    private func next() -> (@Sendable () -> Void)? {
        state.wait(on: changed) { state -> (@Sendable () -> Void)?? in
            if state.head < state.jobs.count {
                let job = state.jobs[state.head]
                state.head += 1
                if state.head == state.jobs.count {
                    state.jobs.removeAll(keepingCapacity: true)
                    state.head = 0
                }
                return .some(job)
            }
            return state.isStopped ? .some(nil) : nil
        }
    }
}

/// One `parallelFor`: whoever has time takes the next index. A thread that comes late finds nothing left.
private final class ParallelLoop<Failure: Error>: Sendable {
    private struct State {
        var finished = 0
        var failure: Failure?
    }

    private let count: Int
    private let body: @Sendable (Int) throws(Failure) -> Void
    private let nextIndex = Atomic<Int>(0)
    private let state = Locked(State())
    private let changed = ConditionVariable()

    init(count: Int, body: @escaping @Sendable (Int) throws(Failure) -> Void) {
        self.count = count
        self.body = body
    }

    func run() {
        var done = 0
        var failure: Failure?
        while true {
            let index = nextIndex.wrappingAdd(1, ordering: .relaxed).oldValue
            if index >= count { break }
            done += 1
            if failure != nil { continue }
            do {
                try body(index)
            } catch {
                failure = error
                // What nobody has started counts as finished; nobody gets it any more.
                let skippedFrom = nextIndex.exchange(count, ordering: .relaxed)
                if skippedFrom < count { done += count - skippedFrom }
            }
        }
        if done == 0 { return }
        let isEnd = state.withLock { state in
            state.finished += done
            if let failure, state.failure == nil { state.failure = failure }
            return state.finished == count
        }
        if isEnd { changed.broadcast() }
    }

    func waitForEnd() -> Failure? {
        state.wait(on: changed) { state -> Failure?? in
            state.finished == count ? .some(state.failure) : nil
        }
    }
}
