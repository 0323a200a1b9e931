import Glibc
import Platform
import SystemPackage

/// Finds who keeps a device busy, from /proc. Best effort: other users' processes cannot be looked into.
enum LockHolder {
    /// Names the processes that hold the path locked or, for a block device, open or mounted.
    static func describe(path: String) -> String {
        guard let wanted = try? SystemCall.statusAt(AT_FDCWD, path) else { return "another program" }
        let isBlock = wanted.st_mode & S_IFMT == S_IFBLK
        var holders: [String] = []
        for process in numericEntries("/proc") {
            for file in numericEntries("/proc/\(process)/fd") {
                guard let open = try? SystemCall.statusAt(AT_FDCWD, "/proc/\(process)/fd/\(file)") else { continue }
                let isSame =
                    isBlock
                    ? open.st_mode & S_IFMT == S_IFBLK && open.st_rdev == wanted.st_rdev
                    : open.st_dev == wanted.st_dev && open.st_ino == wanted.st_ino
                guard isSame, isBlock || isLocked(process, file) else { continue }
                holders.append("process \(process) (\(name(process)))")
                break
            }
        }
        if holders.isEmpty { return isBlock ? "the kernel (mounted?) or another program" : "another program" }
        return holders.joined(separator: ", ")
    }

    /// Whether the descriptor of a process carries a lock: fdinfo has a line "lock:" per lock (proc(5)).
    private static func isLocked(_ process: Int32, _ file: Int32) -> Bool {
        readText("/proc/\(process)/fdinfo/\(file)")
            .split(separator: "\n").contains { $0.hasPrefix("lock:") && $0.contains("OFDLCK") }
    }

    private static func name(_ process: Int32) -> String {
        let text = readText("/proc/\(process)/comm")
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }

    private static func numericEntries(_ path: String) -> [Int32] {
        guard let names = try? SystemCall.directoryNames(path) else { return [] }
        return names.compactMap { Int32($0) }.sorted()
    }

    private static func readText(_ path: String) -> String {
        guard let file = try? SystemCall.open(path, O_RDONLY),
            let bytes = try? SystemCall.readToEnd(file.rawValue, limit: 1 << 16)
        else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }
}
