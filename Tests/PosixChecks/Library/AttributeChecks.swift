import CPosix
import Glibc

private func setTimes(_ at: Scratch, _ name: String, _ atime: timespec, _ mtime: timespec) throws {
    let times = [atime, mtime]
    try at.ok("utimensat") { times.withUnsafeBufferPointer { utimensat(AT_FDCWD, at[name], $0.baseAddress, 0) } }
}

let attributeChecks: [PosixCheck] = [
    PosixCheck("chmod: all twelve bits, ctime moves, mtime doesn't", needsRoot: true) { at in
        try at.file("f")
        for mode in [0o000, 0o777, 0o4755, 0o2755, 0o1644, 0o7777] as [mode_t] {
            try at.moves("f", mtime: false, ctime: true, "chmod") { try at.ok("chmod") { chmod(at["f"], mode) } }
            try at.hold(try at.status("f").st_mode & 0o7777 == mode, "mode is not \(String(mode, radix: 8))")
        }
        try at.fails("of nothing", ENOENT) { Int(chmod(at["none"], 0o644)) }
    },
    PosixCheck("chown: both ids, one alone, large ones; ctime moves", needsRoot: true) { at in
        try at.file("f")
        try at.moves("f", mtime: false, ctime: true, "chown") { try at.ok("chown") { chown(at["f"], 1234, 5678) } }
        try at.ok("chown of the group") { chown(at["f"], uid_t.max, 99) }
        var status = try at.status("f")
        try at.hold(status.st_uid == 1234 && status.st_gid == 99, "ids \(status.st_uid) \(status.st_gid)")
        try at.ok("chown to large ids") { chown(at["f"], 4_000_000_000, 4_000_000_001) }
        status = try at.status("f")
        try at.hold(status.st_uid == 4_000_000_000 && status.st_gid == 4_000_000_001, "large ids")
        try at.ok("symlink") { symlink("f", at["s"]) }
        try at.ok("lchown") { lchown(at["s"], 7, 8) }
        try at.hold(
            try at.status("s").st_uid == 7 && at.status("f").st_uid == 4_000_000_000, "lchown followed the link")
    },
    PosixCheck("chown: takes set-user-id and set-group-id of executables away", needsRoot: true) { at in
        try at.file("f")
        try at.ok("chmod") { chmod(at["f"], 0o6755) }
        try at.ok("chown") { chown(at["f"], 1, 1) }
        try at.hold(
            try at.status("f").st_mode & 0o7777 == 0o755, "mode \(String(try at.status("f").st_mode, radix: 8))")
    },
    PosixCheck("utimensat: nanoseconds, before 1970, after 2038, now, omit") { at in
        try at.file("f")
        for seconds in [0, 1, -1, -1_000_000_000, 1 << 31, 1 << 32 + 5, 10_000_000_000] {
            let mtime = timespec(tv_sec: seconds, tv_nsec: 123_456_789)
            try setTimes(at, "f", timespec(tv_sec: seconds + 1, tv_nsec: 999_999_999), mtime)
            let status = try at.status("f")
            try at.hold(status.st_mtim.tv_sec == seconds && status.st_mtim.tv_nsec == 123_456_789, "mtime \(seconds)")
            try at.hold(
                status.st_atim.tv_sec == seconds + 1 && status.st_atim.tv_nsec == 999_999_999, "atime \(seconds)")
        }
        let before = try at.status("f")
        at.tick()
        try setTimes(
            at, "f", timespec(tv_sec: 0, tv_nsec: posix_utime_omit), timespec(tv_sec: 0, tv_nsec: posix_utime_now))
        let after = try at.status("f")
        try at.hold(after.st_atim.tv_sec == before.st_atim.tv_sec, "posix_utime_omit changed atime")
        try at.hold(at.isLater(after.st_ctim, than: before.st_ctim), "ctime did not move")
        try at.hold(abs(after.st_mtim.tv_sec - time(nil)) < 100, "posix_utime_now")
    },
    PosixCheck("stat: size, blocks and kinds of everything") { at in
        try at.file("f", pattern(100_000))
        let descriptor = try at.open("f", O_RDONLY)
        defer { close(descriptor) }
        try at.ok("fsync") { fsync(descriptor) }
        let status = try at.status("f")
        try at.hold(status.st_size == 100_000 && status.st_blocks >= 8, "size or blocks")
        try at.ok("mkfifo") { mkfifo(at["p"], 0o600) }
        try at.hold(try at.status("p").st_mode & S_IFMT == S_IFIFO, "fifo")
        try at.ok("mknod") { mknod(at["k"], S_IFSOCK | 0o600, 0) }
        try at.hold(try at.status("k").st_mode & S_IFMT == S_IFSOCK, "socket")
        try at.hold(try at.status("f").st_ino != at.status("p").st_ino, "the same inode number twice")
    },
]

