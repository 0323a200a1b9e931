import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import Supervisor

/// The programs as they are used: `saltbridge mkfs`, `mount`, `crash`, `unmount`, `fsck`, by root and by an ordinary user.
@Suite(.enabled(if: MountFixture.canMount, "/dev/fuse can't be opened, or there is no fusermount3")) struct MountTests {
    @Test(arguments: MountFixture.users)
    func filesSurviveTheDeathOfEveryServer(user: UInt32) throws {
        try filesSurvive(["file", "disk", "file"], user: user)
    }

    @Test(
        .enabled(if: LinuxKernel.routerObstacle == nil, LinuxKernel.routerObstacle.map { Comment(rawValue: $0) }),
        arguments: MountFixture.users)
    func filesSurviveTheDeathOfTheRouter(user: UInt32) throws {
        try filesSurvive(["router", "file", "router"], user: user)
    }

    private func filesSurvive(_ processes: [String], user: UInt32) throws {
        let mount = try MountFixture(user: user)
        try mount.mount(["--root", "file"])
        try mount.write("greeting", "hello")
        for process in processes {
            #expect(try mount.run(["crash", process, "--mount", mount.mountpoint]) == .exited(0))
            #expect(try mount.read("greeting") == "hello")
            try mount.write("after-\(process)", process)
        }
        for process in processes { #expect(try mount.read("after-\(process)") == process) }
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
        // The image is free when its last process has ended: 8 is "in use".
        var end = try mount.run(["fsck", mount.image])
        while end == .exited(8) {
            usleep(10_000)
            end = try mount.run(["fsck", mount.image])
        }
        #expect(end == .exited(0))
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
    @Test(.enabled(if: MountFixture.users.count > 1, "root and setpriv, unshare, nsenter, fusermount3 are needed"))
    func everyUserHasHisOwnMounts() throws {
        let one = try MountFixture(user: 1)
        let second = try MountFixture(user: 1, beside: one)
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

    @Test(.enabled(if: geteuid() == 0, "mount(8) runs the helper as root"))
    func mountHelperPutsTheFilesAtTheMountPoint() throws {
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
    /// XDG_RUNTIME_DIR of users other than the test's own: two runs of the tests don't see each other's mounts.
    private let runtime: String
    /// Whose runtime folder this one uses.
    private let neighbour: MountFixture?
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

    /// - Parameter neighbour: a fixture of the same user, whose mounts are to be seen together with this one's.
    init(user: UInt32, beside neighbour: MountFixture? = nil) throws {
        self.user = user
        self.neighbour = neighbour
        folder = "/tmp/saltbridge-mount-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        image = "\(folder)/disk.img"
        mountpoint = "\(folder)/mnt"
        runtime = neighbour?.runtime ?? "\(folder)/run"
        let folders: [(String, mode_t)] = [(folder, 0o755), (mountpoint, 0o755), ("\(folder)/run", 0o700)]
        for (path, mode) in folders {
            _ = unsafe mkdir(path, mode)
            _ = unsafe chown(path, user, user)
        }
        place = user == geteuid() || Self.mayOpenFuse(user) ? nil : try FusePlace("\(folder)/dev")
        guard try run(["mkfs", image, "--size", "32M"]) == .exited(0) else { throw Errno.ioError }
    }

    deinit {
        if isMounted { _ = try? run(["unmount", "--lazy", mountpoint]) }
        place?.end()
        for name in ["disk.img", "log", "second"] { _ = unsafe unlink("\(folder)/\(name)") }
        let sockets = "\(folder)/run/saltbridge"
        for name in (try? SystemCall.directoryNames(sockets)) ?? [] { _ = unsafe unlink("\(sockets)/\(name)") }
        for path in [sockets, "\(folder)/run", mountpoint, folder] { _ = unsafe rmdir(path) }
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
            environment: environment, descriptors: [null.rawValue, null.rawValue, 2]
        ).run()
    }

    private var environment: [String] {
        ["PATH=/usr/bin:/bin"] + (user == geteuid() ? [] : ["XDG_RUNTIME_DIR=\(runtime)"])
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
                environment: environment, descriptors: [null.rawValue, pipe.writing.rawValue, 2]
            ).run()
        }
        var output: [UInt8] = []
        while let bytes = try SystemCall.receiveSome(reading.rawValue), !bytes.isEmpty { output += bytes }
        return (try process.waitForEnd(), String(decoding: output, as: UTF8.self))
    }
}
