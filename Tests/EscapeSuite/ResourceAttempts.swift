import CLinux
import Glibc

/// Using up what all share.
enum ResourceAttempts {
    /// More than any server of these tests may have.
    private static let tooMany = 200
    private static let chunk = 16 << 20

    static func run(isStrict: Bool) {
        guard Report.isWanted("processes") else { return }
        processes(isStrict: isStrict)
        memory("private-memory", flags: 0x22)
        memory("shared-memory", flags: 0x21)
        descriptors()
    }

    private static func processes(isStrict: Bool) {
        var made = 0
        while made < tooMany {
            // fork(2) as clone: SIGCHLD and nothing shared.
            let result = clinux_raw_call(Int(SYS_clone), Int(SIGCHLD), 0, 0, 0, 0, 0)
            if result == 0 {
                while true { _ = clinux_raw_call(Int(SYS_nanosleep), unsafe Int(bitPattern: longTime), 0, 0, 0, 0, 0) }
            }
            if result < 0 { break }
            made += 1
        }
        let code = errno
        if made >= tooMany || isStrict && made > 0 {
            Report.escaped("processes", "made \(made)")
        } else {
            Report.held("processes", code)
        }
    }

    nonisolated(unsafe) private static let longTime: UnsafeMutablePointer<Int> = {
        let time = UnsafeMutablePointer<Int>.allocate(capacity: 2)
        unsafe time.initialize(to: 1000)
        unsafe (time + 1).initialize(to: 0)
        return unsafe time
    }()

    /// Maps and touches memory until refused; must end below 1 GiB, twice what these tests' manifest grants.
    private static func memory(_ name: String, flags: Int) {
        var mapped: [Int] = []
        while mapped.count < 1 << 30 / chunk {
            let start = clinux_raw_call(Int(SYS_mmap), 0, chunk, Int(PROT_READ | PROT_WRITE), flags, -1, 0)
            if start < 0 { break }
            mapped.append(start)
        }
        let code = errno
        let isBounded = mapped.count < 1 << 30 / chunk
        for start in mapped { _ = clinux_raw_call(Int(SYS_munmap), start, chunk, 0, 0, 0, 0) }
        if isBounded { Report.held(name, code) } else { Report.escaped(name, "mapped \(mapped.count * chunk) bytes") }
    }

    private static func descriptors() {
        var made = 0
        while made < 5000 {
            if clinux_raw_call(Int(SYS_fcntl), 1, Int(F_DUPFD), 0, 0, 0, 0) < 0 { break }
            made += 1
        }
        if made < 5000 { Report.held("descriptors", errno) } else { Report.escaped("descriptors", "made \(made)") }
    }
}