private func setAttribute(_ at: Scratch, _ name: String, _ key: String, _ value: [UInt8], _ flags: Int32 = 0) -> Int32 {
    value.withUnsafeBytes { setxattr(at[name], key, $0.baseAddress, $0.count, flags) }
}

private func attribute(_ at: Scratch, _ name: String, _ key: String) throws -> [UInt8] {
    var value = [UInt8](repeating: 0, count: 70_000)
    let count = try at.ok("getxattr \(key)") { () -> Int in
        value.withUnsafeMutableBytes { getxattr(at[name], key, $0.baseAddress, $0.count) }
    }
    return Array(value.prefix(count))
}

let extendedAttributeChecks: [PosixCheck] = [
    PosixCheck("xattr: set, get, replace, list, remove; ctime moves") { at in
        try at.file("f")
        if setAttribute(at, "f", "user.a", [1]) != 0, errno == EOPNOTSUPP {
            throw Skip(reason: "no user attributes here")
        }
        try at.moves("f", mtime: false, ctime: true, "setxattr") {
            try at.ok("setxattr") { setAttribute(at, "f", "user.b", pattern(1000)) }
        }
        try at.hold(try attribute(at, "f", "user.a") == [1] && attribute(at, "f", "user.b") == pattern(1000), "values")
        try at.ok("replace") { setAttribute(at, "f", "user.a", []) }
        try at.hold(try attribute(at, "f", "user.a").isEmpty, "empty value")
        var list = [CChar](repeating: 0, count: 1000)
        let count = try at.ok("listxattr") { () -> Int in listxattr(at["f"], &list, list.count) }
        let names = list.prefix(count).split(separator: 0).map {
            String(decoding: $0.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        try at.hold(Set(names).isSuperset(of: ["user.a", "user.b"]), "list \(names)")
        try at.ok("remove") { removexattr(at["f"], "user.a") }
        try at.fails("get of a removed one", ENODATA) { getxattr(at["f"], "user.a", nil, 0) }
        try at.fails("remove of a removed one", ENODATA) { Int(removexattr(at["f"], "user.a")) }
    },
    PosixCheck("xattr: CREATE, REPLACE and small buffers") { at in
        try at.file("f")
        if setAttribute(at, "f", "user.a", [1, 2, 3]) != 0, errno == EOPNOTSUPP {
            throw Skip(reason: "no user attributes here")
        }
        try at.fails("create an existing one", EEXIST) { Int(setAttribute(at, "f", "user.a", [1], 1)) }
        try at.fails("replace a missing one", ENODATA) { Int(setAttribute(at, "f", "user.b", [1], 2)) }
        var small: UInt8 = 0
        try at.fails("get into one byte", ERANGE) { getxattr(at["f"], "user.a", &small, 1) }
        try at.hold(getxattr(at["f"], "user.a", nil, 0) == 3, "size")
    },
    PosixCheck("xattr: on directories; gone with the file, a new one of the name has none") { at in
        try at.folder("d")
        if setAttribute(at, "d", "user.a", [9]) != 0, errno == EOPNOTSUPP {
            throw Skip(reason: "no user attributes here")
        }
        try at.hold(try attribute(at, "d", "user.a") == [9], "value")
        try at.ok("rmdir") { rmdir(at["d"]) }
        try at.folder("d")
        try at.fails("get", ENODATA) { getxattr(at["d"], "user.a", nil, 0) }
    },
    PosixCheck("ACL: a default ACL is inherited and the mode follows the mask") { at in
        try at.folder("d")
        // u::rwx g::r-x m::rwx o::--- u:1000:rwx as system.posix_acl_default.
        func entry(_ tag: UInt16, _ permissions: UInt16, _ id: UInt32) -> [UInt8] {
            [UInt8(tag & 255), UInt8(tag >> 8), UInt8(permissions), 0]
                + (0..<4).map { UInt8(truncatingIfNeeded: id >> UInt32(8 * $0)) }
        }
        let list =
            [2, 0, 0, 0] + entry(1, 7, .max) + entry(2, 7, 1000) + entry(4, 5, .max) + entry(16, 7, .max)
            + entry(32, 0, .max)
        if setAttribute(at, "d", "system.posix_acl_default", list) != 0 {
            if errno == EOPNOTSUPP { throw Skip(reason: "no ACLs here") }
            throw Broken(description: "setxattr of the ACL: errno \(errno)")
        }
        try at.file("d/f", mode: 0o666)
        let inherited = try attribute(at, "d/f", "system.posix_acl_access")
        try at.hold(inherited.count == list.count, "the file has an ACL of \(inherited.count) bytes")
        try at.hold(
            try at.status("d/f").st_mode & 0o777 == 0o660,
            "mode \(String(try at.status("d/f").st_mode & 0o777, radix: 8))")
        try at.folder("d/e")
        try at.hold(try attribute(at, "d/e", "system.posix_acl_default") == list, "the directory's default differs")
    },
]

let permissionChecks: [PosixCheck] = [
    PosixCheck("permissions: others are kept out by modes", needsRoot: true) { at in
        try at.file("f", [1], mode: 0o600)
        try at.folder("d", mode: 0o700)
        try at.file("d/g")
        try at.folder("r", mode: 0o755)
        try at.file("r/h")
        try at.asUser {
            try at.fails("open", EACCES) { Int(open(at["f"], O_RDONLY)) }
            try at.fails("search", EACCES) { Int(open(at["d/g"], O_RDONLY)) }
            try at.fails("create", EACCES) { Int(open(at["r/x"], O_CREAT | O_WRONLY, 0o644)) }
            try at.fails("unlink", EACCES) { Int(unlink(at["r/h"])) }
            try at.fails("rename", EACCES) { Int(rename(at["r/h"], at["x"])) }
            try at.fails("chmod", EPERM) { Int(chmod(at["f"], 0o777)) }
            try at.fails("chown", EPERM) { Int(chown(at["f"], 65_534, 65_534)) }
            try at.fails("truncate", EACCES) { Int(truncate(at["f"], 0)) }
        }
    },
    PosixCheck("permissions: new files belong to their maker", needsRoot: true) { at in
        try at.asUser(1234, 5678) { try at.file("f") }
        let status = try at.status("f")
        try at.hold(status.st_uid == 1234 && status.st_gid == 5678, "ids \(status.st_uid) \(status.st_gid)")
    },
    PosixCheck("permissions: a set-group-id directory hands its group on, and the bit to directories", needsRoot: true)
    { at in
        try at.folder("d", mode: 0o777)
        try at.ok("chown") { chown(at["d"], 0, 4242) }
        try at.ok("chmod") { chmod(at["d"], 0o2777) }
        try at.asUser(1234, 5678) {
            try at.file("d/f")
            try at.ok("mkdir") { mkdir(at["d/e"], 0o755) }
        }
        try at.hold(try at.status("d/f").st_gid == 4242 && at.status("d/e").st_gid == 4242, "groups")
        try at.hold(try at.status("d/e").st_mode & 0o2000 != 0, "the bit wasn't handed on")
        try at.hold(try at.status("d/f").st_mode & 0o2000 == 0, "the file got the bit")
    },
    PosixCheck("permissions: in a sticky directory only owners remove and rename", needsRoot: true) { at in
        try at.folder("d", mode: 0o1777)
        try at.file("d/roots")
        try at.asUser(1234, 1234) {
            try at.file("d/mine")
            try at.fails("unlink", EPERM, EACCES) { Int(unlink(at["d/roots"])) }
            try at.fails("rename", EPERM, EACCES) { Int(rename(at["d/roots"], at["d/x"])) }
            try at.fails("rename onto", EPERM, EACCES) { Int(rename(at["d/mine"], at["d/roots"])) }
            try at.ok("unlink of the own one") { unlink(at["d/mine"]) }
        }
    },
    PosixCheck("permissions: an ordinary user's write, truncate and fallocate clear set-id bits", needsRoot: true) {
        at in
        let changes: [(String, (Int32) -> Int)] = [
            (
                "write",
                { descriptor in
                    var byte: UInt8 = 1; return pwrite(descriptor, &byte, 1, 0)
                }
            ),
            ("ftruncate", { Int(ftruncate($0, 0)) }),
            ("fallocate", { Int(posix_allocate($0, 0, 0, 100)) }),
        ]
        for (name, change) in changes {
            try at.file(name, [1, 2])
            try at.ok("chown") { chown(at[name], 1234, 1234) }
            try at.ok("chmod") { chmod(at[name], 0o6777) }
            try at.asUser(1234, 1234) {
                let descriptor = try at.open(name, O_WRONLY)
                defer { close(descriptor) }
                if change(descriptor) < 0, errno != EOPNOTSUPP { throw Broken(description: "\(name): errno \(errno)") }
                try at.ok("fsync") { fsync(descriptor) }
            }
            let mode = try at.status(name).st_mode & 0o7777
            try at.hold(mode == 0o777, "\(name) left mode \(String(mode, radix: 8))")
        }
    },
]
