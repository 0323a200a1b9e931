import Glibc
import Platform
import Sandbox
import Supervisor
import SystemPackage

/// One thing that a mount needs of the machine.
struct HostCheck {
    enum Verdict: String {
        case good
        /// Mounts work, with less.
        case limited
        /// Mounts don't work.
        case missing
    }

    let name: String
    let verdict: Verdict
    /// What was found.
    let found: String
    /// What to do; nil: nothing.
    var advice: String?
}

/// All of them. Where something can be tried, it is tried: what a setting promises is not always what the kernel does.
enum HostChecks {
    static func run() -> [HostCheck] {
        [
            kernel, fuseDevice, fuseHelper, userNamespaces, seccomp, landlock, sealedMemory, sandbox, programs,
            remoteDisks, controlDirectory, descriptors, mountHelpers, deadMounts,
        ]
    }

    private static func text(_ path: String) -> String? {
        guard let text = try? SystemCall.smallFile(path) else { return nil }
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }

    private static var kernel: HostCheck {
        let version = KernelRelease.current.version
        let found = "Linux \(KernelRelease.current.text)"
        if version < (5, 13) {
            return HostCheck(
                name: "kernel", verdict: .missing, found: found, advice: "Linux 5.13 or later is needed (landlock).")
        }
        if version < (6, 9) {
            return HostCheck(
                name: "kernel", verdict: .limited, found: found,
                advice:
                    "Before Linux 6.9 FUSE can't hand requests out again: what is in flight when the router dies is lost."
            )
        }
        return HostCheck(name: "kernel", verdict: .good, found: found)
    }

    private static var fuseDevice: HostCheck {
        let name = "FUSE"
        do throws(Errno) {
            _ = try SystemCall.open("/dev/fuse", O_RDWR)
            return HostCheck(name: name, verdict: .good, found: "/dev/fuse can be opened")
        } catch .noSuchFileOrDirectory {
            return HostCheck(
                name: name, verdict: .missing, found: "there is no /dev/fuse",
                advice: "Load the module: modprobe fuse. In a container, pass the device through: --device /dev/fuse.")
        } catch .permissionDenied {
            return HostCheck(
                name: name, verdict: .missing, found: "/dev/fuse may not be opened",
                advice: "Its mode is usually 0666: chmod 0666 /dev/fuse, or join its group.")
        } catch {
            return HostCheck(
                name: name, verdict: .missing, found: "/dev/fuse: \(error)",
                advice: "In a container the device has to be allowed: --device /dev/fuse.")
        }
    }

    private static var fuseHelper: HostCheck {
        let name = "fusermount3"
        let path = ["/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"].first {
            SystemCall.exists($0)
        }
        if geteuid() == 0 {
            return HostCheck(name: name, verdict: .good, found: path ?? "not installed; root mounts without it")
        }
        guard let path, let status = try? SystemCall.statusAt(AT_FDCWD, path) else {
            return HostCheck(
                name: name, verdict: .missing, found: "not installed",
                advice: "Ordinary users mount through it: apt-get install fuse3.")
        }
        guard status.st_mode & 0o4000 != 0, status.st_uid == 0 else {
            return HostCheck(
                name: name, verdict: .missing, found: "\(path) is not set-user-id root",
                advice: "chown root \(path) && chmod 4755 \(path), or install the package fuse3 again.")
        }
        return HostCheck(name: name, verdict: .good, found: path)
    }

