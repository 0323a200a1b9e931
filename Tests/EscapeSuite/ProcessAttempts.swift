import CLinux
import Glibc

/// Reaching other processes.
enum ProcessAttempts {
    static func run(victim: Int, address: Int) {
        Report.mustFail("ptrace-attach", SYS_ptrace, 16, victim)
        Report.mustFail("ptrace-seize", SYS_ptrace, 0x4206, victim)
        Report.mustFail("kill", SYS_kill, victim, 0)
        // All that it may signal: there must be nobody.
        Report.mustFail("kill-all", SYS_kill, -1, Int(SIGKILL))
        Report.mustFail("pidfd", SYS_pidfd_open, victim, 0)
        Report.mustFail("limits-of-others", SYS_prlimit64, victim, 7, 0, 0)
        readMemory(victim: victim, address: address)
        Report.mustFail("open-memory-file", SYS_openat, path: "/proc/\(victim)/mem", at: 1, Int(AT_FDCWD), Int(O_RDWR))
        Report.mustFail("compare", SYS_kcmp, victim, 1, 0, 0, 0)
    }

    private static func readMemory(victim: Int, address: Int) {
        guard Report.isWanted("read-memory") else { return }
        var buffer = [UInt8](repeating: 0, count: 8)
        let result = unsafe buffer.withUnsafeMutableBytes { raw in
            var vectors: [Int] = [Int(bitPattern: raw.baseAddress), 8, address, 8]
            return unsafe vectors.withUnsafeMutableBytes { pair in
                let start = Int(bitPattern: pair.baseAddress)
                return clinux_raw_call(Int(SYS_process_vm_readv), victim, start, 1, start + 16, 1, 0)
            }
        }
        if result < 0 {
            Report.held("read-memory", errno)
        } else {
            Report.escaped("read-memory", "read \(result) bytes")
        }
    }
}
