import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// What a person sees at a terminal:
/// - a password isn't shown while it is typed, and what is typed later is, also after Ctrl-C;
/// - progress appears for what takes over a second, on standard error, and is gone at the end;
/// - nothing of it gets into a file that results are sent to.
@Suite struct TerminalTests {
    private func encrypted(_ bench: Workbench) throws -> String {
        let image = bench.file("disk.img")
        try bench.write("secret", Array("correct horse".utf8))
        try bench.run("mkfs", image, "--size", "8M", "--encrypt", "--password-file", bench.file("secret"))
        try bench.run("mkdir", image, "/inside", "--password-file", bench.file("secret"))
        return image
    }

    @Test func passwordIsAskedForAndNotShown() throws {
        let bench = try Workbench()
        let terminal = try PseudoTerminal(bench.tool.path, ["ls", try encrypted(bench)])
        try terminal.expect("Password for ")
        #expect(try !terminal.echoes)
        // A slip and its correction; ä has two bytes.
        try terminal.type("correct horseä\u{7F}\n")
        #expect(try terminal.finish() == 0)
        #expect(terminal.screen.contains("inside"))
        #expect(!terminal.screen.contains("horse"))
        #expect(try terminal.echoes)
    }

    @Test func wrongPasswordIsAnError() throws {
        let bench = try Workbench()
        let image = try encrypted(bench)
        for (command, code) in [("ls", Int32(1)), ("fsck", 8)] {
            let terminal = try PseudoTerminal(bench.tool.path, [command, image])
            try terminal.expect("Password for ")
            try terminal.type("wrong\n")
            #expect(try terminal.finish() == code)
            #expect(terminal.screen.contains("password"))
            #expect(try terminal.echoes)
        }
    }

    @Test func interruptionLeavesTheTerminalAsItWas() throws {
        let bench = try Workbench()
        let terminal = try PseudoTerminal(bench.tool.path, ["ls", try encrypted(bench)])
        try terminal.expect("Password for ")
        try terminal.type("cor\u{3}")
        #expect(try terminal.finish() == 128 + SIGINT)
        #expect(try terminal.echoes)
        #expect(!terminal.screen.contains("cor"))
    }

    @Test func newPasswordIsAskedForTwice() throws {
        let bench = try Workbench()
        let image = bench.file("new.img")
        let arguments = ["mkfs", image, "--size", "8M", "--encrypt"]
        let first = try PseudoTerminal(bench.tool.path, arguments)
        try first.expect("New password for ")
        try first.type("one\n")
        try first.expect("The same again: ")
        try first.type("other\n")
        #expect(try first.finish() == 1)
        #expect(first.screen.contains("differ"))
        #expect(throws: Errno.noSuchFileOrDirectory) { _ = try SystemCall.statusAt(AT_FDCWD, image) }
        let second = try PseudoTerminal(bench.tool.path, arguments)
        try second.expect("New password for ")
        try second.type("one\n")
        try second.expect("The same again: ")
        try second.type("one\n")
        #expect(try second.finish() == 0)
        try bench.write("one", Array("one".utf8))
        try bench.run("ls", image, "--password-file", bench.file("one"))
    }

    @Test func progressComesAndGoes() throws {
        let bench = try Workbench()
        let terminal: PseudoTerminal
        do {
            let pipe = try SystemCall.pipe()
            defer { withExtendedLifetime(pipe) {} }
            terminal = try PseudoTerminal(
                bench.tool.path, ["mkfs", bench.file("disk.img"), "--size", "64M", "--from-tar", "-"],
                input: pipe.reading.rawValue, output: bench.file("result"))
            let line = String("filling \(bench.file("disk.img"))".prefix(40))
            // An archive that goes on until the progress is there, however long that takes.
            while !terminal.shows(line) {
                try #require(!terminal.isEnded, "\(terminal.screen)")
                try unsafe SystemCall.writeAll(pipe.writing.rawValue, Self.tarEntry("again").span.bytes)
            }
            try unsafe SystemCall.writeAll(
                pipe.writing.rawValue, [UInt8](repeating: 0, count: 1024).span.bytes)
        }
        #expect(try terminal.finish() == 0)
        #expect(terminal.screen.hasSuffix("\r\u{1B}[K"))
        let result = try SystemCall.open(bench.file("result"), O_RDONLY)
        let text = String(decoding: try SystemCall.readToEnd(result.rawValue, limit: 4096), as: UTF8.self)
        #expect(text.contains("RedoxFS") && !text.contains("\u{1B}"))
    }

    @Test func whatIsQuickHasNoProgress() throws {
        let bench = try Workbench()
        try bench.makeTree("source")
        let start = Clock.monotonicNanoseconds()
        let terminal = try PseudoTerminal(
            bench.tool.path, ["mkfs", bench.file("disk.img"), "--size", "64M", "--from", bench.file("source")])
        #expect(try terminal.finish() == 0)
        let isQuick = Clock.monotonicNanoseconds() - start < 1_000_000_000
        // On a busy machine it can take its second after all.
        #expect(!isQuick || !terminal.screen.contains("\u{1B}"), "\(terminal.screen)")
    }

    /// A header of an empty file.
    private static func tarEntry(_ name: String) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            block.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        put(name, at: 0)
        put("0000644\0" + "0000000\0" + "0000000\0" + "00000000000\0" + "00000000000\0" + "        " + "0", at: 100)
        put("ustar\u{0}00", at: 257)
        let sum = block.reduce(0) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        put(String(repeating: "0", count: 6 - digits.utf8.count) + digits + "\0 ", at: 148)
        return block
    }
}
