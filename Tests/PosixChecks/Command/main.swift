import Glibc
import PosixChecks

/// Tries the rules that a mounted file system has to keep, on any mount.
///
///     posix-checks FOLDER [TEXT]                   every check whose name contains TEXT, 1 if any fails
///     posix-checks --exercise FILE SEED COUNT      COUNT random operations on a file, through every way into it
///     posix-checks --torture FOLDER SEED SECONDS   what an application does while drivers die, by four workers
///     posix-checks --shared FOLDER SEED SECONDS    eight workers on the same few names
let arguments = Array(CommandLine.arguments.dropFirst())

func usage() -> Never {
    print(
        "usage: posix-checks FOLDER [TEXT]\n       posix-checks --exercise FILE SEED COUNT\n       posix-checks --torture FOLDER SEED SECONDS\n       posix-checks --shared FOLDER SEED SECONDS"
    )
    exit(64)
}

if arguments.first == "--exercise" {
    guard arguments.count == 4, let seed = UInt64(arguments[2]), let count = Int(arguments[3]) else { usage() }
    do {
        var exerciser = try FileExerciser(path: arguments[1], seed: seed)
        defer { exerciser.finish() }
        try exerciser.run(operations: count)
        print("\(count) operations, seed \(seed): no difference")
        exit(0)
    } catch {
        print("FAILED \(error)")
        exit(1)
    }
}

if arguments.first == "--torture" || arguments.first == "--shared" {
    guard arguments.count == 4, let seed = UInt64(arguments[2]), let duration = UInt32(arguments[3]) else { usage() }
    let isWell: Bool
    if arguments[0] == "--torture" {
        let workload = TortureWorkload(folder: arguments[1], seed: seed)
        isWell = run(workload, workers: 4, seed: seed, seconds: duration)
    } else {
        do {
            let workload = try SharedNamesWorkload(folder: arguments[1], seed: seed)
            isWell = run(workload, workers: 8, seed: seed, seconds: duration)
        } catch {
            print("FAILED \(error)")
            exit(1)
        }
    }
    exit(isWell ? 0 : 1)
}

guard arguments.count == 1 || arguments.count == 2 else { usage() }
var counts = (passed: 0, failed: 0, skipped: 0)
for (number, check) in PosixCheck.all.enumerated() where arguments.count == 1 || check.name.contains(arguments[1]) {
    switch check.run(in: arguments[0], number: number) {
    case .passed: counts.passed += 1
    case .failed(let reason):
        counts.failed += 1
        print("FAILED \(check.name): \(reason)")
    case .skipped(let reason):
        counts.skipped += 1
        print("skipped \(check.name): \(reason)")
    }
}
print("\(counts.passed) passed, \(counts.failed) failed, \(counts.skipped) skipped")
exit(counts.failed == 0 ? 0 : 1)
