import Glibc
import Platform
import SystemPackage
import Testing

@testable import Supervisor

/// The programs as they are used: `saltbridge mkfs`, `mount`, `crash`, `unmount`, `fsck`, by root and by an ordinary user.
@Suite(.enabled(if: MountFixture.canMount)) struct MountTests {
    @Test(arguments: MountFixture.users)
    func filesSurviveTheDeathOfEveryProcess(user: UInt32) throws {
        let mount = try MountFixture(user: user)
        try mount.mount(["--root", "file"])
        try mount.write("greeting", "hello")
        for process in ["file", "disk", "router", "file"] {
            #expect(try mount.run(["crash", process, "--mount", mount.mountpoint]) == .exited(0))
            #expect(try mount.read("greeting") == "hello")
            try mount.write("after-\(process)", process)
        }
        for process in ["file", "disk", "router"] { #expect(try mount.read("after-\(process)") == process) }
        #expect(try mount.run(["unmount", mount.mountpoint]) == .exited(0))
        #expect(!mount.isMounted)
        #expect(try mount.run(["fsck", mount.image]) == .exited(0))
    }

    @Test(arguments: ["--exit", "--corrupt-reply", "--in=create"])
    func serverThatHarmsItselfIsReplaced(how: String) throws {
        let mount = try MountFixture(user: geteuid())
        try mount.mount(["--root", "file"])
        let crash = try mount.start(["crash", "file", "--mount", mount.mountpoint, how])
        // Goes on until the crash has happened: in a request of this kind, perhaps.
        var round = 0
        while true {
            round += 1
            try mount.write("file-\(round)", "\(round)")
            if case .ended(let end)? = try crash.nextChange() {
                #expect(end == .exited(0))
                break
            }
        }
        for number in 1...round { #expect(try mount.read("file-\(number)") == "\(number)") }
    }

    @Test func mountEndsWithItsSupervisor() throws {
        let mount = try MountFixture(user: geteuid())
        try mount.mount([])
        let pid = try mount.supervisor()
        kill(pid, SIGKILL)
        while mount.isMounted { usleep(10_000) }
    }

    @Test func signalEndsTheMountInGoodOrder() throws {
        let mount = try MountFixture(user: geteuid())
        try mount.mount(["--root", "file"])
        try mount.write("last", "words")
        kill(try mount.supervisor(), SIGTERM)
        while mount.isMounted { usleep(10_000) }
        // The image is free when its last process has ended.
        while try mount.run(["fsck", mount.image]) != .exited(0) { usleep(10_000) }
        try mount.mount(["--root", "file", "--read-only"])
        #expect(try mount.read("last") == "words")
        #expect(throws: Errno.self) { try mount.write("more", "words") }
    }

    @Test func imageIsMountedOnce() throws {
        let mount = try MountFixture(user: geteuid())
        try mount.mount([])
        let place = "\(mount.folder)/second"
        _ = unsafe mkdir(place, 0o755)
        #expect(try mount.run(["mount", mount.image, place]) == .exited(1))
        _ = unsafe rmdir(place)
    }

    /// Each user sees his own mounts (fusermount3 wants users that have names: daemon and bin), and `unmount --all` ends those.
    @Test(.enabled(if: MountFixture.users.count > 1)) func everyUserHasHisOwnMounts() throws {
        let (one, second) = (try MountFixture(user: 1), try MountFixture(user: 1))
        let other = try MountFixture(user: 2)
        for mount in [one, second, other] { try mount.mount([]) }
        let status = try one.shell("'\(try FakeSystem.program("saltbridge"))' status").output
        #expect(status.contains(one.mountpoint))
        #expect(try other.run(["unmount", one.mountpoint]) == .exited(1))
        #expect(try second.run(["unmount", second.mountpoint]) == .exited(0))
        #expect(try one.run(["unmount", "--all"]) == .exited(0))
        #expect(!one.isMounted && !second.isMounted)
        #expect(other.isMounted)
        #expect(try other.run(["unmount", "--all"]) == .exited(0))
        for user in [1, 2] { _ = unsafe rmdir("/tmp/saltbridge-\(user)") }
    }

    @Test func busyMountStaysUnlessForced() throws {
        let mount = try MountFixture(user: geteuid())
        try mount.mount(["--root", "file"])
        try mount.write("open", "file")
        do {
            let file = try SystemCall.open("\(mount.mountpoint)/open", O_RDONLY)
            #expect(try mount.run(["unmount", mount.mountpoint]) == .exited(1))
            #expect(try mount.read("open") == "file")
            _ = consume file
        }
        #expect(try mount.run(["unmount", mount.mountpoint]) == .exited(0))
    }

    @Test(.enabled(if: geteuid() == 0)) func mountHelperPutsTheFilesAtTheMountPoint() throws {
        let mount = try MountFixture(user: 0)
        #expect(
            try mount.run([mount.image, mount.mountpoint, "-o", "rw,noatime"], name: "mount.saltbridge") == .exited(0))
        try mount.write("a", "b")
        #expect(
            try mount.run([mount.image, mount.mountpoint, "-o", "remount,ro"], name: "mount.saltbridge") == .exited(0))
        #expect(throws: Errno.self) { try mount.write("c", "d") }
        #expect(try mount.run([mount.mountpoint], name: "umount.saltbridge") == .exited(0))
        #expect(!mount.isMounted)
    }
}

/// A folder with an image and a mount point, for one user; what is left is cleaned up.
final class MountFixture {
    let folder: String
    let image: String
    let mountpoint: String
    private let user: UInt32
    /// Where another user may open /dev/fuse, if the host's isn't for everybody.
    private let place: FusePlace?

