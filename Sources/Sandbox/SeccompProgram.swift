import CLinux
import Glibc
import Platform
import SystemPackage

/// A filter for system calls, as the kernel takes it (seccomp(2)): classic BPF over `struct seccomp_data`.
///
/// What is not allowed fails with EPERM; clone3 fails with ENOSYS, because its flags lie in memory where no filter can
/// look: the C library falls back to clone. Calls of another architecture or of the x32 ABI end the process.
public struct SeccompProgram: Sendable, Equatable {
    /// The instructions, `struct sock_filter` as little-endian numbers: code, jump true, jump false, value.
    public private(set) var instructions: [UInt64] = []

    private static let loadWord: UInt16 = 0x20
    private static let andConstant: UInt16 = 0x54
    private static let jumpEqual: UInt16 = 0x15
    private static let jumpGreaterOrEqual: UInt16 = 0x35
    private static let returnConstant: UInt16 = 0x06

    /// Where things are in `struct seccomp_data`.
    private enum Place {
        static let number: UInt32 = 0
        static let architecture: UInt32 = 4
        /// The low half of an argument, on little-endian machines.
        static func argument(_ index: Int) -> UInt32 { UInt32(16 + 8 * index) }
    }

    /// Numbers from here on are calls of the x32 ABI.
    private static let firstForeignNumber: UInt32 = 0x4000_0000
    /// CLONE_NEW*, but CLONE_NEWTIME, whose bit clone(2) has for the signal.
    private static let newNamespaces: UInt32 = 0x7E02_0080

    private static let allow: UInt32 = 0x7FFF_0000
    private static let killProcess: UInt32 = 0x8000_0000
    private static func fail(_ code: Int32) -> UInt32 { 0x0005_0000 | UInt32(code) }

    #if arch(x86_64)
        private static let architecture: UInt32 = 0xC000_003E
    #elseif arch(arm64)
        private static let architecture: UInt32 = 0xC000_00B7
    #endif

    /// The filter of a server that serves: only these calls.
    public init(allowing set: SystemCallSet) {
        begin()
        refuse(SYS_clone3, with: ENOSYS)
        refuseOwnHeaders()
        var seen: Set<Int> = []
        for rule in set.rules where seen.insert(rule.number).inserted { append(rule) }
        emit(Self.returnConstant, Self.fail(EPERM))
    }

    /// The filter under which a server starts: all calls but those that no server needs and that reach out of the sandbox.
    public static let start: SeccompProgram = {
        var program = SeccompProgram()
        program.begin()
        program.refuse(SYS_clone3, with: ENOSYS)
        for number in forbiddenNumbers { program.refuse(number, with: EPERM) }
        // clone with any of CLONE_NEW*.
        program.emit(loadWord, Place.number)
        program.emit(jumpEqual, UInt32(SYS_clone), 0, 4)
        program.emit(loadWord, Place.argument(0))
        program.emit(andConstant, newNamespaces)
        program.emit(jumpEqual, 0, 1, 0)
        program.emit(returnConstant, fail(EPERM))
        program.emit(returnConstant, allow)
        return program
    }()

    private init() {}

    static let forbiddenNumbers: [Int32] = [
        SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig,
        SYS_fsmount, SYS_fspick, SYS_unshare, SYS_setns, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
        SYS_kcmp, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_kexec_load, SYS_init_module, SYS_finit_module,
        SYS_delete_module, SYS_bpf, SYS_perf_event_open, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_userfaultfd,
        SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_open_by_handle_at, SYS_name_to_handle_at,
        SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_syslog, SYS_settimeofday, SYS_clock_settime,
        SYS_adjtimex, SYS_clock_adjtime, SYS_sethostname, SYS_setdomainname, SYS_vhangup, SYS_personality,
        SYS_fanotify_init, SYS_setpriority, SYS_migrate_pages, SYS_move_pages, SYS_mbind, SYS_set_mempolicy,
    ]

    private mutating func begin() {
        emit(Self.loadWord, Place.architecture)
        emit(Self.jumpEqual, Self.architecture, 1, 0)
        emit(Self.returnConstant, Self.killProcess)
        emit(Self.loadWord, Place.number)
        #if arch(x86_64)
            // The x32 ABI: the same architecture, other numbers.
            emit(Self.jumpGreaterOrEqual, Self.firstForeignNumber, 0, 1)
            emit(Self.returnConstant, Self.killProcess)
        #endif
    }

    private mutating func append(_ rule: SystemCallRule) {
        guard let test = rule.test else {
            emit(Self.jumpEqual, UInt32(rule.number), 0, 1)
            emit(Self.returnConstant, Self.allow)
            return
        }
        emit(Self.jumpEqual, UInt32(rule.number), 0, 5)
        emit(Self.loadWord, Place.argument(test.argument))
        emit(Self.andConstant, test.mask)
        emit(Self.jumpEqual, test.value, 0, 1)
        emit(Self.returnConstant, Self.allow)
        emit(Self.returnConstant, Self.fail(EPERM))
    }

    /// Options of a raw socket that whoever was given one for echoes must not set: headers of its own, and with them other protocols
    /// and senders; how far its multicasts go, as neighbours believe an ICMPv6 message only if no router can have passed it on.
    private static let refusedOptions: [(level: Int32, name: Int32)] = [
        (Int32(IPPROTO_IP), IP_HDRINCL), (Int32(IPPROTO_IPV6), ipv6HeaderIncluded),
        (Int32(IPPROTO_IPV6), IPV6_MULTICAST_HOPS),
    ]
    /// IPV6_HDRINCL, which the C library doesn't name.
    private static let ipv6HeaderIncluded: Int32 = 36

    private mutating func refuseOwnHeaders() {
        let testLength = 5
        emit(Self.jumpEqual, UInt32(SYS_setsockopt), 0, UInt8(testLength * Self.refusedOptions.count))
        for (level, name) in Self.refusedOptions {
            emit(Self.loadWord, Place.argument(1))
            emit(Self.jumpEqual, UInt32(bitPattern: level), 0, 3)
            emit(Self.loadWord, Place.argument(2))
            emit(Self.jumpEqual, UInt32(bitPattern: name), 0, 1)
            emit(Self.returnConstant, Self.fail(EPERM))
        }
        // The number again, for the rules.
        emit(Self.loadWord, Place.number)
    }

    private mutating func refuse(_ number: Int32, with code: Int32) {
        emit(Self.jumpEqual, UInt32(bitPattern: number), 0, 1)
        emit(Self.returnConstant, Self.fail(code))
    }

    private mutating func emit(_ code: UInt16, _ value: UInt32, _ jumpTrue: UInt8 = 0, _ jumpFalse: UInt8 = 0) {
        instructions.append(
            UInt64(code) | UInt64(jumpTrue) << 16 | UInt64(jumpFalse) << 24 | UInt64(value) << 32)
    }

    /// Puts the filter on all threads of this process. It can't be taken off.
    public func install() throws(Errno) {
        guard let count = UInt16(exactly: instructions.count) else { throw Errno(rawValue: E2BIG) }
        try SystemCall.retrying { unsafe clinux_install_filter(instructions, count) }
    }
}
