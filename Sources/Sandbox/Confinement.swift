import Glibc
import Platform
import SystemPackage

/// How far a running process is confined, as the kernel says (`/proc/PID/status`, proc_pid_status(5)).
public struct Confinement: Sendable, Equatable {
    /// No effective, permitted, inheritable, ambient or bounding capability.
    public let hasNoCapabilities: Bool
    /// no_new_privs is set.
    public let refusesNewPrivileges: Bool
    /// Seccomp filters in force.
    public let filterCount: Int
    /// Resident memory in bytes.
    public let residentBytes: UInt64
    /// Threads.
    public let threadCount: Int

    /// Asks the kernel; nil if the process is gone.
    public init?(processID: Int32) {
        guard let text = try? SystemCall.smallFile("/proc/\(processID)/status") else { return nil }
        var fields: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon]] = line[line.index(after: colon)...].drop { $0 == "\t" || $0 == " " }
        }
        hasNoCapabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].allSatisfy { name in
            fields[name].flatMap { UInt64($0, radix: 16) } == 0
        }
        refusesNewPrivileges = fields["NoNewPrivs"] == "1"
        filterCount = fields["Seccomp_filters"].flatMap { Int($0) } ?? 0
        residentBytes =
            (fields["VmRSS"]?.split(separator: " ").first.flatMap { UInt64($0) } ?? 0) << 10
        threadCount = fields["Threads"].flatMap { Int($0) } ?? 0
    }
}

extension SystemCall {
    /// The text of a small file, such as those of /proc, which don't tell their size.
    public static func smallFile(_ path: String) throws(Errno) -> String {
        let file = try open(path, O_RDONLY)
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while result.count < 1 << 20 {
            var span = buffer.mutableSpan
            var raw = unsafe span.mutableBytes
            let count = try read(file.rawValue, into: &raw)
            if count == 0 { break }
            result += buffer[..<count]
        }
        return String(decoding: result, as: UTF8.self)
    }
}
