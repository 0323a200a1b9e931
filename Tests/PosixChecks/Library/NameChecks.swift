import CPosix
import Glibc

let nameChecks: [PosixCheck] = [
    PosixCheck("name: 252 bytes are taken, listed and found") { at in
        let name = String(repeating: "n", count: 252)
        try at.file(name, [1, 2, 3])
        try at.hold(try at.names() == [name], "the listing lacks the name")
        try at.hold(try at.contents(name) == [1, 2, 3], "contents differ")
    },
    PosixCheck("name: 256 bytes are ENAMETOOLONG in every call") { at in
        let name = at[String(repeating: "n", count: 256)]
        try at.file("other")
        try at.fails("open", ENAMETOOLONG) { Int(open(name, O_CREAT | O_WRONLY, 0o644)) }
        try at.fails("mkdir", ENAMETOOLONG) { Int(mkdir(name, 0o755)) }
        try at.fails("symlink", ENAMETOOLONG) { Int(symlink("x", name)) }
        try at.fails("link", ENAMETOOLONG) { Int(link(at["other"], name)) }
        try at.fails("rename", ENAMETOOLONG) { Int(rename(at["other"], name)) }
        try at.fails("mkfifo", ENAMETOOLONG) { Int(mkfifo(name, 0o644)) }
        try at.fails("unlink", ENAMETOOLONG) { Int(unlink(name)) }
        try at.fails("rmdir", ENAMETOOLONG) { Int(rmdir(name)) }
    },
    PosixCheck("name: any UTF-8 is kept byte by byte") { at in
        let names = [
            "ÄÖÜ", "日本語", "a b", "-r", "*?[]", "\u{1F600}", "e\u{301}", "\u{e9}", "new\nline", "tab\t", ".hidden",
            "a:b", "\\",
        ]
        for name in names { try at.file(name, Array(name.utf8)) }
        let listed = Set(try at.names().map { Array($0.utf8) })
        try at.hold(listed == Set(names.map { Array($0.utf8) }), "the listing differs")
        for name in names { try at.hold(try at.contents(name) == Array(name.utf8), "\(name) has other contents") }
    },
    PosixCheck("name: upper and lower case differ") { at in
        try at.file("name", [1])
        try at.file("NAME", [2])
        try at.hold(try at.contents("name") == [1] && at.contents("NAME") == [2], "the two are mixed up")
    },
    PosixCheck("name: a file as a folder is ENOTDIR, a missing one ENOENT") { at in
        try at.file("file")
        try at.fails("stat below a file", ENOTDIR) { Int(access(at["file/x"], F_OK)) }
        try at.fails("stat below nothing", ENOENT) { Int(access(at["none/x"], F_OK)) }
        try at.fails("create below a file", ENOTDIR) { Int(open(at["file/x"], O_CREAT | O_WRONLY, 0o644)) }
        try at.fails("a file with a slash", ENOTDIR) { Int(access(at["file/"], F_OK)) }
    },
    PosixCheck("name: a loop of symbolic links is ELOOP") { at in
        try at.ok("symlink") { symlink("b", at["a"]) }
        try at.ok("symlink") { symlink("a", at["b"]) }
        try at.fails("open", ELOOP) { Int(open(at["a"], O_RDONLY)) }
        try at.fails("mkdir below", ELOOP) { Int(mkdir(at["a/x"], 0o755)) }
    },
]

