import Glibc
import Platform
import Sandbox
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// A mount as its user sees it: several file systems, restarts, new programs, what goes wrong.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct SystemTests {
    @Test func severalFileSystemsInOneMount() throws {
        let mount = try ToolMount()
        let home = mount.folder.file("home.img")
        try mount.succeed("mkfs", home, "--size", "32M")
        try mount.mount("--also", "home=\(home)")
        try mount.write("file/a", "first")
        try mount.write("file.home/a", "second")
        try mount.ask("crash", "file.home")
        #expect(try mount.read("file/a") == "first")
        #expect(try mount.read("file.home/a") == "second")
        // One can't be moved into the other by a rename.
        let (from, to) = (mount.path("file/a"), mount.path("file.home/b"))
        #expect(unsafe rename(from, to) == -1 && errno == EXDEV)
        try mount.unmount()
        for image in [mount.image, home] { #expect(try mount.run(["fsck", image]).status == 0) }
        #expect(try mount.run(["cat", home, "/a"]).text == "second")
    }

    @Test func imageIsMountedOnceAndTheErrorNamesTheHolder() throws {
        let mount = try ToolMount()
        try mount.mount()
        let second = mount.folder.file("second")
        _ = unsafe mkdir(second, 0o755)
        let result = try mount.run(["mount", mount.image, second])
        #expect(result.status == 1)
        #expect(result.errors.contains(mount.image))
        #expect(result.errors.contains(mount.point) || result.errors.contains("process"), "\(result.errors)")
        #expect(try mount.run(["fsck", "--repair", mount.image]).status != 0)
    }

    @Test func readOnlyImageStaysAsItIs() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        try mount.write("kept", "as it is")
        try mount.unmount()
        let before = try SHA256.of(bytes(mount.image))
        try mount.mount("--root", "file", "--read-only")
        #expect(try mount.read("kept") == "as it is")
        let path = mount.path("new")
        unsafe #expect(mkdir(path, 0o755) == -1 && errno == EROFS)
        unsafe #expect(open(path, O_CREAT | O_WRONLY, 0o644) == -1 && errno == EROFS)
        unsafe #expect(unlink(mount.path("kept")) == -1 && errno == EROFS)
        try mount.unmount()
        #expect(try SHA256.of(bytes(mount.image)) == before)
    }

    /// A scheme that died too often is offline: ENODEV at once, others don't notice, `restart` brings it back.
    @Test func offlineSchemeComesBack() throws {
        var small = MemberConfiguration(
            name: "small", executablePath: try MountFolder.program("scheme-small"), manifest: .plain("small"))
        small.isEssential = false
        let system = try MountedSystem { configuration in
            configuration.schemes.append(small)
            configuration.router?.settings = []
            // However slowly the test kills it, it dies too often.
            configuration.policy.deathLimit = 4
            configuration.policy.stableAfter = .max
        }
        while try system.state("small") != "offline" {
            // A start that is cut short is no death: the next one would wait.
            let pid = try MountedSystem.pid("small", system.client, isServing: true)
            if let pid, pid > 1 { kill(pid, SIGKILL) }
        }
        let zero = "\(system.root)/small/zero"
        unsafe #expect(open(zero, O_RDONLY) == -1 && errno == ENODEV)
        let other = try SystemCall.open("\(system.root)/file/other", O_CREAT | O_WRONLY, mode: 0o644)
        try SystemCall.write(text: "goes on", to: other.rawValue)
        try other.close()
        #expect(try SystemCall.smallFile("\(system.root)/file/other") == "goes on")
        _ = try system.client.ask(.make(["command": .string("restart"), "scheme": .string("small")]))
        let file = try SystemCall.open(zero, O_RDONLY)
        var byte: UInt8 = 1
        #expect(unsafe read(file.rawValue, &byte, 1) == 1 && byte == 0)
        try file.close()
        try system.end()
    }

    /// A request that kills its server each time gets EIO after two deaths; the next ones are answered.
    @Test func deadlyRequestIsQuarantined() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file", "-o", "file.crash=operation,file.operation=symlink")
        try mount.write("before", "1")
        let path = mount.path("deadly")
        unsafe #expect(symlink("target", path) == -1 && errno == EIO)
        try mount.write("after", "2")
        #expect(try mount.read("before") == "1" && mount.read("after") == "2")
        #expect(try mount.process("file")["deaths"]?.integer ?? 0 >= 2)
    }

    @Test func programsAreReplacedWhileFilesAreOpen() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        let file = try SystemCall.open(mount.path("open"), O_CREAT | O_RDWR, mode: 0o644)
        try SystemCall.write(text: "before ", to: file.rawValue)
        let old = try mount.process("router")["incarnation"]?.integer ?? 0
        try mount.ask("upgrade")
        try SystemCall.write(text: "after", to: file.rawValue)
        #expect(try mount.read("open") == "before after")
        for name in ["router", "file", "disk"] {
            #expect(try mount.process(name)["incarnation"]?.integer == old + 1, "\(name)")
            #expect(try mount.process(name)["deaths"]?.integer == 0, "\(name)")
        }
    }

    /// The socket's file goes with the mount. If its supervisor was killed it stays, and the next one takes it over, but no file of
    /// another kind.
    @Test func viewersSocketGoesWithTheMount() throws {
        let mount = try ToolMount()
        let socket = mount.folder.file("web")
        for isKilled in [false, true, false] {
            try mount.mount("-o", "display.web=\(socket)")
            let view = try mount.run(["view", mount.point, "--web", "--print"])
            #expect(view.status == 1 && view.errors.contains("Unix socket"), "\(view.text) \(view.errors)")
            let second = try ToolMount()
            #expect(try second.run(["mount", second.image, second.point, "-o", "display.web=\(socket)"]).status == 1)
            if isKilled {
                let supervisor = try mount.supervisor()
                let process = try SystemCall.openProcess(supervisor)
                #expect(kill(supervisor, SIGKILL) == 0)
                var entries = [pollfd(fd: process.rawValue, events: Int16(POLLIN), revents: 0)]
                _ = try SystemCall.poll(&entries, milliseconds: -1)
                while mount.isMounted { usleep(10_000) }
            } else {
                try mount.unmount()
            }
            #expect(SystemCall.exists(socket) == isKilled)
        }
        let file = mount.folder.file("file")
        try SystemCall.open(file, O_CREAT | O_WRONLY, mode: 0o644).close()
        #expect(try mount.run(["mount", mount.image, mount.point, "-o", "display.web=\(file)"]).status == 1)
        #expect(SystemCall.exists(file))
    }

    /// Why the system's folder of programs can't be covered by another one for a test, or nil.
    private static let overlayObstacle: Comment? = {
        if !SystemCall.exists("/usr/bin/unshare") { return "no /usr/bin/unshare" }
        let script = """
            mkdir "$1/top" && mount -t tmpfs none "$1/top" && mkdir "$1/top/u" "$1/top/w" \
                && mount -t overlay none -o "lowerdir=/usr/bin,upperdir=$1/top/u,workdir=$1/top/w" /usr/bin
            """
        let status = try? {
            let folder = try TemporaryDirectory()
            return try BuiltProgram(path: "/usr/bin/unshare").run(
                ["-m", "--propagation", "private", "/bin/bash", "-c", script, "bash", folder.path], in: folder
            ).status
        }()
        return status == 0 ? nil : "overlayfs can't be mounted"
    }()

    /// What isn't there, or no directory, is said at once.
    @Test func badMountsAreRefused() throws {
        let mount = try ToolMount()
        #expect(try mount.host("/usr/bin/touch", mount.folder.file("plain")).status == 0)
        let plain = try mount.run(["mount", mount.image, mount.folder.file("plain")])
        #expect(plain.status == 1 && plain.errors.contains("is no directory"), "\(plain.errors)")
        let root = try mount.run(["mount", mount.image, mount.point, "--root", "nosuch"])
        #expect(root.status == 1 && root.errors.contains("no scheme nosuch"), "\(root.errors)")
        let log = try mount.run(["mount", mount.image, mount.point, "--log", "/nowhere/log"])
        #expect(log.status == 1 && log.errors.contains("/nowhere/log"), "\(log.errors)")
    }

    /// Others than the owner are let in by a file's mode, in every scheme: not all of them know access lists.
    @Test func othersAreLetInByTheMode() throws {
        let mount = try ToolMount()
        try mount.mount()
        _ = unsafe chmod(mount.folder.path, 0o755)
        let script = """
            set -e
            cd "$1"
            echo x > small/null
            cat small/time
            ! cat display/0/size 2>&1 >/dev/null | grep -v denied
            ls small pipe display disk file sys
            ! ls network 2>/dev/null
            ! ls file/private 2>/dev/null
            """
        try #require(unsafe mkdir(mount.path("file/private"), 0o700) == 0)
        let result = try BuiltProgram(path: "/usr/bin/setpriv").run(
            [
                "--reuid", "65534", "--regid", "65534", "--clear-groups", "/bin/bash", "-c", script, "bash",
                mount.point,
            ], in: mount.folder)
        #expect(result.status == 0, "\(result.text) \(result.errors)")
    }

    /// mount(8) finds the helper in /sbin: made visible there in a mount namespace of its own.
    @Test(.enabled(if: SystemTests.overlayObstacle == nil, SystemTests.overlayObstacle))
    func mountOfTheSystemAndFstab() throws {
        let mount = try ToolMount()
        let script = """
            set -e
            # Nobody has a lock on the image: umount(8) waited for the last process of the mount.
            free() { ! grep -q ":$(stat -c %i "$1") " /proc/locks; }
            mkdir -p /run/mount
            mount -t tmpfs none /run/mount
            mkdir \(mount.folder.path)/upper \(mount.folder.path)/work
            mount -t tmpfs none \(mount.folder.path)/upper
            mkdir \(mount.folder.path)/upper/u \(mount.folder.path)/upper/w
            sbin=$(readlink -f /sbin)
            mount -t overlay none -o lowerdir=$sbin,upperdir=\(mount.folder.path)/upper/u,workdir=\(mount.folder.path)/upper/w $sbin
            ln -s "$1" $sbin/mount.fuse.saltbridge
            ln -s "$1" $sbin/umount.fuse.saltbridge
            mount -t fuse.saltbridge -o noatime,nosuid,noexec "$2" "$3"
            echo text > "$3/file"
            grep " $3 fuse.saltbridge " /proc/mounts | grep -q nosuid
            mount -o remount,suid,exec "$3"
            if grep " $3 fuse.saltbridge " /proc/mounts | grep -q -e nosuid -e noexec; then exit 1; fi
            mount -o remount,ro "$3"
            if touch "$3/other" 2>/dev/null; then exit 1; fi
            mount -o remount,rw "$3"
            umount "$3"
            free "$2"
            printf '%s %s fuse.saltbridge rw,noauto,x-saltbridge 0 0\\n' "$2" "$3" > \(mount.folder.path)/fstab
            mount -T \(mount.folder.path)/fstab "$3"
            grep -q text "$3/file"
            dd if=/dev/urandom of="$3/other" bs=1M count=8 status=none
            umount "$3"
            free "$2"
            # An image that was opened only to be read stays so: the kernel alone would take the change, and every write would fail.
            mount -t fuse.saltbridge -o ro "$2" "$3"
            mount -o remount,nodev "$3"
            if mount -o remount,rw "$3" 2> \(mount.folder.path)/refusal; then exit 1; fi
            grep -q "opened only to be read" \(mount.folder.path)/refusal
            grep " $3 fuse.saltbridge " /proc/mounts | grep -q " ro,"
            umount "$3"
            # What umount(8) calls lazy: who has files open goes on.
            mount -T \(mount.folder.path)/fstab "$3"
            exec 5> "$3/lazy"
            echo before >&5
            umount -l "$3"
            if mountpoint -q "$3"; then exit 1; fi
            echo after >&5
            exec 5>&-
            until free "$2"; do sleep 0.05; done
            test "$("$1" cat "$2" /lazy)" = "$(printf 'before\\nafter')"
            """
        let program = try BuiltProgram.saltbridge().path
        let result = try BuiltProgram(path: "/usr/bin/unshare").run(
            ["-m", "--propagation", "private", "/bin/bash", "-c", script, "bash", program, mount.image, mount.point],
            in: mount.folder)
        #expect(result.status == 0, "\(result.text) \(result.errors)")
        #expect(try mount.run(["fsck", mount.image]).status == 0)
        #expect(try mount.run(["ls", mount.image, "/"]).text.contains("other"))
    }
}
