import CPosix
import Glibc

let linkChecks: [PosixCheck] = [
    PosixCheck("link: one inode with two names, links counted, ctime and the parent's times move") { at in
        try at.file("a", [1])
        try at.moves("a", mtime: false, ctime: true, "link") { try at.ok("link") { link(at["a"], at["b"]) } }
        let (one, two) = (try at.status("a"), try at.status("b"))
        try at.hold(one.st_ino == two.st_ino && one.st_nlink == 2 && two.st_nlink == 2, "inode or links differ")
        let descriptor = try at.open("b", O_WRONLY)
        defer { close(descriptor) }
        try at.write(descriptor, [7, 8], at: 0)
        try at.hold(try at.contents("a") == [7, 8], "the other name shows other bytes")
        try at.moves("a", mtime: false, ctime: true, "unlink of the other name") {
            try at.ok("unlink") { unlink(at["b"]) }
        }
        try at.hold(try at.status("a").st_nlink == 1, "links after unlink")
    },
    PosixCheck("link: directories are EPERM, existing names EEXIST, missing ones ENOENT") { at in
        try at.file("f")
        try at.folder("d")
        try at.fails("link of a directory", EPERM) { Int(link(at["d"], at["e"])) }
        try at.fails("link onto a name", EEXIST) { Int(link(at["f"], at["d"])) }
        try at.fails("link of nothing", ENOENT) { Int(link(at["none"], at["e"])) }
        try at.fails("link below a file", ENOTDIR) { Int(link(at["f"], at["f/x"])) }
    },
    PosixCheck("link: also of symbolic links, pipes and sockets' kind") { at in
        try at.ok("symlink") { symlink("x", at["s"]) }
        try at.ok("mkfifo") { mkfifo(at["p"], 0o600) }
        for name in ["s", "p"] {
            try at.ok("link") { linkat(AT_FDCWD, at[name], AT_FDCWD, at[name + "2"], 0) }
            try at.hold(try at.status(name).st_nlink == 2, "\(name): links")
        }
    },
    PosixCheck("symlink: the target is kept as it is, up to 4095 bytes") { at in
        for (number, target) in [
            "x", "/a/b", "ä b", String(repeating: "t", count: 3000), String(repeating: "u", count: 4095),
        ].enumerated() {
            try at.ok("symlink of \(target.utf8.count) bytes") { symlink(target, at["s\(number)"]) }
            var buffer = [CChar](repeating: 0, count: 5000)
            let count = try at.ok("readlink") { () -> Int in readlink(at["s\(number)"], &buffer, buffer.count) }
            try at.hold(count == target.utf8.count, "target of \(count) bytes, made with \(target.utf8.count)")
            try at.hold(buffer.prefix(count).map { UInt8(bitPattern: $0) } == Array(target.utf8), "another target")
            try at.hold(try at.status("s\(number)").st_size == target.utf8.count, "st_size")
        }
        try at.fails("readlink of a directory", EINVAL) {
            var buffer = [CChar](repeating: 0, count: 10)
            return readlink(at.path, &buffer, 10)
        }
        try at.fails("symlink onto a name", EEXIST) { Int(symlink("y", at["s0"])) }
    },
]

