import BlockDevice
import FileSystemCheck
import Glibc
import Platform
import Sandbox
import Supervisor
import Synchronization
import SystemPackage
import TestSupport
import Testing

private let nbdkitObstacle: Comment? = (MountFolder.obstacle ?? NBDServer.nbdkitObstacle).map { Comment(rawValue: $0) }
private let qemuObstacle: Comment? = (MountFolder.obstacle ?? NBDServer.qemuObstacle).map { Comment(rawValue: $0) }

/// File systems on disks that NBD servers export. The servers die, ours die: applications see no error, and nothing is lost.
@Suite(.serialized, .enabled(if: mountObstacle == nil, mountObstacle))
struct RemoteDiskTests {
    /// A mount on a server that is made for the image; the server beside it.
    private func system(
        _ serve: (_ image: String, _ socket: String) throws -> NBDServer
    ) throws -> (system: MountedSystem, server: NBDServer) {
        var server: NBDServer?
        var failure: (any Error)?
        let system = try MountedSystem(byteCount: 256 << 20) { configuration in
            guard let image = configuration.mount?.source else { return }
            let socket = "\(image).socket"
            do {
                server = try serve(image, socket)
                var disk = MemberConfiguration(
                    name: "disk", executablePath: try MountFolder.program("scheme-disk-nbd"), manifest: .remoteDisk)
                disk.endpoints = [("nbd-0", .unix(path: socket))]
                disk.settings = [("endpoints", "1"), ("export", "")]
                disk.isVisible = false
                configuration.schemes[0] = disk
            } catch { failure = error }
        }
        if let failure { throw failure }
        return (system, try #require(server))
    }

    /// Works on the mount while the server and processes of ours die.
    private func killing(_ names: [String], times: Int, _ system: MountedSystem, _ server: NBDServer) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        let workload = Workload(system.root, seed: seed)
        let isDone = Atomic<Bool>(false)
        let thread = try spawnThread(name: "workload") {
            while !isDone.load(ordering: .relaxed), workload.failures.withLock({ $0.isEmpty }) { workload.round() }
        }
        var random = SplitMix(seed: seed)
        for _ in 0..<times {
            usleep(UInt32(random.next() % 80_000))
            switch names[Int(random.next() % UInt64(names.count))] {
            case "server":
                server.kill()
                // Sometimes ours dies while there is no server.
                if names.count > 1, random.next() % 2 == 0, let pid = try system.pid("disk"), pid > 1 {
                    kill(pid, SIGKILL)
                }
                usleep(UInt32(random.next() % 40_000))
                try server.start()
            case let name: if let pid = try system.pid(name), pid > 1 { kill(pid, SIGKILL) }
            }
            if !workload.failures.withLock({ $0.isEmpty }) { break }
        }
        isDone.store(true, ordering: .relaxed)
        thread.join()
        workload.verify()
        #expect(workload.rounds > 0)
        #expect(system.log.contains("disk: connected after"))
        #expect(workload.failures.withLock { $0 } == [], "\(system.log)")
    }

    @Test(
        .enabled(if: nbdkitObstacle == nil, nbdkitObstacle),
        arguments: [["server"], ["disk"], ["server", "disk", "file"]])
    func applicationsNoticeNothing(_ names: [String]) throws {
        // A server that loses what wasn't flushed when it dies.
        let (system, server) = try system { image, socket in
            try NBDServer.nbdkit(socket: socket, ["--filter=cache", "file", image, "cache=writeback"])
        }
        try killing(names, times: 40, system, server)
        try system.end()
        server.kill()
        try expectClean(system.image)
    }

    @Test(.enabled(if: qemuObstacle == nil, qemuObstacle)) func applicationsNoticeNothingOnQcow2() throws {
        let folder = try TemporaryDirectory()
        let converter = BuiltProgram(path: "/usr/bin/qemu-img")
        let (system, server) = try system { image, socket in
            let result = try converter.run(["convert", "-O", "qcow2", image, "\(image).qcow2"], in: folder)
            #expect(result.status == 0, "\(result.errors)")
            return try NBDServer.qemu(socket: socket, ["--format=qcow2", "\(image).qcow2"])
        }
        try killing(["server", "disk"], times: 30, system, server)
        try system.end()
        let check = try BuiltProgram.saltbridge().run(["fsck", "nbd+unix:///?socket=\(server.socket)"], in: folder)
        #expect(check.status == 0, "\(check.text) \(check.errors)")
    }

    // MARK: As users do

    private func address(_ server: NBDServer, _ export: String = "") -> String {
        "nbd+unix:///\(export)?socket=\(server.socket)"
    }

