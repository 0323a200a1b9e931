import Glibc
import PosixChecks
import Synchronization

/// Runs a workload by several workers for some time. Whether every call succeeded and every byte was right.
func run(_ workload: some Workload, workers: Int, seed: UInt64, seconds: UInt32) -> Bool {
    let outcomes = Mutex<[WorkloadOutcome]>([])
    var threads: [pthread_t] = []
    for worker in 0..<workers {
        let job = Unmanaged.passRetained(
            Job {
                // Before the lock is taken: the others run meanwhile.
                let outcome = workload.run(worker: worker)
                outcomes.withLock { $0.append(outcome) }
            })
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, job.toOpaque())
        guard result == 0 else {
            print("FAILED to start a thread: \(result)")
            return false
        }
        threads.append(thread)
    }
    // A worker that meets a fault ends at once; the others needn't go on then.
    var left = seconds
    while left > 0, outcomes.withLock({ $0.isEmpty }) {
        sleep(1)
        left -= 1
    }
    workload.stop()
    for thread in threads { pthread_join(thread, nil) }
    let results = outcomes.withLock { $0 }
    let rounds = results.reduce(0) { $0 + $1.rounds }
    let calls = results.reduce(0) { $0 + $1.calls }
    let longest = results.map(\.longestCall).max() ?? 0
    print("\(rounds) rounds, \(calls) calls, the longest took \(longest) us, seed \(seed)")
    for fault in results.flatMap(\.faults) { print("FAILED \(fault)") }
    return results.allSatisfy { $0.faults.isEmpty }
}

/// A closure that a thread can take with it.
private final class Job: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
