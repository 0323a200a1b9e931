import Glibc
import Platform
import PosixChecks
import SystemPackage
import TestSupport
import Testing

/// The rules of POSIX at the mount, and on ext4 as control: a check that ext4 fails is wrong itself.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct PosixTests {
    @Test func everyRuleHolds() throws {
        let system = try MountedSystem()
        // Some checks are other users'.
        _ = unsafe chmod(system.folder, 0o755)
        _ = unsafe chmod(system.root, 0o777)
        try tryAll(system.root)
        try system.end()
        try expectClean(system.image)
    }

    @Test(.enabled(if: LoopMount.obstacle == nil, LoopMount.obstacle)) func everyRuleHoldsOnTheControl() throws {
        let mount = try LoopMount()
        _ = unsafe chmod(mount.root, 0o777)
        try tryAll(mount.root)
    }

    private func tryAll(_ root: String) throws {
        var passed = 0
        for (number, check) in PosixCheck.all.enumerated() {
            switch check.run(in: root, number: number) {
            case .passed: passed += 1
            case .failed(let reason): Issue.record("\(check.name): \(reason)")
            case .skipped(let reason): print("skipped \(check.name): \(reason)")
            }
        }
        #expect(passed > 60)
    }

    /// What `Scripts/torture` has applications do ends when its time is over, and all workers do something.
    @Test func theTortureEnds() throws {
        let folder = try TemporaryDirectory()
        let result = try BuiltProgram.named("posix-checks").run(["--torture", folder.path, "1", "1"], in: folder)
        #expect(result.status == 0, "\(result.text)")
        for worker in 0..<4 { #expect(SystemCall.exists(folder.file("worker-\(worker)/a"))) }
    }

    /// Eight workers on the same names, on ext4: what they expect is right.
    @Test(.enabled(if: LoopMount.obstacle == nil, LoopMount.obstacle)) func sharedNamesOnTheControl() throws {
        let mount = try LoopMount()
        let folder = "\(mount.root)/shared"
        try #require(unsafe mkdir(folder, 0o755) == 0)
        let seed = UInt64.random(in: 0...0xffff_ffff)
        let result = try BuiltProgram.named("posix-checks").run(
            ["--shared", folder, "\(seed)", "2"], in: try TemporaryDirectory())
        #expect(result.status == 0, "\(result.text)")
    }

    /// Random operations through read, write, mmap and O_DIRECT at once, against what must be there: 200,000 in all.
    @Test(arguments: 0..<4) func randomOperationsOnOneFile(run: Int) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        let system = try MountedSystem()
        try exercise("\(system.root)/file", seed: seed, operations: 50_000)
        try system.end()
        try expectClean(system.image)
    }

    @Test(.enabled(if: LoopMount.obstacle == nil, LoopMount.obstacle)) func randomOperationsOnTheControl() throws {
        let mount = try LoopMount()
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        try exercise("\(mount.root)/file", seed: seed, operations: 20_000)
    }

    private func exercise(_ path: String, seed: UInt64, operations: Int) throws {
        var exerciser = try FileExerciser(path: path, seed: seed)
        defer { exerciser.finish() }
        try exerciser.run(operations: operations)
    }
}

/// ext4 on a loop device.
final class LoopMount {
    let root: String
    private let folder: TemporaryDirectory

    /// Why there can be none, or nil.
    static let obstacle: Comment? = {
        if geteuid() != 0 { return "mounting ext4 needs root" }
        for tool in ["/usr/sbin/mkfs.ext4", "/usr/bin/mount"] where !SystemCall.exists(tool) { return "no \(tool)" }
        if !SystemCall.exists("/dev/loop-control") { return "no loop devices" }
        // A container may have the file and not be allowed to use it.
        do { _ = try LoopMount() } catch { return "ext4 can't be mounted through a loop device" }
        return nil
    }()

    init() throws {
        folder = try TemporaryDirectory()
        _ = unsafe chmod(folder.path, 0o755)
        root = folder.file("mount")
        _ = unsafe mkdir(root, 0o755)
        let image = folder.file("image")
        do {
            let file = try SystemCall.open(image, O_CREAT | O_RDWR, mode: 0o600)
            try SystemCall.truncate(file.rawValue, to: 256 << 20)
        }
        guard try BuiltProgram(path: "/usr/sbin/mkfs.ext4").run(["-q", "-b", "4096", image], in: folder).status == 0,
            try BuiltProgram(path: "/usr/bin/mount").run(["-o", "loop", image, root], in: folder).status == 0
        else { throw Errno.ioError }
    }

    deinit {
        unsafe umount2(root, Int32(MNT_DETACH))
    }
}