let directoryChecks: [PosixCheck] = [
    PosixCheck("mkdir: makes an empty directory with the mode less the mask") { at in
        let mask = umask(0o027)
        defer { _ = umask(mask) }
        try at.ok("mkdir") { mkdir(at["d"], 0o777) }
        let status = try at.status("d")
        try at.hold(status.st_mode & S_IFMT == S_IFDIR, "not a directory")
        try at.hold(status.st_mode & 0o777 == 0o750, "mode \(String(status.st_mode & 0o777, radix: 8))")
        try at.hold(try at.names("d").isEmpty, "not empty")
    },
    PosixCheck("mkdir: an existing name of any kind is EEXIST") { at in
        try at.file("f")
        try at.folder("d")
        try at.ok("symlink") { symlink("nowhere", at["s"]) }
        for name in ["f", "d", "s"] { try at.fails("mkdir \(name)", EEXIST) { Int(mkdir(at[name], 0o755)) } }
    },
    PosixCheck("mkdir, rmdir: the parent's times move and its links follow or are 1") { at in
        try at.moves("", mtime: true, ctime: true, "mkdir") { try at.folder("d") }
        let links = try at.status("").st_nlink
        try at.hold(links == 3 || links == 1, "\(links) links with one subdirectory")
        try at.moves("", mtime: true, ctime: true, "rmdir") { try at.ok("rmdir") { rmdir(at["d"]) } }
        let after = try at.status("").st_nlink
        try at.hold(after == 2 || after == 1, "\(after) links with no subdirectory")
    },
    PosixCheck("rmdir: not empty, not a directory, the dot, nothing") { at in
        try at.folder("d")
        try at.file("d/f")
        try at.fails("rmdir of a full one", ENOTEMPTY, EEXIST) { Int(rmdir(at["d"])) }
        try at.fails("rmdir of a file", ENOTDIR) { Int(rmdir(at["d/f"])) }
        try at.fails("rmdir of the dot", EINVAL) { Int(rmdir(at["d/."])) }
        try at.fails("rmdir of two dots", ENOTEMPTY, EEXIST) { Int(rmdir(at["d/.."])) }
        try at.fails("rmdir of nothing", ENOENT) { Int(rmdir(at["none"])) }
        try at.fails("unlink of a directory", EISDIR, EPERM) { Int(unlink(at["d"])) }
    },
    PosixCheck("readdir: 3,000 entries, each once, also while others are removed") { at in
        for number in 0..<3000 { try at.file("stays-\(number)") }
        guard let folder = opendir(at.path) else { throw Broken(description: "opendir: errno \(errno)") }
        defer { closedir(folder) }
        for number in 0..<500 { try at.file("goes-\(number)") }
        var seen: [String: Int] = [:]
        var removed = 0
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            seen[name, default: 0] += 1
            if removed < 500 {
                try at.ok("unlink") { unlink(at["goes-\(removed)"]) }
                removed += 1
            }
        }
        for number in 0..<3000 where seen["stays-\(number)"] != 1 {
            throw Broken(description: "stays-\(number) was seen \(seen["stays-\(number)"] ?? 0) times")
        }
        try at.hold(seen.values.allSatisfy { $0 == 1 }, "an entry was seen twice")
        try at.hold(seen["."] == 1 && seen[".."] == 1, "the dots are missing")
    },
    PosixCheck("readdir: telldir and seekdir come back to the same place") { at in
        for number in 0..<200 { try at.file("\(number)") }
        guard let folder = opendir(at.path) else { throw Broken(description: "opendir: errno \(errno)") }
        defer { closedir(folder) }
        var order: [(position: Int, inode: UInt64)] = []
        while true {
            let position = telldir(folder)
            guard let entry = readdir(folder) else { break }
            order.append((position, UInt64(entry.pointee.d_ino)))
        }
        for index in stride(from: order.count - 1, to: 0, by: -17) {
            seekdir(folder, order[index].position)
            guard let entry = readdir(folder) else { throw Broken(description: "nothing at position \(index)") }
            try at.hold(UInt64(entry.pointee.d_ino) == order[index].inode, "another entry at position \(index)")
        }
    },
    PosixCheck("readdir: d_type and d_ino agree with lstat") { at in
        try at.file("f")
        try at.folder("d")
        try at.ok("symlink") { symlink("f", at["s"]) }
        try at.ok("mkfifo") { mkfifo(at["p"], 0o644) }
        guard let folder = opendir(at.path) else { throw Broken(description: "opendir: errno \(errno)") }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            let status = try at.status(name)
            try at.hold(UInt64(entry.pointee.d_ino) == UInt64(status.st_ino), "\(name): d_ino differs")
            let type = mode_t(entry.pointee.d_type) << 12
            try at.hold(type == 0 || type == status.st_mode & S_IFMT, "\(name): d_type differs")
        }
    },
    PosixCheck("directory: a removed one that is open can still be asked, and has no entries") { at in
        try at.folder("d")
        let descriptor = try at.open("d", O_RDONLY | O_DIRECTORY)
        defer { close(descriptor) }
        try at.ok("rmdir") { rmdir(at["d"]) }
        _ = try at.status(descriptor)
        try at.fails("create in it", ENOENT, ESTALE) { Int(openat(descriptor, "x", O_CREAT | O_WRONLY, 0o644)) }
    },
]
