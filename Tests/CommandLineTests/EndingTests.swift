import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// How commands end when something goes wrong outside of them: a signal, or a standard output that takes nothing.
@Suite struct EndingTests {
    private func shell(_ bench: Workbench, _ script: String, _ arguments: String...) throws -> BuiltProgram.Result {
        try BuiltProgram(path: "/bin/bash").run(["-c", script, bench.tool.path] + arguments, in: bench.directory)
    }

    @Test func outputThatCannotBeWrittenIsSaid() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "16M")
        try bench.run("mkdir", image, "/a")
        let script = #""$0" "$@" > /dev/full"#
        for (arguments, code) in [
            (["fsck", image], Int32(8)), (["ls", image], 1), (["--help"], 1), (["fsck", "-h"], 8),
        ] {
            let result = try BuiltProgram(path: "/bin/bash").run(
                ["-c", script, bench.tool.path] + arguments, in: bench.directory)
            #expect(result.status == code, "\(arguments)")
            #expect(result.errors.contains("cannot write to standard output"), "\(arguments): \(result.errors)")
        }
        // More than is buffered.
        try bench.write("large", noise(1 << 20, seed: 1))
        let source = bench.file("in")
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(source.utf8), mode: 0o755)
        for index in 0..<3000 { try bench.write("in/a file with a rather long name \(index)", []) }
        try bench.run("import", image, source)
        let result = try shell(bench, script, "manifest", image)
        #expect(result.status == 1 && result.errors.contains("cannot write to standard output"))
    }

    /// The archive comes through a pipe that stays open: opening its other end returns when the tool has begun to read.
    @Test(arguments: ["INT", "TERM", "HUP"])
    func anInterruptedFileSystemIsRemoved(_ signal: String) throws {
        let bench = try Workbench()
        let script = #"""
            mkfifo pipe
            set -m
            "$0" mkfs new.img --size 64M --from-tar pipe & job=$!
            exec 3> pipe
            [ -s new.img ] || echo "it wasn't there"
            kill -$1 $job
            wait $job
            echo "ended with $?"
            ls new.img 2> /dev/null
            """#
        let result = try shell(bench, "cd '\(bench.directory.path)'; " + script, signal)
        let number = ["INT": 2, "TERM": 15, "HUP": 1][signal] ?? 0
        #expect(result.lines == ["ended with \(128 + number)"], "\(result.text) \(result.errors)")
    }

    /// What is there already can't be removed, but must not look like a file system either.
    @Test(arguments: ["INT", "KILL"])
    func anInterruptedFileSystemIsNotFoundInAnOldFile(_ signal: String) throws {
        let bench = try Workbench()
        let image = bench.file("old.img")
        try bench.run("mkfs", image, "--size", "64M")
        let script = #"""
            mkfifo pipe
            set -m
            "$0" mkfs old.img --force --from-tar pipe & job=$!
            exec 3> pipe
            kill -$1 $job
            wait $job
            echo "ended with $?"
            """#
        let result = try shell(bench, "cd '\(bench.directory.path)'; " + script, signal)
        let number = signal == "KILL" ? 9 : 2
        #expect(result.text.contains("ended with \(128 + number)"), "\(result.text) \(result.errors)")
        #expect(try bench.fail(1, "ls", image).errors.contains("no RedoxFS"))
        #expect(try bench.run("mkfs", image, "--force").status == 0)
    }

    @Test func anInterruptedCloneIsRemoved() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.makeTree("source")
        try bench.run("mkfs", image, "--size", "64M", "--from", bench.file("source"))
        let script = #"""
            "$0" clone disk.img copy.img & job=$!
            until [ -e copy.img ] || ! kill -0 $job 2> /dev/null; do :; done
            kill -TERM $job 2> /dev/null
            wait $job
            case $? in
                0) "$0" fsck copy.img ;;
                *) ls copy.img 2> /dev/null && echo "it is still there" ;;
            esac
            """#
        // Whichever is faster: all of the copy or none of it.
        for _ in 0..<5 {
            let result = try shell(bench, "cd '\(bench.directory.path)'; rm -f copy.img; " + script)
            #expect(!result.text.contains("still there"))
            #expect(result.text.isEmpty || result.text.contains("clean"))
        }
    }
}