    /// Root mounts by itself; others need a /dev/fuse that they may open, and fusermount3.
    static var canMount: Bool { mayOpenFuse(geteuid()) }

    /// Root, and an ordinary user if root can become one.
    static var users: [UInt32] {
        let tools = ["/usr/bin/setpriv", "/usr/bin/unshare", "/usr/bin/nsenter", "/usr/bin/fusermount3"]
        return geteuid() == 0 && tools.allSatisfy { SystemCall.exists($0) } ? [0, 65534] : [geteuid()]
    }

    private static func mayOpenFuse(_ user: UInt32) -> Bool {
        guard let status = try? SystemCall.statusAt(AT_FDCWD, "/dev/fuse") else { return false }
        if user == 0 { return true }
        return status.st_mode & 0o006 == 0o006 && SystemCall.exists("/usr/bin/fusermount3")
    }

    init(user: UInt32) throws {
        self.user = user
        folder = "/tmp/saltbridge-mount-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        image = "\(folder)/disk.img"
        mountpoint = "\(folder)/mnt"
        _ = unsafe mkdir(folder, 0o755)
        _ = unsafe mkdir(mountpoint, 0o755)
        _ = unsafe chown(folder, user, user)
        _ = unsafe chown(mountpoint, user, user)
        place = user == geteuid() || Self.mayOpenFuse(user) ? nil : try FusePlace("\(folder)/dev")
        guard try run(["mkfs", image, "--size", "32M"]) == .exited(0) else { throw Errno.ioError }
    }

    deinit {
        if isMounted { _ = try? run(["unmount", "--lazy", mountpoint]) }
        place?.end()
        for name in ["disk.img", "log", "second"] { _ = unsafe unlink("\(folder)/\(name)") }
        _ = unsafe rmdir(mountpoint)
        _ = unsafe rmdir(folder)
    }

    var isMounted: Bool {
        let process = place.map { "\($0.pid)" } ?? "self"
        let mounts = (try? SystemCall.smallFile("/proc/\(process)/mounts")) ?? ""
        return mounts.contains(" \(mountpoint) fuse.saltbridge ")
    }

    func mount(_ options: [String]) throws {
        guard try run(["mount", image, mountpoint, "--log", "\(folder)/log"] + options) == .exited(0) else {
            throw Errno.ioError
        }
    }

    func supervisor() throws -> Int32 {
        let found = ControlDirectory.sockets().compactMap { path -> Int32? in
            let answer = try? ControlClient(path: path).ask(.make(["command": "status"]))
            guard let status = answer?["status"], status["mountpoint"]?.string == mountpoint else { return nil }
            return status["pid"]?.integer.map { Int32($0) }
        }
        return try #require(found.first)
    }

    /// Runs the command line's program, under another name perhaps, as the fixture's user.
    func run(_ arguments: [String], name: String = "saltbridge") throws -> ProcessEnd {
        try start(arguments, name: name).waitForEnd()
    }

    func start(_ arguments: [String], name: String = "saltbridge") throws -> ChildProcess {
        let path = try FakeSystem.program("saltbridge")
        let prefix = becoming
        let program = try SystemCall.openPath(prefix.first ?? path)
        let null = try SystemCall.open("/dev/null", O_RDWR)
        return try ProcessPlan(
            executable: program.rawValue, arguments: (prefix.isEmpty ? [name] : prefix + [path]) + arguments,
            environment: ["PATH=/usr/bin:/bin"], descriptors: [null.rawValue, null.rawValue, 2]
        ).run()
    }

    /// The command that runs another one as the fixture's user; empty if that is the test's own.
    private var becoming: [String] {
        guard user != geteuid() else { return [] }
        let enter = place.map { ["/usr/bin/nsenter", "-t", "\($0.pid)", "-m"] } ?? []
        return enter + ["/usr/bin/setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups"]
    }

    // An ordinary user's mount is for his processes only: a shell does it for the tests.

    func write(_ name: String, _ text: String) throws {
        if user != geteuid() {
            let end = try shell("printf %s '\(text)' > '\(mountpoint)/\(name)'").end
            if end != .exited(0) { throw Errno.ioError }
            return
        }
        let file = try SystemCall.open("\(mountpoint)/\(name)", O_CREAT | O_WRONLY | O_TRUNC, mode: 0o644)
        try SystemCall.write(text: text, to: file.rawValue)
        try file.close()
    }

    func read(_ name: String) throws -> String {
        if user == geteuid() { return try SystemCall.smallFile("\(mountpoint)/\(name)") }
        let (end, output) = try shell("cat '\(mountpoint)/\(name)'")
        if end != .exited(0) { throw Errno.ioError }
        return output
    }

    func shell(_ command: String) throws -> (end: ProcessEnd, output: String) {
        let program = try SystemCall.openPath(becoming.first ?? "/bin/sh")
        let null = try SystemCall.open("/dev/null", O_RDWR)
        let reading: SharedDescriptor
        let process: ChildProcess
        do {
            let pipe = try SystemCall.pipe()
            reading = pipe.reading
            process = try ProcessPlan(
                executable: program.rawValue,
                arguments: becoming + ["/bin/sh", "-c", command],
                environment: ["PATH=/usr/bin:/bin"], descriptors: [null.rawValue, pipe.writing.rawValue, 2]
            ).run()
        }
        var output: [UInt8] = []
        while let bytes = try SystemCall.receiveSome(reading.rawValue), !bytes.isEmpty { output += bytes }
        return (try process.waitForEnd(), String(decoding: output, as: UTF8.self))
    }
}
