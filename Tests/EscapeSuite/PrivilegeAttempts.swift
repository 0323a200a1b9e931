import CLinux
import Glibc

/// Becoming more than it is.
enum PrivilegeAttempts {
    static func run(isStrict: Bool) {
        unsafe "tmpfs".withCString { type in
            unsafe "/".withCString { root in
                let type = Int(bitPattern: type)
                let root = Int(bitPattern: root)
                Report.mustFail("mount", SYS_mount, type, root, type, 0, 0)
                Report.mustFail("remount", SYS_mount, 0, root, 0, 0x20, 0)
                Report.mustFail("pivot-root", SYS_pivot_root, root, root)
                Report.mustFail("chroot", SYS_chroot, root)
                Report.mustFail("unmount", SYS_umount2, root, 2)
                Report.mustFail("clone-tree", SYS_open_tree, Int(AT_FDCWD), root, 1)
                Report.mustFail("host-name", SYS_sethostname, root, 1)
                Report.mustFail("new-file-system", SYS_fsopen, type, 0)
            }
        }
        Report.mustFail("become-root", SYS_setresuid, 0, 0, 0)
        Report.mustFail("become-other", SYS_setresuid, 12345, 12345, 12345)
        Report.mustFail("become-other-group", SYS_setresgid, 0, 0, 0)
        Report.mustFail("join-namespace", SYS_setns, 1, 0)
        Report.mustFail("reboot", SYS_reboot, 0, 0, 0)
        Report.mustFail("set-clock", SYS_clock_settime, 0, 0)
        Report.mustFail("load-module", SYS_finit_module, 1, 0, 0)
        Report.mustFail("real-time", SYS_sched_setscheduler, 0, 1, schedulerParameter())
        Report.mustFail("priority", SYS_setpriority, 0, 0, -20)
        Report.mustFail("kernel-log", SYS_syslog, 4, 0, 0)
        var limit: (UInt64, UInt64) = (1 << 20, 1 << 20)
        unsafe withUnsafeBytes(of: &limit) {
            let limit = Int(bitPattern: $0.baseAddress)
            Report.mustFail("raise-limit", SYS_prlimit64, 0, 6, limit, 0)
        }
        if isStrict {
            // These a namespace or a limit doesn't stop by itself; the filter does.
            Report.mustFail("new-user-namespace", SYS_unshare, 0x1000_0000)
            Report.mustFail("io-uring", SYS_io_uring_setup, 8, 0)
            Report.mustFail("bpf", SYS_bpf, 0, 0, 0)
            Report.mustFail("perf", SYS_perf_event_open, 0, 0, 0, 0, 0)
            Report.mustFail("user-fault", SYS_userfaultfd, 0)
            Report.mustFail("keyring", SYS_keyctl, 0, -3, 0)
            Report.mustFail("executable-memory", SYS_mmap, 0, 4096, 7, 0x22, -1, 0)
            Report.mustFail("memory-file-run", SYS_execveat, 3, 0, 0, 0, 0x1000)
        }
    }

    private static func schedulerParameter() -> Int {
        let parameter = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
        unsafe parameter.initialize(to: 1)
        return Int(bitPattern: parameter)
    }
}
