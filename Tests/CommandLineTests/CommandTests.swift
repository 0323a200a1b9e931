import BlockDevice
import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@Suite struct CommandTests {
    @Test func filesAreMadeMovedAndRemoved() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "16M")
        try bench.run("mkdir", image, "/a/b/c", "--parents")
        try bench.fail(1, "mkdir", image, "/a")
        try bench.fail(1, "mkdir", image, "/x/y")
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(bench.file("in").utf8), mode: 0o755)
        try bench.write("in/file", Array("content".utf8))
        try bench.run("import", image, bench.file("in"), "/a/b")
        #expect(try bench.run("ls", image, "/a/b").lines == ["c", "file"])
        try bench.run("mv", image, "/a/b/file", "/a")
        try bench.run("mv", image, "/a/file", "/a/renamed")
        #expect(try bench.run("cat", image, "/a/renamed").text == "content")
        try bench.fail(1, "cat", image, "/a")
        try bench.fail(1, "cat", image, "/nothing")
        try bench.fail(1, "rm", image, "/a")
        try bench.fail(1, "rm", image, "/nothing")
        try bench.run("rm", image, "--force", "/nothing")
        try bench.run("rm", image, "-r", "/a")
        #expect(try bench.run("ls", image).lines.isEmpty)
    }

    @Test func resultsAreJSONIfWanted() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        let made = try JSONValue(parsing: try bench.run("mkfs", image, "--size", "16M", "--json").output)
        #expect(try made.whole("size") == UInt64(16 << 20))
        #expect(made["encrypted"]?.bool == false)
        try bench.run("mkdir", image, "/ä\"\\", "--json")
        let listed = try JSONValue(parsing: try bench.run("ls", image, "--json").output)
        #expect(try listed.array?.first?.text("path") == "/ä\"\\")
        let line = try #require(try bench.run("manifest", image, "/").lines.first)
        let entry = try JSONValue(parsing: line)
        #expect(try entry.text("type") == "dir")
        #expect(try entry.text("mode") == "755")
        let failed = try bench.fail(1, "cat", image, "/nothing", "--json")
        let message = try JSONValue(parsing: failed.errors.trimmingNewlines).text("error")
        #expect(message.contains("/nothing"))
        let sized = try JSONValue(parsing: try bench.run("resize", image, "min", "--json").output)
        let size: UInt64 = try sized.whole("size")
        #expect(size < 2 << 20)
        #expect(try SystemCall.statusAt(AT_FDCWD, image).st_size == Int(size))
    }

    @Test func wrongCommandLinesSayHow() throws {
        let bench = try Workbench()
        let wrong = [
            ["bogus"], ["ls"], ["mkfs"], ["resize", "x"], ["resize", "x", "1Q"], ["export", "x"],
            ["crash", "file", "--in", "bogus"], ["crash", "file", "--signal", "bogus"],
            ["status", "x", "--mount", "y"], ["mkfs", "x", "--size", "8M", "--uuid", "xyz"],
            ["mkfs", "x", "--size", "8M", "--uuid", String(repeating: "+1", count: 16)],
            ["mkdir", "x", "/a", "-m", "999"],
            ["mkdir", "x", "/a", "-m", "+7"], ["resize", "x", "8M", "--overlay", "y"],
        ]
        for arguments in wrong {
            let result = try bench.tool.run(arguments, in: bench.directory)
            #expect(result.status == 2, "\(arguments)")
            let usage = arguments[0] == "bogus" ? "Usage: saltbridge" : "Usage: saltbridge \(arguments[0]) "
            #expect(result.errors.contains(usage) && result.output.isEmpty, "\(arguments): \(result.errors)")
        }
        #expect(try bench.run("--help").text.contains("mkfs"))
        #expect(try bench.run("help", "export").text.contains("tar"))
    }

    @Test func archivesFillNewFileSystems() throws {
        let bench = try Workbench()
        let first = bench.file("first.img")
        try bench.makeTree("source")
        try bench.run("mkfs", first, "--size", "64M", "--from", bench.file("source"))
        let archive = try bench.run("export", first, "-").output
        try bench.write("archive.tar", archive)
        let listed = try bench.run("ls", first, "-R").text
        for (number, source) in ["-", bench.file("archive.tar")].enumerated() {
            let image = bench.file("\(number).img")
            try bench.run("mkfs", image, "--size", "64M", "--from-tar", source, input: source == "-" ? archive : [])
            #expect(try bench.run("ls", image, "-R").text == listed)
        }
        try bench.fail(1, "mkfs", bench.file("no.img"), "--size", "8M", "--from-tar", bench.file("missing"))
        try bench.fail(2, "mkfs", bench.file("no.img"), "--from-tar", "-", "--from", bench.file("source"))
        #expect(throws: Errno.noSuchFileOrDirectory) { _ = try SystemCall.statusAt(AT_FDCWD, bench.file("no.img")) }
    }

    @Test func whatCannotBeIsSaid() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "8M")
        #expect(try bench.run("fsck", image).text.contains(" 1 node, "))
        #expect(try bench.fail(1, "passwd", image).errors.contains("not encrypted"))
        #expect(try bench.fail(1, "rm", image, "").errors.contains("empty path"))
        let missing = bench.file("missing.img")
        #expect(try bench.fail(1, "ls", missing).errors.occurrences(of: missing) == 1)
        #expect(try bench.fail(1, "rm", image, "-r", "/").errors.contains("root"))
        // The shell makes the byte, which a string here can't hold.
        let shell = BuiltProgram(path: "/bin/sh")
        let result = try shell.run(
            ["-c", "exec \"$0\" mkdir \"$1\" \"$(printf '/a\\377')\"", bench.tool.path, image], in: bench.directory)
        #expect(result.status == 2 && result.errors.contains("argument 3 is not UTF-8"))
        #expect(try bench.run("ls", image).lines.isEmpty)
    }

    @Test func whatIsThereIsNotOverwritten() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.fail(1, "mkfs", image)
        try bench.fail(1, "mkfs", image, "--size", "4096")
        #expect(throws: Errno.noSuchFileOrDirectory) { _ = try SystemCall.statusAt(AT_FDCWD, image) }
        try bench.run("mkfs", image, "--size", "8M")
        try bench.run("mkdir", image, "/valuable")
        try bench.fail(1, "mkfs", image)
        #expect(try bench.run("ls", image).lines == ["valuable"])
        try bench.run("mkfs", image, "--force")
        #expect(try bench.run("ls", image).lines.isEmpty)
    }

    @Test func foreignDataIsNotOverwritten() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        let content = [UInt8](repeating: 0, count: 1080) + [0x53, 0xEF] + [UInt8](repeating: 0, count: 8 << 20)
        try bench.write("disk.img", content)
        #expect(try bench.fail(1, "mkfs", image).errors.contains("ext4"))
        try bench.run("mkfs", bench.file("other.img"), "--size", "4M")
        #expect(try bench.fail(1, "clone", bench.file("other.img"), image).errors.contains("--force"))
        let file = try SystemCall.open(image, O_RDONLY)
        #expect(try SystemCall.readToEnd(file.rawValue, limit: 1 << 24) == content)
        try bench.run("mkfs", image, "--force")
    }

    @Test func passwordsThatWouldBeIgnoredAreRefused() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        let copy = bench.file("copy.img")
        try bench.write("one", Array("first\n".utf8))
        let one = bench.file("one")
        let made = try bench.fail(2, "mkfs", image, "--size", "8M", "--password-file", one)
        #expect(made.errors.contains("--encrypt"))
        #expect(!SystemCall.exists(image))
        try bench.run("mkfs", image, "--size", "8M")
        #expect(try bench.fail(2, "clone", image, copy, "--new-password-file", one).errors.contains("--encrypt"))
        #expect(!SystemCall.exists(copy))
        try bench.run("mkfs", image, "--force", "--encrypt", "--password-file", one)
        try bench.fail(2, "clone", image, copy, "--decrypt", "--password-file", one, "--new-password-file", one)
        let both = try bench.fail(
            2, "passwd", image, "--password-file", "/dev/stdin", "--new-password-file", "/dev/stdin")
        #expect(both.errors.contains("standard input"))
        try bench.fail(1, "passwd", image, "--add", "--password-file", one, "--new-password-file", one)
        // A header is not encrypted.
        #expect(try bench.run("inspect", image, "--header").text.contains("encrypted: yes"))
        try bench.fail(1, "inspect", image, "--tree")
    }

    @Test func passwordsNeedAFileWithoutATerminal() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.write("one", Array("first\n".utf8))
        try bench.write("two", Array("second\r\n".utf8))
        try bench.write("none", [0x0A])
        try bench.fail(1, "mkfs", image, "--size", "8M", "--encrypt")
        try bench.fail(1, "mkfs", image, "--size", "8M", "--encrypt", "--password-file", bench.file("none"))
        try bench.run("mkfs", image, "--size", "8M", "--encrypt", "--password-file", bench.file("one"))
        let failed = try bench.fail(1, "ls", image)
        #expect(failed.errors.contains("--password-file"))
        try bench.fail(1, "ls", image, "--password-file", bench.file("two"))
        try bench.run("ls", image, "--password-file", "/dev/stdin", input: Array("first".utf8))
        try bench.run(
            "passwd", image, "--change", "--password-file", bench.file("one"), "--new-password-file", bench.file("two"))
        try bench.fail(1, "ls", image, "--password-file", bench.file("one"))
        try bench.run("ls", image, "--password-file", "/dev/stdin", input: Array("second".utf8))
        try bench.fail(1, "passwd", image, "--remove", "--password-file", bench.file("two"))
    }

    @Test func generationsCanBeSeenAndBroughtBack() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "16M")
        try bench.run("mkdir", image, "/first")
        let store = try generation(bench, image)
        try bench.run("mkdir", image, "/second")
        #expect(try bench.run("ls", image).lines == ["first", "second"])
        #expect(try bench.run("ls", image, "--generation", String(store)).lines == ["first"])
        try bench.run("rollback", image, String(store))
        #expect(try bench.run("ls", image).lines == ["first"])
        try bench.fail(1, "rollback", image, "999999")
    }

    private func generation(_ bench: Workbench, _ image: String) throws -> UInt64 {
        let failed = try bench.fail(1, "rollback", image, "999999")
        // "(there: 1 to 5)"
        let number = failed.errors.split(separator: " ").last?.prefix { $0.isNumber } ?? ""
        return try #require(UInt64(number))
    }

    @Test func aHostileImageWritesNothingOutside() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "16M")
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(bench.file("in").utf8), mode: 0o755)
        try bench.write("in/file", Array("evil".utf8))
        try bench.run("import", image, bench.file("in"), "/trap")
        // The destination already has a link of that name that leads out of it.
        let out = bench.file("out")
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(out.utf8), mode: 0o755)
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(bench.file("elsewhere").utf8), mode: 0o755)
        try SystemCall.makeSymbolicLinkAt(
            AT_FDCWD, Array("\(out)/trap".utf8), target: Array(bench.file("elsewhere").utf8))
        let result = try bench.tool.run(["export", image, out], in: bench.directory)
        #expect(result.status == 1)
        #expect(try SystemCall.directoryNames(bench.file("elsewhere")).isEmpty)
    }

    @Test func damagedImagesAreErrors() throws {
        let bench = try Workbench()
        let image = bench.file("noise.img")
        try bench.write("noise.img", noise(300_000, seed: 8))
        for command in ["ls", "manifest", "export"] {
            let arguments = command == "export" ? [command, image, bench.file("x")] : [command, image]
            #expect(try bench.tool.run(arguments, in: bench.directory).status == 1)
        }
        try bench.fail(1, "ls", bench.file("missing.img"))
        try bench.fail(1, "ls", bench.directory.path)
        try bench.fail(1, "import", image, "-", input: [0x1F, 0x8B, 8])
    }

    @Test(arguments: [false, true])
    func readingFallsBackToTheNewestWholeGeneration(_ tearsHeader: Bool) throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "16M")
        try bench.run("mkdir", image, "/kept")
        try bench.run("mkdir", image, "/lost")
        do {
            let device = try FileDevice(path: image, writable: true)
            // The newest header: generation at 40, pointer to the tree at 48.
            var newest: (generation: UInt64, block: UInt64, tree: UInt64) = (0, 0, 0)
            for block in UInt64(0)..<256 {
                let header = try device.readBytes(at: block * 4096, count: 64)
                func number(_ offset: Int) -> UInt64 {
                    header[offset..<offset + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
                }
                if number(0) != 0, number(40) > newest.generation { newest = (number(40), block, number(48) >> 8) }
            }
            try device.writeBytes(
                at: tearsHeader ? newest.block * 4096 + 512 : newest.tree * 4096, [UInt8](repeating: 0xEE, count: 512))
        }
        for command in ["ls", "manifest"] {
            let result = try bench.run(command, image)
            #expect(result.text.contains("kept") && !result.text.contains("lost"))
            #expect(result.errors.contains(tearsHeader ? "torn" : "falling back to generation"))
        }
        try bench.run("export", image, bench.file("out"))
        #expect(try SystemCall.directoryNames(bench.file("out")) == ["kept"])
    }

    @Test func sameInputGivesSameImage() throws {
        let bench = try Workbench()
        try bench.makeTree("source")
        let tool = BuiltProgram(path: "/usr/bin/env")
        var digests: Set<Int> = []
        // Reading a symbolic link may note the access; from the second time on nothing changes.
        try bench.run("mkfs", bench.file("zero.img"), "--size", "64M", "--from", bench.file("source"))
        for name in ["one.img", "two.img"] {
            let result = try tool.run(
                [
                    "SOURCE_DATE_EPOCH=1700000000", bench.tool.path, "mkfs", bench.file(name), "--size", "64M",
                    "--uuid",
                    "00112233-4455-4677-8899-aabbccddeeff", "--from", bench.file("source"),
                ], in: bench.directory)
            #expect(result.status == 0)
            let file = try SystemCall.open(bench.file(name), O_RDONLY)
            digests.insert(try SystemCall.readToEnd(file.rawValue, limit: 1 << 27).hashValue)
            #expect(result.text.contains("00112233-4455-4677-8899-aabbccddeeff"))
        }
        #expect(digests.count == 1)
    }
}

extension String {
    fileprivate var trimmingNewlines: String { split(separator: "\n").joined() }

    /// How often a text occurs in this one.
    fileprivate func occurrences(of text: String) -> Int {
        split(separator: text, omittingEmptySubsequences: false).count - 1
    }
}
