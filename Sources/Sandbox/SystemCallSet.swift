import CLinux
import Glibc

/// Groups of system calls that a server needs once it serves. A manifest names the groups; `SeccompProgram` knows the calls.
public struct SystemCallSet: OptionSet, Sendable, Hashable {
    /// One bit for each group.
    public let rawValue: UInt32
    /// From bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Memory without execute permission, threads, futexes, clocks, reading and writing descriptors that are open: all
    /// that a server needs which only talks to channels.
    public static let base = SystemCallSet(rawValue: 1 << 0)
    /// Making channels to other schemes: memory files and event descriptors.
    public static let channels = SystemCallSet(rawValue: 1 << 1)
    /// Positioned I/O, flush, discard and size of files and block devices that are open.
    public static let storage = SystemCallSet(rawValue: 1 << 2)
    /// Sockets.
    public static let network = SystemCallSet(rawValue: 1 << 3)
    /// What the router needs for /dev/fuse.
    public static let fuse = SystemCallSet(rawValue: 1 << 4)
    /// Opening files; landlock and the root decide which.
    public static let files = SystemCallSet(rawValue: 1 << 5)

    /// Moving bytes between stream sockets that are open already and pipes.
    public static let streams = SystemCallSet(rawValue: 1 << 6)

    /// Sending and receiving on sockets that are connected already.
    public static let connected = SystemCallSet(rawValue: 1 << 7)

    private static let names: [(String, SystemCallSet)] = [
        ("base", .base), ("channels", .channels), ("storage", .storage), ("network", .network), ("fuse", .fuse),
        ("files", .files), ("streams", .streams), ("connected", .connected),
    ]

    /// The names of the groups, separated by commas: how a server is told.
    public var text: String {
        Self.names.filter { contains($0.1) }.map(\.0).joined(separator: ",")
    }

    /// From names separated by commas; nil if one is unknown.
    public init?(text: String) {
        var result: SystemCallSet = []
        for part in text.split(separator: ",") {
            guard let known = Self.names.first(where: { $0.0 == part }) else { return nil }
            result.formUnion(known.1)
        }
        self = result
    }
}

/// One system call of an allow-list: its number and what its arguments must be.
struct SystemCallRule: Equatable {
    /// A test of the low 32 bits of an argument: `argument & mask == value`.
    struct Test: Equatable {
        let argument: Int
        let mask: UInt32
        let value: UInt32
    }

    let number: Int
    let test: Test?

    init(_ number: Int32, where test: Test? = nil) {
        self.number = Int(number)
        self.test = test
    }
}

extension SystemCallSet {
    /// The calls of all groups in the set.
    var rules: [SystemCallRule] {
        var result: [SystemCallRule] = []
        if contains(.base) { result += Self.baseRules }
        if contains(.channels) { result += Self.plain([SYS_memfd_create, SYS_ftruncate, SYS_fcntl, SYS_eventfd2]) }
        if contains(.storage) {
            result += Self.plain([
                SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_fsync, SYS_fdatasync,
                SYS_fallocate, SYS_ftruncate, SYS_lseek, SYS_ioctl, SYS_sync_file_range, SYS_fcntl, SYS_statx,
                SYS_fadvise64,
            ])
        }
        if contains(.network) {
            result += Self.plain([
                SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept4, SYS_accept, SYS_sendto, SYS_recvfrom,
                SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_shutdown, SYS_sendmmsg,
                SYS_recvmmsg,
                SYS_ioctl, SYS_fcntl,
            ])
        }
        if contains(.streams) {
            result += Self.plain([SYS_pipe2, SYS_splice, SYS_shutdown])
            result.append(SystemCallRule(SYS_ioctl, where: .init(argument: 1, mask: .max, value: UInt32(FIONREAD))))
        }
        if contains(.connected) {
            result += Self.plain([SYS_sendto, SYS_recvfrom, SYS_shutdown, SYS_getsockopt, SYS_fcntl])
        }
        if contains(.fuse) {
            result += Self.plain([
                SYS_ioctl, SYS_fcntl, SYS_readv, SYS_pipe2, SYS_splice, SYS_vmsplice, SYS_tee, SYS_mlock, SYS_mlock2,
                SYS_mlockall, SYS_munlock, SYS_munlockall, SYS_getuid, SYS_getgid, SYS_geteuid, SYS_getegid,
            ])
        }
        if contains(.files) {
            result += Self.plain([
                SYS_openat, SYS_newfstatat, SYS_statx, SYS_getdents64, SYS_readlinkat, SYS_faccessat, SYS_pread64,
                SYS_lseek, SYS_fcntl,
            ])
        }
        return result
    }

    private static func plain(_ numbers: [Int32]) -> [SystemCallRule] {
        numbers.map { SystemCallRule($0) }
    }

    private static var baseRules: [SystemCallRule] {
        let isNotExecutable: (Int) -> SystemCallRule.Test = {
            SystemCallRule.Test(argument: $0, mask: UInt32(PROT_EXEC), value: 0)
        }
        // A thread of this process, never a new one: CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, and none of CLONE_NEW*.
        let thread: UInt32 = 0x100 | 0x800 | 0x10000
        let namespaces: UInt32 = 0x0002_0000 | 0x7E00_0000 | 0x80
        var result = plain([
            SYS_read, SYS_write, SYS_writev, SYS_close, SYS_sendmsg, SYS_recvmsg, SYS_ppoll, SYS_epoll_create1,
            SYS_epoll_ctl, SYS_epoll_pwait, SYS_fstat, SYS_futex, SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk,
            SYS_exit,
            SYS_exit_group, SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday,
            SYS_restart_syscall, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_sigaltstack, SYS_getrandom,
            SYS_sched_yield, SYS_sched_getaffinity, SYS_gettid, SYS_getpid, SYS_tgkill, SYS_set_robust_list, SYS_rseq,
            SYS_membarrier, SYS_getcpu,
        ])
        #if arch(x86_64)
            result += plain([SYS_poll, SYS_epoll_wait])
        #endif
        // fstat(3) of the C library: of a descriptor (AT_EMPTY_PATH).
        result.append(SystemCallRule(SYS_newfstatat, where: .init(argument: 3, mask: 0x1000, value: 0x1000)))
        result.append(SystemCallRule(SYS_mmap, where: isNotExecutable(2)))
        result.append(SystemCallRule(SYS_mprotect, where: isNotExecutable(2)))
        result.append(
            SystemCallRule(SYS_clone, where: .init(argument: 0, mask: thread | namespaces, value: thread)))
        // Which processors the calling thread itself may use.
        result.append(
            SystemCallRule(SYS_sched_setaffinity, where: .init(argument: 0, mask: .max, value: 0)))
        // The name of a thread: PR_SET_NAME, PR_SET_VMA (the C library names its mappings).
        result.append(SystemCallRule(SYS_prctl, where: .init(argument: 0, mask: .max, value: UInt32(PR_SET_NAME))))
        return result
    }
}