    private static var userNamespaces: HostCheck {
        let name = "user namespaces"
        if text("/proc/sys/user/max_user_namespaces") == "0" {
            return HostCheck(
                name: name, verdict: .missing, found: "none are allowed",
                advice: "sysctl user.max_user_namespaces=10000")
        }
        if geteuid() != 0, text("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
            return HostCheck(
                name: name, verdict: .missing, found: "root's alone",
                advice: "sysctl kernel.unprivileged_userns_clone=1, or mount as root.")
        }
        if geteuid() != 0, text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
            return HostCheck(
                name: name, verdict: .missing, found: "restricted by AppArmor",
                advice: "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or mount as root.")
        }
        return HostCheck(name: name, verdict: .good, found: "allowed")
    }

    private static var seccomp: HostCheck {
        let actions = text("/proc/sys/kernel/seccomp/actions_avail") ?? ""
        let has = Set(actions.split(separator: " "))
        guard has.isSuperset(of: ["errno", "kill_process", "allow"]) else {
            return HostCheck(
                name: "seccomp", verdict: .missing, found: actions.isEmpty ? "not in this kernel" : actions,
                advice: "A kernel with CONFIG_SECCOMP_FILTER is needed.")
        }
        return HostCheck(name: "seccomp", verdict: .good, found: "filters")
    }

    private static var landlock: HostCheck {
        let version = SandboxFeatures.landlockVersion
        guard version >= 1 else {
            return HostCheck(
                name: "landlock", verdict: .missing, found: "not there, or switched off",
                advice: "Start the kernel with landlock in its list of security modules: lsm=landlock,...")
        }
        if version < 4 {
            return HostCheck(
                name: "landlock", verdict: .limited, found: "version \(version)",
                advice: "From version 4 (Linux 6.7) on it guards TCP, too; until then the network namespace alone does."
            )
        }
        return HostCheck(name: "landlock", verdict: .good, found: "version \(version)")
    }

    private static var sealedMemory: HostCheck {
        do throws(Errno) {
            let memory = try SharedMemory.create(name: "doctor", byteCount: 4096)
            try SharedMemory.addSeals(memory.rawValue, [.futureWrite, .seal])
            return HostCheck(name: "sealed memory", verdict: .good, found: "memfd with F_SEAL_FUTURE_WRITE")
        } catch {
            return HostCheck(
                name: "sealed memory", verdict: .missing, found: "\(error)",
                advice: "Linux 5.1 or later is needed, and a seccomp filter around us must allow memfd_create.")
        }
    }

    /// Starts a scheme's program in a sandbox as a mount would; without a supervisor it ends with status 78.
    private static var sandbox: HostCheck {
        let name = "sandbox"
        guard let program = ProgramLocator.find("scheme-small") ?? ProgramLocator.find("scheme-disk") else {
            return HostCheck(name: name, verdict: .limited, found: "no program to try it with")
        }
        do {
            let end = try end(of: program, in: .plain("doctor"))
            guard end == .exited(78) else {
                return HostCheck(
                    name: name, verdict: .missing, found: "a program in it ended with \(end)",
                    advice: "Limits around us (a container's seccomp filter, cgroups) may be the cause.")
            }
            return HostCheck(name: name, verdict: .good, found: "a program runs in it")
        } catch {
            return HostCheck(
                name: name, verdict: .missing, found: "\(error)",
                advice: "In a container: --security-opt seccomp=unconfined, or mount on the host.")
        }
    }

    private static func end(of program: String, in manifest: Manifest) throws -> ProcessEnd {
        let sandbox = try Sandbox(manifest, executablePath: program, index: 0xFFFF)
        let null = try SystemCall.open("/dev/null", O_RDWR)
        return try sandbox.run(descriptors: [null.rawValue, null.rawValue, null.rawValue]).waitForEnd()
    }

    /// The process of remote disks is the only one that needs libraries of the system's.
    private static var remoteDisks: HostCheck {
        let name = "remote disks"
        let program = "scheme-disk-nbd"
        guard let path = ProgramLocator.find(program) else {
            return HostCheck(name: name, verdict: .limited, found: "\(program) not found: only local images")
        }
        let found: String
        do {
            let end = try end(of: path, in: .remoteDisk)
            if end == .exited(78) { return HostCheck(name: name, verdict: .good, found: "\(program) starts") }
            found = "\(program) ended with \(end)"
        } catch {
            found = "\(error)"
        }
        return HostCheck(
            name: name, verdict: .limited, found: found,
            advice: "It needs libnbd under /lib or /usr/lib: apt install libnbd0. Local images work without.")
    }

    private static var programs: HostCheck {
        let needed = ["saltbridge-supervisor", "saltbridge-router", "scheme-disk", "scheme-file"]
        let missing = needed.filter { ProgramLocator.find($0) == nil }
        guard missing.isEmpty else {
            return HostCheck(
                name: "programs", verdict: .missing, found: "\(missing.joined(separator: ", ")) not found",
                advice: "They belong beside this program, or under libexec/saltbridge: swift build makes all.")
        }
        return HostCheck(name: "programs", verdict: .good, found: "all there")
    }

    private static var controlDirectory: HostCheck {
        do throws(Errno) {
            return HostCheck(name: "control sockets", verdict: .good, found: try ControlDirectory.make())
        } catch {
            return HostCheck(
                name: "control sockets", verdict: .missing, found: "\(ControlDirectory.path): \(error)",
                advice: "Its parent must be there and yours, it must belong to you: set XDG_RUNTIME_DIR, or remove it.")
        }
    }

    private static var descriptors: HostCheck {
        var limit = rlimit()
        _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        if limit.rlim_max < 1024 {
            return HostCheck(
                name: "open files", verdict: .missing, found: "at most \(limit.rlim_max)",
                advice: "The router wants 1024: ulimit -Hn 4096, or LimitNOFILE= of the service.")
        }
        return HostCheck(name: "open files", verdict: .good, found: "at most \(limit.rlim_max)")
    }

    /// The names under which mount(8) and umount(8) run this program.
    private static var mountHelpers: HostCheck {
        let missing = ["mount.fuse.saltbridge", "umount.fuse.saltbridge"].filter { !SystemCall.exists("/sbin/\($0)") }
        guard missing.isEmpty else {
            return HostCheck(
                name: "mount helpers", verdict: .limited, found: "no /sbin/\(missing.joined(separator: ", "))",
                advice: "fstab and mount(8) want them: "
                    + "ln -s \(ProgramLocator.own) /sbin/\(missing[0])")
        }
        return HostCheck(name: "mount helpers", verdict: .good, found: "in /sbin")
    }

    /// Where mounts are that nobody serves.
    static var deadMountpoints: [String] {
        let lines = (text("/proc/self/mounts") ?? "").split(separator: "\n").map { $0.split(separator: " ") }
        return lines.filter { $0.count > 2 && $0[2] == "fuse.saltbridge" }.map { String($0[1]) }.filter { path in
            do throws(Errno) {
                _ = try SystemCall.statusAt(AT_FDCWD, path)
                return false
            } catch {
                return error == Errno(rawValue: ENOTCONN)
            }
        }
    }

    private static var deadMounts: HostCheck {
        let dead = deadMountpoints
        guard dead.isEmpty else {
            return HostCheck(
                name: "mounts", verdict: .limited, found: "\(dead.joined(separator: ", ")): nobody serves it any more",
                advice: "saltbridge unmount --lazy \(dead[0])")
        }
        return HostCheck(name: "mounts", verdict: .good, found: "none is left behind")
    }
}