let renameChecks: [PosixCheck] = [
    PosixCheck("rename: moves a file, the inode stays, ctime and both parents' times move") { at in
        try at.folder("d")
        try at.file("a", [1, 2])
        let inode = try at.status("a").st_ino
        try at.moves("d", mtime: true, ctime: true, "rename into") {
            try at.ok("rename") { rename(at["a"], at["d/b"]) }
        }
        try at.hold(!at.exists("a"), "the old name is still there")
        try at.hold(try at.status("d/b").st_ino == inode && at.contents("d/b") == [1, 2], "another file")
        try at.moves("d", mtime: true, ctime: true, "rename out of") {
            try at.ok("rename") { rename(at["d/b"], at["a"]) }
        }
    },
    PosixCheck("rename: replaces a file at once; one that is open stays readable") { at in
        try at.file("old", [1, 1])
        try at.file("new", [2, 2])
        let descriptor = try at.open("old", O_RDWR)
        defer { close(descriptor) }
        try at.ok("rename") { rename(at["new"], at["old"]) }
        try at.hold(try at.contents("old") == [2, 2], "the name shows the old file")
        try at.hold(try at.read(descriptor, 10, at: 0) == [1, 1], "the open file changed")
        try at.write(descriptor, [9], at: 5)
        try at.hold(try at.read(descriptor, 10, at: 0) == [1, 1, 0, 0, 0, 9], "the open file can't be written")
        try at.hold(try at.status(descriptor).st_nlink == 0, "links of the replaced file")
    },
    PosixCheck("rename: directory onto an empty one replaces it, onto a full one ENOTEMPTY") { at in
        try at.folder("a")
        try at.file("a/f")
        try at.folder("empty")
        try at.folder("full")
        try at.file("full/g")
        try at.fails("onto a full one", ENOTEMPTY, EEXIST) { Int(rename(at["a"], at["full"])) }
        try at.ok("onto an empty one") { rename(at["a"], at["empty"]) }
        try at.hold(try at.names("empty") == ["f"], "contents after rename")
    },
    PosixCheck("rename: kinds must fit, a directory can't go below itself") { at in
        try at.folder("d")
        try at.folder("d/e")
        try at.file("f")
        try at.fails("file onto directory", EISDIR) { Int(rename(at["f"], at["d"])) }
        try at.fails("directory onto file", ENOTDIR) { Int(rename(at["d"], at["f"])) }
        try at.fails("below itself", EINVAL) { Int(rename(at["d"], at["d/e/x"])) }
        try at.fails("into itself", EINVAL) { Int(rename(at["d"], at["d/x"])) }
        try at.fails("of nothing", ENOENT) { Int(rename(at["none"], at["x"])) }
        try at.fails("of the dot", EINVAL, EBUSY) { Int(rename(at["d/."], at["x"])) }
    },
    PosixCheck("rename: two names of one file: nothing happens") { at in
        try at.file("a")
        try at.ok("link") { link(at["a"], at["b"]) }
        try at.ok("rename") { rename(at["a"], at["b"]) }
        try at.hold(try at.names() == ["a", "b"] && at.status("a").st_nlink == 2, "a name is gone")
    },
    PosixCheck("rename: the two dots of a moved directory lead to its new parent") { at in
        try at.folder("a")
        try at.folder("b")
        try at.folder("a/d")
        try at.ok("rename") { rename(at["a/d"], at["b/d"]) }
        let (up, parent) = (try at.status("b/d/.."), try at.status("b"))
        try at.hold(up.st_ino == parent.st_ino, "the dots lead elsewhere")
    },
    PosixCheck("rename: RENAME_NOREPLACE is EEXIST for any existing name") { at in
        try at.file("a")
        try at.file("b")
        try at.fails("noreplace", EEXIST) { Int(posix_rename(at["a"], at["b"], posix_rename_noreplace)) }
        try at.ok("noreplace to a new name") { posix_rename(at["a"], at["c"], posix_rename_noreplace) }
    },
    PosixCheck("rename: RENAME_EXCHANGE exchanges a file and a directory; a missing one is ENOENT") { at in
        try at.file("f", [5])
        try at.folder("d")
        try at.file("d/x")
        try at.ok("exchange") { posix_rename(at["f"], at["d"], posix_rename_exchange) }
        try at.hold(try at.contents("d") == [5] && at.names("f") == ["x"], "not exchanged")
        try at.fails("exchange with nothing", ENOENT) {
            Int(posix_rename(at["f"], at["none"], posix_rename_exchange))
        }
        try at.fails("unknown flags", EINVAL) { Int(posix_rename(at["f"], at["d"], 1 << 20)) }
        try at.fails("both flags", EINVAL) { Int(posix_rename(at["f"], at["d"], 3)) }
    },
]

let unlinkChecks: [PosixCheck] = [
    PosixCheck("unlink: an open file goes on until it is closed") { at in
        try at.file("f", pattern(10_000))
        let descriptor = try at.open("f", O_RDWR)
        defer { close(descriptor) }
        try at.ok("unlink") { unlink(at["f"]) }
        try at.hold(!at.exists("f"), "the name is still there")
        try at.hold(try at.status(descriptor).st_nlink == 0, "links")
        try at.write(descriptor, pattern(200_000), at: 5000)
        try at.hold(try at.read(descriptor, 200_000, at: 5000) == pattern(200_000), "bytes differ")
        try at.ok("ftruncate") { ftruncate(descriptor, 10) }
        try at.ok("fchmod") { fchmod(descriptor, 0o600) }
        try at.hold(try at.status(descriptor).st_size == 10, "size")
        try at.file("f", [1])
        try at.hold(try at.contents("f") == [1], "a new file of the name shows old bytes")
    },
    PosixCheck("unlink: moves the parent's times; of nothing is ENOENT") { at in
        try at.folder("d")
        try at.file("d/f")
        try at.moves("d", mtime: true, ctime: true, "unlink") { try at.ok("unlink") { unlink(at["d/f"]) } }
        try at.fails("again", ENOENT) { Int(unlink(at["d/f"])) }
    },
    PosixCheck("unlink: pipes, sockets' kind and symbolic links go, targets stay") { at in
        try at.file("target", [1])
        try at.ok("symlink") { symlink("target", at["s"]) }
        try at.ok("mkfifo") { mkfifo(at["p"], 0o600) }
        for name in ["s", "p"] { try at.ok("unlink \(name)") { unlink(at[name]) } }
        try at.hold(try at.names() == ["target"], "names left")
    },
]
