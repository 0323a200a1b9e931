import BlockDevice
import DiskFormat
import FileSystemCheck
import RedoxFS
import TestSupport

/// How many steps, seeds or states a suite goes through: the variable's value, or what the normal run does.
func amount(_ variable: String, normal: Int) -> Int {
    ProcessEnvironment[variable].flatMap { Int($0) } ?? normal
}

/// The seed of a suite: of the environment to repeat a run, else the given one.
func seed(_ normal: UInt64) -> UInt64 {
    ProcessEnvironment["SALTBRIDGE_SEED"].flatMap { UInt64($0) } ?? normal
}

let testTime = Timespec(seconds: 1_700_000_000, nanoseconds: 123_456_789)

func formatOptions(encrypted: Bool = false) -> FormatOptions {
    let uuid = Bytes16(low: 0x0706_4504_0302_0100, high: 0x0F0E_0D0C_0B0A_0908)
    var options = FormatOptions(uuid: uuid, time: testTime)
    if encrypted {
        let other = Bytes16(low: 1, high: 2)
        options.encryption = .init(password: Array("secret".utf8), salt: uuid, dataKey: uuid, tweakKey: other)
    }
    return options
}

func openOptions(encrypted: Bool = false) -> OpenOptions {
    var options = OpenOptions()
    if encrypted { options.password = Array("secret".utf8) }
    options.dirtyBytes = 1 << 30
    return options
}

/// Checks an image and throws unless nothing is lost, contradictory or leaked: what Saltbridge writes has no faults.
@discardableResult
func checkImage(_ device: any BlockDevice, encrypted: Bool = false, allowing: Severity? = nil) throws -> CheckReport {
    var options = CheckOptions()
    options.verifyData = true
    options.threads = 0
    if encrypted { options.password = Array("secret".utf8) }
    let report = try FileSystemCheck.check(device, options)
    let wrong = report.findings.filter { finding in allowing.map { finding.severity > $0 } ?? true }
    guard wrong.isEmpty else {
        throw Disagreement(
            description:
                "generation \(report.generation): \(wrong.prefix(10).map(\.description).joined(separator: "\n"))")
    }
    return report
}
