import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// A folder with everything that a file system can hold, and the tool to put it into images.
struct Workbench {
    let directory: TemporaryDirectory
    let tool: BuiltProgram
    /// Devices and other owners are for root.
    let isPrivileged = geteuid() == 0

    init() throws {
        directory = try TemporaryDirectory()
        tool = try BuiltProgram.saltbridge()
    }

    func file(_ name: String) -> String { directory.file(name) }

    /// Runs the tool and expects it to succeed.
    @discardableResult
    func run(
        _ arguments: String..., input: [UInt8] = [], at location: SourceLocation = #_sourceLocation
    ) throws -> BuiltProgram.Result {
        let result = try tool.run(arguments, input: input, in: directory)
        #expect(result.status == 0, "\(arguments): \(result.errors)", sourceLocation: location)
        return result
    }

    /// Runs the tool and expects it to fail with that code and a message on standard error alone.
    @discardableResult
    func fail(
        _ status: Int32, _ arguments: String..., input: [UInt8] = [], at location: SourceLocation = #_sourceLocation
    ) throws -> BuiltProgram.Result {
        let result = try tool.run(arguments, input: input, in: directory)
        #expect(result.status == status, "\(arguments)", sourceLocation: location)
        #expect(!result.errors.isEmpty && result.output.isEmpty, sourceLocation: location)
        return result
    }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        let file = try SystemCall.open(self.file(name), O_WRONLY | O_CREAT, mode: 0o644)
        try unsafe SystemCall.writeAll(file.rawValue, bytes.span.bytes)
    }

    func makeTree(_ name: String) throws {
        let top = file(name)
        func path(_ name: String) -> [UInt8] { Array("\(top)/\(name)".utf8) }
        func make(_ name: String, _ mode: mode_t = 0o755) throws {
            try SystemCall.makeDirectoryAt(AT_FDCWD, path(name), mode: mode)
        }
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(top.utf8), mode: 0o750)
        try make("a")
        try make("a/b")
        try make("empty", 0o700)
        try make("sp ace")
        try write("\(name)/a/one", Array("hello\n".utf8))
        try SystemCall.linkAt(AT_FDCWD, path("a/one"), AT_FDCWD, path("sp ace/two"))
        try SystemCall.makeSymbolicLinkAt(AT_FDCWD, path("a/b/link"), target: Array("../one".utf8))
        try SystemCall.makeSymbolicLinkAt(AT_FDCWD, path("long"), target: [UInt8](repeating: 0x7A, count: 3000))
        try SystemCall.makeNodeAt(AT_FDCWD, path("pipe"), mode: S_IFIFO | 0o640, device: 0)
        try write("\(name)/big", noise(1_234_567, seed: 1))
        try write("\(name)/" + String(repeating: "n", count: 200) + "é", noise(10, seed: 2))
        var deep = name
        for level in 0..<30 {
            deep += "/directory-\(level)"
            try SystemCall.makeDirectoryAt(AT_FDCWD, Array(file(deep).utf8), mode: 0o755)
        }
        try write(deep + "/file", noise(5000, seed: 3))
        for (name, size, data) in [("sparse", 50_000_000, [10_000_384, 40_000_000]), ("hole", 5_000_000, [])] {
            let file = try SystemCall.open("\(top)/\(name)", O_RDWR | O_CREAT, mode: 0o644)
            for offset in data {
                _ = try unsafe SystemCall.write(file.rawValue, at: UInt64(offset), noise(9000, seed: 4).span.bytes)
            }
            try SystemCall.truncate(file.rawValue, to: UInt64(size))
        }
        try? SystemCall.setAttributeAt(AT_FDCWD, path("a/one"), Array("user.comment".utf8), [0x68, 0x0A, 0x3D, 0])
        try? SystemCall.setAttributeAt(
            AT_FDCWD, path("a"), Array("user.large".utf8), [UInt8](repeating: 7, count: 3000))
        if isPrivileged {
            try SystemCall.makeNodeAt(
                AT_FDCWD, path("null"), mode: S_IFCHR | 0o666, device: SystemCall.deviceNumber(major: 1, minor: 3))
            try SystemCall.changeOwnerAt(AT_FDCWD, path("big"), uid: 3_000_000, gid: 4_000_000_000)
            try SystemCall.changeOwnerAt(AT_FDCWD, path("long"), uid: 7, gid: 8)
        }
        try SystemCall.changeModeAt(AT_FDCWD, path("big"), 0o4751)
        try SystemCall.changeModeAt(AT_FDCWD, path("empty"), 0o1777)
        let times = [("big", 1_234_567_890, 123_456_789), ("a", -1, 1), ("a/b/link", 5, 999_999_999)]
        for (name, seconds, nanoseconds) in times {
            let time = timespec(tv_sec: seconds, tv_nsec: nanoseconds)
            try SystemCall.changeTimesAt(AT_FDCWD, path(name), access: time, modification: time)
        }
    }

    /// Everything in a folder of the host, with all that must be kept.
    func scan(_ name: String, leavingOut left: Set<String> = []) throws -> [String: String] {
        var result: [String: String] = [:]
        var links: [ino_t: String] = [:]
        var pending = [""]
        while let relative = pending.popLast() {
            let full = Array((file(name) + "/" + relative).utf8)
            let status = try SystemCall.statusAt(AT_FDCWD, full)
            var facts = "\(status.st_mode) \(status.st_uid) \(status.st_gid) \(status.st_rdev) "
            facts += "\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec) "
            for attribute in try SystemCall.attributeNamesAt(AT_FDCWD, full) where attribute.starts(with: "user.".utf8)
            {
                facts += "\(attribute)=\(try SystemCall.attributeAt(AT_FDCWD, full, attribute)) "
            }
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                for child in try SystemCall.directoryNames(file(name) + "/" + relative).sorted().reversed() {
                    pending.append(relative.isEmpty ? child : relative + "/" + child)
                }
            case S_IFLNK: facts += "\(try SystemCall.readLinkAt(AT_FDCWD, full))"
            case S_IFREG:
                let open = try SystemCall.open(String(decoding: full, as: UTF8.self), O_RDONLY)
                let content = try SystemCall.readToEnd(open.rawValue, limit: 1 << 28)
                facts += "\(status.st_size) \(content.hashValue) "
                // Holes: as many blocks as before, give or take the host's own granularity.
                facts += status.st_blocks * 512 < status.st_size / 2 ? "sparse " : "dense "
                if status.st_nlink > 1 { facts += links[status.st_ino, default: relative] }
                links[status.st_ino] = links[status.st_ino] ?? relative
            default: break
            }
            if !left.contains(relative) { result[relative] = facts }
        }
        return result
    }
}

