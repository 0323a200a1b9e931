// Benchmark of the file system engine: `bench-engine [memory|FILE] [PART ...]`. Parts are write, read, text, random,
// commits, check, names, million and fragmented; all of them if none is named. Every figure has a baseline that is taken in the
// same run, in turns with what is measured: copying and hashing the same bytes for a device in memory, reading or writing
// them plainly in the same file otherwise.

import Glibc
import Platform

/// What is run.
@main enum EngineBenchmark {
    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        let path = arguments.first ?? "memory"
        let known = ["write", "read", "text", "random", "commits", "check", "names", "million", "fragmented"]
        let wanted = arguments.dropFirst().filter { $0 != "all" }
        guard wanted.allSatisfy(known.contains) else {
            print("parts are \(known.joined(separator: ", "))")
            exit(64)
        }
        let parts = Set(wanted.isEmpty ? known : Array(wanted))
        let isNew = unsafe path != "memory" && access(path, F_OK) != 0
        do {
            try run(path, parts)
        } catch {
            let line = "bench-engine: \(path): \(error)\n"
            _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
            if isNew { _ = unsafe unlink(path) }
            exit(1)
        }
        if isNew { _ = unsafe unlink(path) }
    }

    private static func run(_ path: String, _ parts: Set<String>) throws {
        let place = try Place(path)
        print("device: \(path), processors: \(Processors.count)")
        if !parts.isDisjoint(with: ["write", "read", "text", "random", "commits", "check"]) {
            try ContentBenchmark(place: place, parts: parts).run()
        }
        if parts.contains("names") { try NameBenchmark(place: place).run() }
        if parts.contains("million") { try MillionBenchmark(place: place).run() }
        if parts.contains("fragmented") { try FragmentedBenchmark(place: place).run() }
        Report.line("peak memory", "\(Report.peakMemory() - place.residentMemory) MiB", "without the device")
    }
}
