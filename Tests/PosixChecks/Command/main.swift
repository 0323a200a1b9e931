import Glibc
import PosixChecks

// posix-checks FOLDER [TEXT]: tries every check whose name contains TEXT in FOLDER, prints a line each; 1 if any fails.
let arguments = CommandLine.arguments
guard arguments.count == 2 || arguments.count == 3 else {
    print("usage: posix-checks FOLDER [TEXT]")
    exit(64)
}
var counts = (passed: 0, failed: 0, skipped: 0)
for (number, check) in PosixCheck.all.enumerated() where arguments.count == 2 || check.name.contains(arguments[2]) {
    switch check.run(in: arguments[1], number: number) {
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
