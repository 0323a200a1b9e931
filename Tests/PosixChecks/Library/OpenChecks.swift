import CPosix
import Glibc

let openChecks: [PosixCheck] = [
    PosixCheck("open: O_EXCL on a name, even a dangling symbolic link, is EEXIST") { at in
        try at.file("f")
        try at.ok("symlink") { symlink("nowhere", at["s"]) }
        for name in ["f", "s"] {
            try at.fails("open \(name)", EEXIST) { Int(open(at[name], O_CREAT | O_EXCL | O_WRONLY, 0o644)) }
        }
    },
    PosixCheck("open: O_CREAT through a dangling symbolic link makes the target") { at in
        try at.ok("symlink") { symlink("target", at["s"]) }
        close(try at.open("s", O_CREAT | O_WRONLY))
        try at.hold(at.exists("target"), "no target")
    },
    PosixCheck("open: O_TRUNC empties the file and moves its times") { at in
        try at.file("f", pattern(5000))
        try at.moves("f", mtime: true, ctime: true, "O_TRUNC") { close(try at.open("f", O_WRONLY | O_TRUNC)) }
        try at.hold(try at.status("f").st_size == 0, "size")
    },
    PosixCheck("open: directories for writing are EISDIR, files as directories ENOTDIR, links with O_NOFOLLOW ELOOP") {
        at in
        try at.file("f")
        try at.ok("symlink") { symlink("f", at["s"]) }
        try at.fails("directory for writing", EISDIR) { Int(open(at.path, O_WRONLY)) }
        try at.fails("file as directory", ENOTDIR) { Int(open(at["f"], O_RDONLY | O_DIRECTORY)) }
        try at.fails("link not followed", ELOOP) { Int(open(at["s"], O_RDONLY | O_NOFOLLOW)) }
        try at.fails("nothing", ENOENT) { Int(open(at["none"], O_RDONLY)) }
    },
    PosixCheck("open: a new file has the caller's ids, the mode less the mask, one time for all") { at in
        let mask = umask(0o022)
        defer { _ = umask(mask) }
        try at.moves("", mtime: true, ctime: true, "create") { close(try at.open("f", O_CREAT | O_WRONLY, 0o666)) }
        let status = try at.status("f")
        try at.hold(status.st_mode & 0o7777 == 0o644, "mode \(String(status.st_mode & 0o7777, radix: 8))")
        try at.hold(status.st_uid == geteuid() && status.st_size == 0 && status.st_nlink == 1, "ids, size or links")
    },
    PosixCheck("open: a mode without write permission still gives a descriptor that writes") { at in
        let descriptor = try at.open("f", O_CREAT | O_RDWR, 0o400)
        defer { close(descriptor) }
        try at.write(descriptor, [1, 2], at: 0)
        try at.hold(try at.read(descriptor, 5, at: 0) == [1, 2], "bytes")
    },
    PosixCheck("open: O_TMPFILE makes a file without a name that linkat can name") { at in
        let descriptor = open(at.path, posix_tmpfile | O_RDWR, 0o640)
        if descriptor < 0, errno == EOPNOTSUPP { throw Skip(reason: "O_TMPFILE is not supported here") }
        try at.ok("O_TMPFILE") { descriptor }
        defer { close(descriptor) }
        try at.write(descriptor, pattern(9000), at: 0)
        try at.hold(try at.names().isEmpty && at.status(descriptor).st_nlink == 0, "it has a name")
        try at.ok("linkat") { linkat(AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, at["f"], AT_SYMLINK_FOLLOW) }
        try at.hold(try at.contents("f") == pattern(9000) && at.status("f").st_nlink == 1, "named file differs")
    },
    PosixCheck("open: O_PATH descriptors can be asked, not read") { at in
        try at.file("f", [1])
        let descriptor = try at.open("f", posix_path)
        defer { close(descriptor) }
        try at.hold(try at.status(descriptor).st_size == 1, "size")
        try at.fails("read", EBADF) {
            var byte: UInt8 = 0
            return pread(descriptor, &byte, 1, 0)
        }
    },
    PosixCheck("syncfs: files that were written and removed leave no error behind") { at in
        for number in 0..<20 {
            try at.file("one\(number)", pattern(100))
            try at.file("two\(number)", pattern(100))
            try at.ok("rename") { rename(at["one\(number)"], at["two\(number)"]) }
            try at.ok("unlink") { unlink(at["two\(number)"]) }
        }
        let folder = try at.open(".", O_RDONLY | O_DIRECTORY)
        defer { close(folder) }
        try at.ok("syncfs") { posix_sync_file_system(folder) }
    },
    PosixCheck("open: a named pipe carries bytes between two descriptors") { at in
        try at.ok("mkfifo") { mkfifo(at["p"], 0o600) }
        let reader = try at.open("p", O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        let writer = try at.open("p", O_WRONLY | O_NONBLOCK)
        defer { close(writer) }
        var byte: UInt8 = 77
        try at.hold(Glibc.write(writer, &byte, 1) == 1, "write")
        byte = 0
        try at.hold(Glibc.read(reader, &byte, 1) == 1 && byte == 77, "read")
    },
    PosixCheck("mknod: devices keep their number and kind", needsRoot: true) { at in
        let device = posix_makedev(1, 3)
        if mknod(at["c"], S_IFCHR | 0o600, device) != 0, errno == EPERM {
            throw Skip(reason: "devices can't be made here")
        }
        try at.ok("mknod") { mknod(at["b"], S_IFBLK | 0o600, posix_makedev(259, 1_000_000 & 0xFFFFF)) }
        let status = try at.status("c")
        try at.hold(status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == device, "character device differs")
        let block = try at.status("b")
        try at.hold(
            block.st_mode & S_IFMT == S_IFBLK && block.st_rdev == posix_makedev(259, 1_000_000 & 0xFFFFF),
            "block device differs")
    },
]

let contentChecks: [PosixCheck] = [
    PosixCheck("read: stops at the end, gives nothing behind it") { at in
        try at.file("f", pattern(5000))
        let descriptor = try at.open("f", O_RDONLY)
        defer { close(descriptor) }
        try at.hold(try at.read(descriptor, 100, at: 4950) == pattern(50, 4950), "short read")
        try at.hold(
            try at.read(descriptor, 100, at: 5000).isEmpty && at.read(descriptor, 1, at: 1 << 40).isEmpty,
            "behind the end")
        try at.fails("negative offset", EINVAL) {
            var byte: UInt8 = 0
            return pread(descriptor, &byte, 1, -1)
        }
    },
    PosixCheck("write: overlapping writes of many sizes read back as written") { at in
        var expected: [UInt8] = []
        let descriptor = try at.open("f", O_CREAT | O_RDWR)
        defer { close(descriptor) }
        for (number, size) in [1, 4095, 4096, 4097, 131_071, 131_072, 131_073, 400_000].enumerated() {
            let offset = number * 30_000
            let bytes = pattern(size, number * 7)
            try at.write(descriptor, bytes, at: offset)
            if expected.count < offset + size {
                expected += [UInt8](repeating: 0, count: offset + size - expected.count)
            }
            expected.replaceSubrange(offset..<offset + size, with: bytes)
        }
        try at.hold(try at.contents("f") == expected, "bytes differ")
        try at.ok("fsync") { fsync(descriptor) }
        try at.hold(try at.contents("f") == expected, "bytes differ after fsync")
    },
    PosixCheck("write: behind the end leaves zeros between, and few blocks") { at in
        let descriptor = try at.open("f", O_CREAT | O_RDWR)
        defer { close(descriptor) }
        try at.write(descriptor, [1], at: 0)
        try at.write(descriptor, [2], at: 10_000_000)
        try at.hold(try at.read(descriptor, 4, at: 5_000_000) == [0, 0, 0, 0], "not zeros")
        try at.ok("fsync") { fsync(descriptor) }
        let blocks = try at.status(descriptor).st_blocks
        try at.hold(blocks < 2000, "\(blocks) blocks")
    },
    PosixCheck("write: terabytes away works") { at in
        let descriptor = try at.open("f", O_CREAT | O_RDWR)
        defer { close(descriptor) }
        if ftruncate(descriptor, 30 << 40) != 0, errno == EFBIG { throw Skip(reason: "files are smaller here") }
        try at.write(descriptor, [1, 2, 3], at: 30 << 40)
        try at.hold(try at.status(descriptor).st_size == 30 << 40 + 3, "size")
        try at.hold(try at.read(descriptor, 10, at: 30 << 40 - 2) == [0, 0, 1, 2, 3], "bytes")
    },
    PosixCheck("write: O_APPEND writes at the end, of two descriptors too") { at in
        let one = try at.open("f", O_CREAT | O_WRONLY | O_APPEND)
        defer { close(one) }
        let two = try at.open("f", O_WRONLY | O_APPEND)
        defer { close(two) }
        for number in 0..<100 {
            var byte = UInt8(number)
            try at.hold(Glibc.write(number % 2 == 0 ? one : two, &byte, 1) == 1, "write")
        }
        try at.hold(try at.contents("f") == (0..<100).map { UInt8($0) }, "order or bytes")
    },
    PosixCheck("write: O_APPEND from two processes loses nothing") { at in
        try at.file("f")
        let children = 2
        let each = 300
        var ids: [pid_t] = []
        // A writer holds nothing open but its own file: other checks may run at the same time, on other mounts.
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_close_from(&actions, 3)
        let script = "for i in $(seq \(each)); do printf '%s\\n' $0$i; done >> '\(at["f"])'"
        for child in 0..<children {
            var id: pid_t = 0
            let arguments = ["sh", "-c", script, "process\(child)-"]
            var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
            defer { for pointer in pointers { free(pointer) } }
            let result = posix_spawn(&id, "/bin/sh", &actions, nil, &pointers, environ)
            try at.hold(result == 0, "posix_spawn: \(result)")
            ids.append(id)
        }
        for id in ids {
            var status: Int32 = 0
            try at.ok("waitpid") { waitpid(id, &status, 0) }
            try at.hold(status == 0, "a writer ended with \(status)")
        }
        let lines = String(decoding: try at.contents("f"), as: UTF8.self).split(separator: "\n")
        try at.hold(Set(lines).count == children * each && lines.count == children * each, "\(lines.count) lines")
    },
    PosixCheck("write: moves mtime and ctime; reading moves neither") { at in
        try at.file("f", [1])
        try at.moves("f", mtime: true, ctime: true, "write") {
            let descriptor = try at.open("f", O_WRONLY)
            try at.write(descriptor, [2], at: 0)
            try at.ok("fsync") { fsync(descriptor) }
            close(descriptor)
        }
        try at.moves("f", mtime: false, ctime: false, "read") { _ = try at.contents("f") }
    },
    PosixCheck("write: to a descriptor for reading is EBADF, of a directory EISDIR") { at in
        try at.file("f")
        let descriptor = try at.open("f", O_RDONLY)
        defer { close(descriptor) }
        var byte: UInt8 = 1
        try at.fails("pwrite", EBADF) { pwrite(descriptor, &byte, 1, 0) }
        let folder = try at.open("", O_RDONLY | O_DIRECTORY)
        defer { close(folder) }
        try at.fails("read of a directory", EISDIR) { Glibc.read(folder, &byte, 1) }
    },
    PosixCheck("truncate: shorter, longer, exact; zeros where nothing was written") { at in
        try at.file("f", pattern(300_000))
        try at.moves("f", mtime: true, ctime: true, "truncate") { try at.ok("truncate") { truncate(at["f"], 100_001) } }
        try at.hold(try at.contents("f") == pattern(100_001), "shorter")
        try at.ok("truncate") { truncate(at["f"], 200_000) }
        let bytes = try at.contents("f")
        try at.hold(bytes.count == 200_000 && Array(bytes[..<100_001]) == pattern(100_001), "longer")
        try at.hold(bytes[100_001...].allSatisfy { $0 == 0 }, "old bytes came back")
        try at.ok("truncate") { truncate(at["f"], 0) }
        try at.hold(try at.contents("f").isEmpty, "to nothing")
    },
    PosixCheck("truncate: negative is EINVAL, directories EISDIR, too large EFBIG") { at in
        try at.file("f")
        try at.fails("negative", EINVAL) { Int(truncate(at["f"], -1)) }
        try at.fails("directory", EISDIR) { Int(truncate(at.path, 0)) }
        let result = truncate(at["f"], off_t.max)
        try at.hold(result == 0 || errno == EFBIG || errno == EINVAL, "largest size: errno \(errno)")
    },
    PosixCheck("O_DIRECT: aligned writes and reads agree with buffered ones") { at in
        let descriptor = open(at["f"], O_CREAT | O_RDWR | posix_direct, 0o644)
        if descriptor < 0, errno == EINVAL { throw Skip(reason: "O_DIRECT is not supported here") }
        try at.ok("open") { descriptor }
        defer { close(descriptor) }
        var memory: UnsafeMutableRawPointer?
        try at.hold(posix_memalign(&memory, 4096, 262_144) == 0, "posix_memalign")
        guard let memory = memory else { return }
        defer { free(memory) }
        let bytes = pattern(262_144)
        bytes.withUnsafeBytes {
            memory.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(memory), byteCount: 262_144)
        }
        try at.hold(pwrite(descriptor, memory, 262_144, 4096) == 262_144, "write: errno \(errno)")
        try at.hold(try Array(at.contents("f")[4096...]) == bytes, "buffered reading differs")
        memset(memory, 0, 262_144)
        try at.hold(pread(descriptor, memory, 262_144, 4096) == 262_144, "read: errno \(errno)")
        let same = UnsafeRawBufferPointer(start: memory, count: 262_144).elementsEqual(bytes)
        try at.hold(same, "direct reading differs")
    },
    PosixCheck("statfs: names of 252 bytes or more, blocks, free ones go down") { at in
        var before = statvfs()
        try at.ok("statvfs") { statvfs(at.path, &before) }
        try at.hold(before.f_namemax >= 252 && before.f_blocks > 0 && before.f_bfree <= before.f_blocks, "figures")
    },
    PosixCheck("copy_file_range: copies the bytes") { at in
        try at.file("a", pattern(500_000))
        let from = try at.open("a", O_RDONLY)
        defer { close(from) }
        let to = try at.open("b", O_CREAT | O_RDWR)
        defer { close(to) }
        var done = 0
        while done < 500_000 {
            var source = off_t(done)
            var target = off_t(done)
            let copied = try at.ok("copy_file_range") { () -> Int in
                posix_copy_range(from, &source, to, &target, 500_000 - done)
            }
            try at.hold(copied > 0, "nothing copied at \(done)")
            done += copied
        }
        try at.hold(try at.contents("b") == pattern(500_000), "bytes differ")
    },
]