@Suite struct RoundTripTests {
    @Test func directoryToImageToArchiveToImageToDirectory() throws {
        let bench = try Workbench()
        try bench.makeTree("source")
        let wanted = try bench.scan("source")
        #expect(wanted.count > 40)
        let first = bench.file("first.img")
        let second = bench.file("second.img")
        try bench.run("mkfs", first, "--size", "128M", "--from", bench.file("source"))
        try bench.run("export", first, bench.file("direct"))
        #expect(try bench.scan("direct") == wanted)
        let archive = try bench.run("export", first, "-").output
        try bench.run("mkfs", second, "--size", "64M", "--from", "-", input: archive)
        try bench.run("export", second, bench.file("through"))
        #expect(try bench.scan("through") == wanted)
        // The archive of the copy is the same again, but for the time of change.
        try bench.run("import", second, "-", "/again", input: archive)
        try bench.run("export", second, "/again", bench.file("again"))
        #expect(try bench.scan("again") == wanted)
    }

    @Test func tarReadsAndWritesTheSame() throws {
        let bench = try Workbench()
        try bench.makeTree("source")
        let wanted = try bench.scan("source")
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "128M", "--from", bench.file("source"))
        try bench.write("disk.tar", try bench.run("export", image, "-").output)
        let tar = BuiltProgram(path: "/bin/tar")
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(bench.file("unpacked").utf8), mode: 0o755)
        let unpacked = try tar.run(
            ["--xattrs", "--xattrs-include=*", "-xpf", bench.file("disk.tar"), "-C", bench.file("unpacked")],
            in: bench.directory)
        #expect(unpacked.status == 0, "\(unpacked.errors)")
        #expect(try bench.scan("unpacked") == wanted)
        let forms = [
            ["--format=pax", "--xattrs"], ["--format=pax", "--xattrs", "-S"],
            ["--format=pax", "--xattrs", "-S", "--sparse-version=0.0"],
            ["--format=pax", "--xattrs", "-S", "--sparse-version=0.1"],
        ]
        for (index, form) in forms.enumerated() {
            let packed = try tar.run(form + ["-cf", "-", "-C", bench.file("source"), "."], in: bench.directory)
            #expect(packed.status == 0)
            let copy = bench.file("copy-\(index).img")
            try bench.run("mkfs", copy, "--size", "128M", "--from", "-", input: packed.output)
            try bench.run("export", copy, bench.file("copy-\(index)"))
            let isSparse = form.contains("-S")
            let found = try bench.scan("copy-\(index)")
            for (path, facts) in wanted where isSparse || !facts.contains("sparse ") {
                #expect(found[path] == facts, "\(form) \(path)")
            }
        }
    }

    @Test func olderFormsOfArchivesAreRead() throws {
        let bench = try Workbench()
        try bench.makeTree("source")
        let tar = BuiltProgram(path: "/bin/tar")
        for form in [["--format=gnu"], ["--format=gnu", "-S"], ["--format=oldgnu", "-S"]] {
            let packed = try tar.run(form + ["-cf", "-", "-C", bench.file("source"), "."], in: bench.directory)
            let image = bench.file("image" + form.joined())
            try bench.run("mkfs", image, "--size", "128M", "--from", "-", input: packed.output)
            #expect(try bench.run("cat", image, "/sp ace/two").text == "hello\n")
            #expect(try bench.run("cat", image, "/big").output == noise(1_234_567, seed: 1))
            let sparse = try bench.run("cat", image, "/sparse").output
            #expect(sparse.count == 50_000_000)
            let piece = Array(sparse.dropFirst(10_000_384).prefix(9000))
            #expect(piece == noise(9000, seed: 4))
            let target = " -> " + String(repeating: "z", count: 3000)
            #expect(try bench.run("ls", image, "/", "-l").text.contains(target))
        }
    }

    @Test func anImageIsNotClonedOntoItself() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "8M")
        try SystemCall.makeSymbolicLinkAt(AT_FDCWD, Array(bench.file("link").utf8), target: Array("disk.img".utf8))
        for target in [image, bench.file("link")] {
            #expect(try bench.fail(1, "clone", "--force", image, target).errors.contains("are the same image"))
        }
        try bench.run("fsck", image)
    }

    @Test func cloneKeepsEverything() throws {
        let bench = try Workbench()
        try bench.makeTree("source")
        try bench.write("old", Array("first\n".utf8))
        try bench.write("new", Array("second".utf8))
        try bench.write("boot", noise(10_000, seed: 9))
        let image = bench.file("disk.img")
        let copy = bench.file("copy.img")
        let plain = bench.file("plain.img")
        try bench.run(
            "mkfs", image, "--size", "128M", "--from", bench.file("source"), "--encrypt", "--password-file",
            bench.file("old"), "--boot", bench.file("boot"))
        try bench.run(
            "clone", image, copy, "--size", "64M", "--password-file", bench.file("old"), "--new-password-file",
            bench.file("new"))
        try bench.run("clone", copy, plain, "--decrypt", "--password-file", bench.file("new"))
        let members = ["node"]
        func lines(_ text: [String]) -> [String] {
            text.map { line in line.split(separator: ",").filter { !$0.hasPrefix("\"\(members[0])") }.joined() }
        }
        let first = try bench.run("manifest", image, "--password-file", bench.file("old")).lines
        let second = try bench.run("manifest", copy, "--password-file", bench.file("new")).lines
        let third = try bench.run("manifest", plain).lines
        #expect(lines(first) == lines(second))
        #expect(lines(first) == lines(third))
        let head = try SystemCall.open(plain, O_RDONLY)
        let buffer = AlignedBuffer(byteCount: 10_000)
        var bytes = buffer.mutableBytes
        _ = try SystemCall.readAll(head.rawValue, at: 0, into: &bytes)
        let boot = unsafe buffer.bytes.withUnsafeBytes { unsafe Array($0) }
        #expect(boot == noise(10_000, seed: 9))
    }
}
