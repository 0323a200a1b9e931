import Glibc
import Platform

/// What a piece of work took: time, and time of all processors together. The second hardly depends on what else the
/// machine does.
struct Cost {
    var seconds: Double
    var processor: Double

    /// Takes the time of a piece of work.
    static func of(_ body: () throws -> Void) rethrows -> Cost {
        let processor = processorSeconds()
        let start = Clock.monotonicNanoseconds()
        try body()
        return Cost(
            seconds: Double(Clock.monotonicNanoseconds() - start) / 1e9, processor: processorSeconds() - processor)
    }

    private static func processorSeconds() -> Double {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// Prints figures: the absolute one, and as a ratio to a baseline of the same run.
enum Report {
    /// How often a baseline and what is held against it take turns: whatever else the machine does hits both.
    static let rounds = 3

    /// Measures a piece of work and its baseline in turns and prints the figure of the round with the median ratio.
    ///
    /// - Parameters:
    ///   - baseline: what the ratio is to, with a name.
    ///   - work: gets the round's number.
    ///   - figure: the absolute figure of the seconds that the work took.
    static func compare(
        _ name: String, with baseline: Baseline, figure: (Double) -> String, work: (Int) throws -> Void
    ) throws {
        var results: [(work: Cost, baseline: Cost)] = []
        for round in 0..<rounds {
            let base = try Cost.of(baseline.work)
            results.append((try Cost.of { try work(round) }, base))
        }
        results.sort { $0.baseline.seconds / $0.work.seconds < $1.baseline.seconds / $1.work.seconds }
        let median = results[rounds / 2]
        line(
            name, figure(median.work.seconds),
            "\(percent(median.baseline.seconds / median.work.seconds)) of \(baseline.name)"
                + " (processor time: \(percent(median.work.processor / median.baseline.processor)))")
    }

    /// As `compare`, with work that can be done once only.
    static func once(
        _ name: String, with baseline: Baseline, figure: (Double) -> String, work: () throws -> Void
    ) throws {
        let before = try Cost.of(baseline.work)
        let cost = try Cost.of(work)
        let after = try Cost.of(baseline.work)
        let seconds = (before.seconds + after.seconds) / 2
        let processor = (before.processor + after.processor) / 2
        line(
            name, figure(cost.seconds),
            "\(percent(seconds / cost.seconds)) of \(baseline.name)"
                + " (processor time: \(percent(cost.processor / processor)))")
    }

    /// Prints one figure.
    static func line(_ name: String, _ figure: String, _ comment: String = "") {
        var text = name + String(repeating: " ", count: max(1, 52 - name.count)) + figure
        if !comment.isEmpty { text += String(repeating: " ", count: max(1, 66 - text.count)) + comment }
        print(text)
        fflush(nil)
    }

    /// A ratio as a percentage.
    static func percent(_ ratio: Double) -> String {
        ratio < 0.1 ? "\(Double(Int(ratio * 1000 + 0.5)) / 10)%" : "\(Int(ratio * 100 + 0.5))%"
    }

    /// Megabytes per second.
    static func speed(_ bytes: Int) -> (Double) -> String { { "\(Int(Double(bytes) / $0 / 1e6)) MB/s" } }

    /// Operations per second.
    static func rate(_ count: Int) -> (Double) -> String { { "\(Int(Double(count) / $0))/s" } }

    /// Microseconds of each of several operations.
    static func latency(_ count: Int = 1) -> (Double) -> String {
        { seconds in
            let micros = seconds * 1e6 / Double(count)
            return micros < 1000 ? "\(Double(Int(micros * 10)) / 10) us" : "\(Double(Int(micros / 10)) / 100) ms"
        }
    }

    /// The process's largest resident size so far, in MiB.
    static func peakMemory() -> Int {
        var usage = rusage()
        unsafe getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss / 1024
    }
}
