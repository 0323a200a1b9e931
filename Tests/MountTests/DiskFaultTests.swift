import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// Disks that are full, fail, or go away: the right error number, nothing lost that was acknowledged, and work goes on when the
/// disk does.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct DiskFaultTests {
    private func contents(_ number: Int, _ count: Int) -> [UInt8] {
        var random = SplitMix(seed: UInt64(number))
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// Writes a file and closes it; the error number, or nil if every call said that it succeeded.
    private func store(_ path: String, _ bytes: [UInt8]) -> Int32? {
        let file = unsafe open(path, O_CREAT | O_WRONLY | O_TRUNC, 0o644)
        if file < 0 { return errno }
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { raw in
                unsafe write(file, raw.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if count <= 0 {
                let code = errno
                close(file)
                return code
            }
            done += count
        }
        let isSynced = fsync(file) == 0
        let code = errno
        if close(file) != 0 { return errno }
        return isSynced ? nil : code
    }

    @Test func fullDiskSaysSoAndKeepsWhatItAcknowledged() throws {
        let mount = try ToolMount(size: "16M")
        try mount.mount("--root", "file")
        var kept: [Int] = []
        var refusal: Int32?
        while refusal == nil, kept.count < 1000 {
            refusal = store(mount.path("\(kept.count)"), contents(kept.count, 200_000))
            if refusal == nil { kept.append(kept.count) }
        }
        #expect(refusal == ENOSPC)
        #expect(kept.count > 20)
        for number in kept { #expect(try bytes(mount.path("\(number)")) == contents(number, 200_000), "\(number)") }
        // Removing makes room again.
        for number in kept.prefix(10) { unsafe #expect(unlink(mount.path("\(number)")) == 0) }
        _ = unsafe unlink(mount.path("\(kept.count)"))
        #expect(store(mount.path("again"), contents(7, 200_000)) == nil)
        // After a death, too, a full disk loses nothing.
        try mount.ask("crash", "file")
        for number in kept.dropFirst(10) { #expect(try bytes(mount.path("\(number)")) == contents(number, 200_000)) }
        try mount.unmount()
        #expect(try mount.run(["fsck", mount.image]).status == 0)
    }

    /// Who writes without ever syncing is told that the disk is full, and once there is room can write again.
    @Test func fullDiskIsToldToWhoNeverSyncs() throws {
        let mount = try ToolMount(size: "16M")
        try mount.mount("--root", "file")
        try writeWithoutEnd(mount)
        try mount.unmount()
        #expect(try mount.run(["fsck", mount.image]).status == 0)
    }

    private func writeWithoutEnd(_ mount: ToolMount) throws {
        let file = try SystemCall.open(mount.path("endless"), O_CREAT | O_RDWR, mode: 0o644)
        let piece = contents(1, 1 << 20)
        var written = 0
        var code: Int32 = 0
        while code == 0, written < 64 << 30 {
            let count = unsafe write(file.rawValue, piece, piece.count)
            if count < 0 { code = errno } else { written += count }
        }
        #expect(code == ENOSPC)
        // Others aren't told so: they can look at it, and read it.
        var status = stat()
        #expect(unsafe stat(mount.path("endless"), &status) == 0)
        let reader = try SystemCall.open(mount.path("endless"), O_RDONLY)
        var byte: UInt8 = 0
        #expect(unsafe pread(reader.rawValue, &byte, 1, 0) == 1 && byte == piece[0])
        // A little room is enough for who writes little.
        _ = fsync(file.rawValue)
        #expect(ftruncate(file.rawValue, 10 << 20) == 0)
        for index in 0..<20 { #expect(unsafe pwrite(file.rawValue, piece, 10, 10 << 20 + 10 * index) == 10) }
        #expect(fsync(file.rawValue) == 0)
        #expect(ftruncate(file.rawValue, 0) == 0)
        #expect(unsafe pwrite(file.rawValue, piece, piece.count, 0) == piece.count)
        #expect(fsync(file.rawValue) == 0)
        #expect(try bytes(mount.path("endless")) == piece)
    }

    @Test func tooLargeFilesAreRefused() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        let file = try SystemCall.open(mount.path("file"), O_CREAT | O_RDWR, mode: 0o644)
        #expect(ftruncate(file.rawValue, .max) == -1 && errno == EFBIG)
        // The kernel collects writes: then it is the fsync that fails, and the kernel knows only EIO and ENOSPC by that time.
        var byte: UInt8 = 1
        let isRefused = unsafe pwrite(file.rawValue, &byte, 1, off_t.max - 1) == -1
        if isRefused { #expect(errno == EFBIG) }
        if !isRefused { #expect(fsync(file.rawValue) == -1 && (errno == EFBIG || errno == EIO)) }
        let other = try SystemCall.open(mount.path("other"), O_CREAT | O_RDWR, mode: 0o644)
        #expect(unsafe pwrite(other.rawValue, &byte, 1, 100) == 1)
        #expect(fsync(other.rawValue) == 0)
    }

    /// A server that dies while its disk can't be read can't start. Applications are told so, and it is back some time after its disk.
    @Test func serverThatDiesWhileItsDiskFailsComesBack() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        #expect(store(mount.path("synced"), contents(1, 300_000)) == nil)
        // Answered, but not durable.
        try #require(unsafe mkdir(mount.path("made"), 0o755) == 0)
        try mount.ask("fault", "disk", "--read-error", "1")
        #expect(try mount.run(["crash", "file", "--mount", mount.point]).status != 0)
        #expect(unsafe open(mount.path("synced"), O_RDONLY) == -1 && errno == ENODEV)
        try mount.ask("fault", "disk", "--read-error", "0")
        // Much longer than it takes, but not for ever.
        for _ in 0..<2400 {
            let file = unsafe open(mount.path("synced"), O_RDONLY)
            if file >= 0 {
                close(file)
                break
            }
            try #require(errno == ENODEV)
            usleep(50_000)
        }
        #expect(try bytes(mount.path("synced")) == contents(1, 300_000))
        #expect(store(mount.path("made/file"), contents(2, 50_000)) == nil)
        try mount.unmount()
        #expect(try mount.run(["fsck", mount.image]).status == 0)
    }

    /// A disk's server whose answers make no sense is replaced, not the one that waits for them.
    @Test func diskThatAnswersNonsenseIsReplaced() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        let isOver = Locked(false)
        let failures = Locked<[Int32]>([])
        let (first, second) = (mount.path("first"), mount.path("second"))
        let writer = try spawnThread(name: "writer") { [self] in
            var turn = 0
            while !isOver.withLock({ $0 }) {
                if let code = store(turn % 2 == 0 ? first : second, contents(turn, 9000)) {
                    failures.withLock { $0.append(code) }
                }
                turn += 1
            }
        }
        let result = try mount.run(["crash", "disk", "--corrupt-reply", "--mount", mount.point])
        isOver.withLock { $0 = true }
        writer.join()
        #expect(result.status == 0, "\(result.errors)")
        #expect(failures.withLock { $0 }.isEmpty)
        #expect(try mount.process("file")["incarnation"]?.integer == 1)
        #expect(try mount.process("disk")["incarnation"]?.integer == 2)
        try mount.unmount()
        #expect(try mount.run(["fsck", mount.image]).status == 0)
    }

    @Test func writeErrorsAreToldAndPass() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        #expect(store(mount.path("before"), contents(1, 300_000)) == nil)
        try mount.ask("fault", "disk", "--write-error", "1")
        #expect(store(mount.path("during"), contents(2, 300_000)) == EIO)
        // What was acknowledged is still there, and what is only read works.
        #expect(try bytes(mount.path("before")) == contents(1, 300_000))
        try mount.ask("fault", "disk")
        #expect(store(mount.path("during"), contents(2, 300_000)) == nil)
        #expect(store(mount.path("after"), contents(3, 300_000)) == nil)
        try mount.unmount()
        #expect(try mount.run(["fsck", mount.image]).status == 0)
        try mount.mount("--root", "file")
        for (name, number) in [("before", 1), ("during", 2), ("after", 3)] {
            #expect(try bytes(mount.path(name)) == contents(number, 300_000), "\(name)")
        }
    }

    @Test(arguments: ["--read-error", "--corrupt"]) func readErrorsAreToldAndPass(fault: String) throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        #expect(store(mount.path("file"), contents(1, 3_000_000)) == nil)
        try mount.unmount()
        try mount.mount("--root", "file")
        let file = unsafe open(mount.path("file"), O_RDONLY)
        try #require(file >= 0)
        defer { close(file) }
        try mount.ask("fault", "disk", fault, "1")
        var byte: UInt8 = 0
        #expect(unsafe pread(file, &byte, 1, 1_000_000) == -1 && errno == EIO)
        try mount.ask("fault", "disk")
        #expect(try bytes(mount.path("file")) == contents(1, 3_000_000))
    }

    /// The image's bytes go away under a mount. Errors, no death, no hang; other mounts and the unmounting go on.
    @Test func imageThatVanishes() throws {
        let mount = try ToolMount()
        try mount.mount()
        #expect(store(mount.path("file/kept"), contents(1, 3_000_000)) == nil)
        try mount.unmount()
        try mount.mount()
        let path = mount.image
        unsafe #expect(truncate(path, 4096) == 0)
        #expect(throws: Errno.self) { try bytes(mount.path("file/kept")) }
        #expect(store(mount.path("file/new"), contents(2, 100_000)) != nil)
        let zero = try SystemCall.open(mount.path("small/zero"), O_RDONLY)
        var byte: UInt8 = 1
        #expect(unsafe read(zero.rawValue, &byte, 1) == 1 && byte == 0)
        try zero.close()
        _ = try mount.run(["unmount", "--lazy", mount.point])
        #expect(!mount.isMounted)
    }
}
