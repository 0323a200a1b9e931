import Glibc
import Platform

/// Collects figures and prints them: the absolute figure, and as a ratio to a baseline of the same run.
struct Report {
    /// Times a piece of work, in seconds.
    static func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = Clock.monotonicNanoseconds()
        try body()
        return Double(Clock.monotonicNanoseconds() - start) / 1e9
    }

    /// Prints one figure.
    static func line(_ name: String, _ figure: String, _ ratio: Double? = nil, of baseline: String = "") {
        var text = name + String(repeating: " ", count: max(1, 52 - name.count)) + figure
        if let ratio {
            text += String(repeating: " ", count: max(1, 72 - text.count)) + "\(Int(ratio * 100 + 0.5))% of \(baseline)"
        }
        print(text)
        fflush(nil)
    }

    /// Megabytes per second.
    static func speed(_ bytes: Int, _ seconds: Double) -> String { "\(Int(Double(bytes) / seconds / 1e6)) MB/s" }

    /// Operations per second.
    static func rate(_ count: Int, _ seconds: Double) -> String { "\(Int(Double(count) / seconds))/s" }

    /// Milliseconds.
    static func milliseconds(_ seconds: Double) -> String { "\(Double(Int(seconds * 100_000)) / 100) ms" }

    /// The process's largest resident size so far, in MiB.
    static func peakMemory() -> Int {
        var usage = rusage()
        unsafe getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss / 1024
    }
}

/// A generator whose sequence depends on the seed alone.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// Bytes that nothing compresses.
    mutating func bytes(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count + 8)
        while result.count < count {
            let word = next()
            for shift in 0..<8 as Range<UInt64> { result.append(UInt8(truncatingIfNeeded: word >> (shift * 8))) }
        }
        result.removeLast(result.count - count)
        return result
    }
}
