import CLinux
import Glibc

/// Opening and making files.
enum FileAttempts {
    static func run(path: String) {
        let current = Int(AT_FDCWD)
        Report.mustFail("open-host-file", SYS_openat, path: path, at: 1, current, Int(O_RDONLY))
        Report.mustFail("write-host-file", SYS_openat, path: path, at: 1, current, Int(O_RDWR))
        Report.mustFail("open-passwd", SYS_openat, path: "/etc/passwd", at: 1, current, Int(O_RDONLY))
        Report.mustFail("climb", SYS_openat, path: "../../../../../../etc/passwd", at: 1, current, Int(O_RDONLY))
        Report.mustFail("open-root", SYS_openat, path: "/", at: 1, current, Int(O_RDONLY | O_DIRECTORY))
        Report.mustFail("open-proc", SYS_openat, path: "/proc/self/status", at: 1, current, Int(O_RDONLY))
        Report.mustFail("open-fuse", SYS_openat, path: "/dev/fuse", at: 1, current, Int(O_RDWR))
        Report.mustFail("open-memory", SYS_openat, path: "/dev/mem", at: 1, current, Int(O_RDONLY))
        Report.mustFail("create-file", SYS_openat, path: "/new", at: 1, current, Int(O_CREAT | O_WRONLY), 0o600)
        Report.mustFail("make-directory", SYS_mkdirat, path: "/new", at: 1, current, 0o700)
        Report.mustFail("make-device", SYS_mknodat, path: "/new", at: 1, current, 0o20600, 0x103)
        Report.mustFail("make-link", SYS_symlinkat, path: "/new", at: 2, Int(bitPattern: 1), current)
        Report.mustFail("remove-root", SYS_unlinkat, path: "/", at: 1, current, 0x200)
        Report.mustFail("find-own-program", SYS_readlinkat, path: "/proc/self/exe", at: 1, current, 0, 0)
        Report.mustFail("run-shell", SYS_execve, path: "/bin/sh", at: 0, 0, 0)
        Report.mustFail("open-by-handle", SYS_open_by_handle_at, -100, 0, Int(O_RDONLY))
    }
}
