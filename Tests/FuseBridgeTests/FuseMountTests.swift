import CLinux
import FuseBridge
import Glibc
import Platform
import SchemeProtocol
import SystemPackage
import Testing

/// Every request reaches the backend with the right arguments, and every reply the application.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct FuseMountTests {
    @Test func contentsAreWrittenAndRead() throws {
        try TestMount().serve(MemoryTree()) { root in
            let text = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
            let file = unsafe open("\(root)/file", O_RDWR | O_CREAT, 0o640)
            try #require(file >= 0)
            #expect(unsafe write(file, text, text.count) == text.count)
            #expect(fsync(file) == 0)
            #expect(close(file) == 0)
            let again = unsafe open("\(root)/file", O_RDONLY | clinux_o_direct)
            let buffer = AlignedBuffer(byteCount: 1 << 20)
            let count = readAll(again, buffer)
            #expect(count == text.count)
            unsafe buffer.bytes.withUnsafeBytes { read in #expect(unsafe read.prefix(text.count).elementsEqual(text)) }
            #expect(close(again) == 0)
            var status = stat()
            #expect(unsafe stat("\(root)/file", &status) == 0)
            #expect(status.st_size == text.count)
            #expect(status.st_mode == S_IFREG | 0o640)
        }
    }

    @Test func namesAreMadeListedAndRemoved() throws {
        try TestMount().serve(MemoryTree()) { root in
            unsafe #expect(mkdir("\(root)/directory", 0o755) == 0)
            for index in 0..<500 {
                unsafe #expect(symlink("target \(index)", "\(root)/directory/link \(index)") == 0)
            }
            unsafe #expect(link("\(root)/directory/link 0", "\(root)/other") == 0)
            unsafe #expect(rename("\(root)/directory/link 1", "\(root)/renamed") == 0)
            unsafe #expect(unlink("\(root)/directory/link 2") == 0)
            unsafe #expect(rmdir("\(root)/directory") == -1 && errno == ENOTEMPTY)
            var target = [CChar](repeating: 0, count: 100)
            #expect(unsafe readlink("\(root)/renamed", &target, 100) == 8)
            #expect(target.prefix(8).map { UInt8(bitPattern: $0) } == Array("target 1".utf8))
            let names = list("\(root)/directory")
            #expect(names.count == 498 + 2)
            #expect(Set(names).count == names.count)
        }
    }

    @Test func namesThatAreNotTextAreRefused() throws {
        try TestMount().serve(MemoryTree()) { root in
            let name = Array("\(root)/".utf8CString.dropLast()) + [-1, -2, 0]
            #expect(unsafe open(name, O_CREAT | O_WRONLY, 0o600) == -1 && errno == EILSEQ)
            #expect(unsafe mkdir(name, 0o700) == -1 && errno == EILSEQ)
            #expect(unsafe access(name, F_OK) == -1 && errno == ENOENT)
        }
    }

    @Test func filesWithoutNameAndExtendedAttributes() throws {
        try TestMount().serve(MemoryTree()) { root in
            let unnamed = unsafe open(root, clinux_o_tmpfile | O_RDWR, 0o600)
            try #require(unnamed >= 0, "O_TMPFILE: \(Errno(rawValue: errno))")
            #expect(unsafe write(unnamed, "abc", 3) == 3)
            #expect(unsafe fsetxattr(unnamed, "user.colour", "blue", 4, 0) == 0)
            var value = [UInt8](repeating: 0, count: 10)
            #expect(unsafe fgetxattr(unnamed, "user.colour", &value, 10) == 4)
            #expect(unsafe fgetxattr(unnamed, "user.colour", &value, 2) == -1 && errno == ERANGE)
            #expect(unsafe fgetxattr(unnamed, "user.colour", nil, 0) == 4)
            #expect(unsafe flistxattr(unnamed, &value, 0) == 12)
            unsafe #expect(fremovexattr(unnamed, "user.colour") == 0)
            unsafe #expect(fremovexattr(unnamed, "user.colour") == -1 && errno == ENODATA)
            unsafe #expect(
                linkat(AT_FDCWD, "/proc/self/fd/\(unnamed)", AT_FDCWD, "\(root)/named", AT_SYMLINK_FOLLOW) == 0)
            #expect(close(unnamed) == 0)
            unsafe #expect(access("\(root)/named", F_OK) == 0)
        }
    }

    @Test func aSessionLeavesTheCallersDescriptorOpen() throws {
        let mount = try TestMount()
        for _ in 0..<2 {
            var options = FuseSession.Options()
            options.locksMemory = false
            _ = try FuseSession(descriptor: mount.descriptor, backend: MemoryTree(), options: options)
        }
        #expect(fcntl(mount.descriptor, F_GETFD) == FD_CLOEXEC)
    }

    @Test func anotherSessionTakesOver() throws {
        let memory = AlignedBuffer(byteCount: FuseSessionState.byteCount)
        let state = try #require(sessionState(in: memory))
        let tree = MemoryTree()
        let mount = try TestMount()
        var options = FuseSession.Options()
        options.locksMemory = false
        // The first one ends after INIT, as a process that dies does.
        let first = try FuseSession(descriptor: mount.descriptor, backend: tree, options: options, state: state)
        #expect(first.runUntilInitialized())
        #expect(state.isInitialized)
        let second = try FuseSession(descriptor: mount.descriptor, backend: tree, options: options, state: state)
        let thread = try spawnThread(name: "serve") { try? second.run() }
        unsafe #expect(mkdir("\(mount.path)/directory", 0o700) == 0)
        #expect(list(mount.path).sorted() == [".", "..", "directory"])
        unsafe #expect(umount2(mount.path, 0) == 0)
        thread.join()
    }
}

/// Reads as much as the buffer holds.
func readAll(_ file: Int32, _ buffer: AlignedBuffer) -> Int {
    var bytes = buffer.mutableBytes
    return unsafe bytes.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
}

/// A session's state in a buffer's memory.
func sessionState(in memory: AlignedBuffer) -> FuseSessionState? {
    var bytes = memory.mutableBytes
    return unsafe bytes.withUnsafeMutableBytes { unsafe FuseSessionState(memory: $0, owner: memory) }
}

/// A directory's names.
func list(_ path: String) -> [String] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(directory) }
    var result: [String] = []
    while let entry = unsafe readdir(directory) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        }
        result.append(name)
    }
    return result
}