    /// The tools on an export, a mount of it over TCP, with an overlay, and read-only.
    @Test(.enabled(if: nbdkitObstacle == nil, nbdkitObstacle)) func theCommandLineTakesAddresses() throws {
        let mount = try ToolMount(size: nil)
        let image = mount.folder.file("image")
        _ = try FileDevice(creating: image, byteCount: 64 << 20)
        let server = try NBDServer.nbdkit(socket: mount.folder.file("s"), ["file", image])
        try mount.succeed("mkfs", address(server))
        try mount.succeed("mkdir", address(server), "/made")
        let (tcp, port) = try NBDServer.nbdkitOverTCP(place: mount.folder.file("t"), ["file", image])
        server.kill()
        try mount.mount(image: "nbd://localhost:\(port)", "--root", "file")
        #expect(
            ((try? SystemCall.smallFile("/proc/self/mounts")) ?? "").contains("nbd://localhost:\(port) \(mount.point) ")
        )
        try mount.write("file", "contents")
        #expect(try mount.process("disk")["state"]?.string == "serving")
        tcp.kill()
        try tcp.start()
        try mount.write("other", "more")
        #expect(try mount.read("file") == "contents")
        try mount.unmount()
        #expect(try mount.run(["fsck", "nbd://127.0.0.1:\(port)"]).status == 0)
        tcp.kill()

        // The base stays as it is.
        let before = try bytes(image)
        try server.start()
        let changes = mount.folder.file("changes")
        try mount.mount(image: address(server), "--root", "file", "--overlay", changes)
        try mount.write("file", "changed")
        try mount.ask("crash", "disk")
        #expect(try mount.read("file") == "changed")
        try mount.unmount()
        #expect(try bytes(image) == before)
        #expect(try mount.succeed("cat", address(server), "/file").text == "contents")
        #expect(try mount.succeed("cat", address(server), "/file", "--overlay", changes).text == "changed")

        try mount.mount(image: address(server), "--root", "file", "--read-only")
        #expect(try mount.read("file") == "contents")
        #expect(throws: Errno.readOnlyFileSystem) { try mount.write("file", "no") }
        try mount.unmount()
        server.kill()
        #expect(try bytes(image) == before)
    }

    @Test(.enabled(if: nbdkitObstacle == nil, nbdkitObstacle)) func whatIsWrongIsTold() throws {
        let mount = try ToolMount(size: "16M")
        func refused(_ image: String, _ options: [String] = []) throws -> String {
            let result = try mount.run(["mount", image, mount.point] + options)
            #expect(result.status != 0)
            #expect(!mount.isMounted)
            return result.errors
        }
        let none = mount.folder.file("none")
        let nobody = try refused("nbd+unix:///?socket=\(none)")
        #expect(nobody.contains(none) && nobody.contains("No such file") && nobody.contains("nbdkit"), "\(nobody)")
        #expect(try refused("nbds://host").contains("not supported"))
        #expect(try refused("nbd+unix:///disk").contains("socket=PATH"))
        #expect(try refused("nbd://no-such-host.invalid").contains("no-such-host.invalid"))
        // A disk that isn't there among others, one that is read-only, one without a file system.
        _ = unsafe mkdir(mount.folder.file("disks"), 0o755)
        unsafe #expect(rename(mount.image, mount.folder.file("disks/one")) == 0)
        let server = try NBDServer.nbdkit(
            socket: mount.folder.file("s"), ["file", "dir=\(mount.folder.file("disks"))"])
        let other = try refused(address(server, "two"))
        #expect(other.contains("refuses") && other.contains("one"), "\(other)")
        server.kill()
        #expect(try refused(address(server, "one")).contains("Nobody listens"))
        let locked = try NBDServer.nbdkit(
            socket: mount.folder.file("r"), ["--readonly", "file", mount.folder.file("disks/one")])
        let only = try refused(address(locked))
        #expect(only.contains("read-only") && only.contains("--overlay"), "\(only)")
        try mount.mount(image: address(locked), "--read-only")
        try mount.unmount()
        let empty = try NBDServer.nbdkit(socket: mount.folder.file("e"), ["memory", "16M"])
        #expect(try refused(address(empty)).contains("no RedoxFS"))
    }

    @Test func theDoctorTriesTheProcess() throws {
        let mount = try ToolMount(size: nil)
        #expect(try mount.run(["doctor"]).text.contains("scheme-disk-nbd starts"))
    }

    /// A server that stays away: an error after the time that was set, at once for who comes later, and all is well when it is back.
    @Test(.enabled(if: nbdkitObstacle == nil, nbdkitObstacle)) func aServerThatStaysAwayIsAnError() throws {
        let mount = try ToolMount(size: "64M")
        let server = try NBDServer.nbdkit(
            socket: mount.folder.file("s"), ["--filter=cache", "file", mount.image, "cache=writeback"])
        try mount.mount(image: address(server), "--root", "file", "-o", "disk.patience=1")
        try mount.write("before", "kept")
        server.kill()
        #expect(throws: Errno.ioError) { try mount.write("during", "lost") }
        #expect(throws: Errno.ioError) { try mount.write("again", "lost") }
        try server.start()
        var isBack = false
        while !isBack {
            do {
                try mount.write("after", "kept, too")
                isBack = true
            } catch { usleep(20_000) }
        }
        #expect(try mount.read("before") == "kept")
        try mount.unmount()
        try mount.mount(image: address(server), "--root", "file")
        #expect(try mount.read("before") == "kept")
        #expect(try mount.read("after") == "kept, too")
        try mount.unmount()
        server.kill()
        #expect(try mount.run(["fsck", mount.image]).status == 0)
    }
}
