import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// The commands that are about a running mount.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct ToolTests {
    @Test func theDoctorSaysWhatThereIs() throws {
        let mount = try ToolMount()
        let result = try mount.run(["doctor", "--json"])
        let checks = try #require(try JSONValue(parsing: result.output).array)
        var verdicts: [String: String] = [:]
        for check in checks {
            let name = try #require(check["check"]?.string)
            verdicts[name] = check["verdict"]?.string
            #expect(check["found"]?.string?.isEmpty == false, "\(name)")
            // What is wrong comes with what to do.
            if check["verdict"]?.string == "missing" { #expect(check["advice"]?.string?.isEmpty == false, "\(name)") }
        }
        #expect(verdicts.count == checks.count)
        #expect(result.status == (verdicts.values.contains("missing") ? 1 : 0))
        // This machine mounts, or the suite would not run.
        for name in ["FUSE", "kernel", "seccomp", "landlock", "programs"] {
            #expect(verdicts[name] != nil && verdicts[name] != "missing", "\(name): \(verdicts)")
        }
        let lines = try mount.run(["doctor"]).lines
        for name in verdicts.keys { #expect(lines.contains { $0.contains(" \(name): ") }, "\(name)") }
    }

    /// A tar archive that other programs read, and in which nobody finds what the mount holds or where it is.
    @Test func aBugReportTellsNothingOfFiles() throws {
        let mount = try ToolMount()
        try mount.mount()
        let (name, content) = ("a-name-that-nobody-may-see", "contents-that-nobody-may-read")
        unsafe #expect(mkdir(mount.path("file/\(name)-folder"), 0o755) == 0)
        try mount.write("file/\(name)-folder/\(name)", content)
        try mount.ask("crash", "file")
        #expect(try mount.read("file/\(name)-folder/\(name)") == content)
        let archive = mount.folder.file("report.tar")
        try mount.succeed("bug-report", "--output", archive)
        let raw = String(decoding: try bytes(archive), as: UTF8.self)
        for secret in [name, content, mount.image, mount.point, mount.folder.path] {
            #expect(!raw.contains(secret), "\(secret)")
        }
        let listed = try mount.host("/bin/tar", "tf", archive)
        #expect(listed.status == 0, "\(listed.errors)")
        #expect(Set(["version.txt", "system.txt", "doctor.json"]).isSubset(of: listed.lines))
        #expect(listed.lines.contains { $0.hasPrefix("mount-") && $0.hasSuffix("/status.json") })
        #expect(listed.lines.contains { $0.hasPrefix("mount-") && $0.hasSuffix("/log.txt") })
        // Whoever looks for a fault finds the recovery.
        #expect(raw.contains("signal 9 (by crash)"))
        let status = try SystemCall.statusAt(AT_FDCWD, archive)
        #expect(status.st_mode & 0o077 == 0)
    }

    @Test func filesOfARunningMountAreListedAndPrinted() throws {
        let mount = try ToolMount()
        try mount.mount()
        unsafe #expect(mkdir(mount.path("file/folder"), 0o750) == 0)
        try mount.write("file/folder/text", "first\nsecond\n")
        #expect(try mount.ask("ls", "/scheme").lines.contains("file"))
        #expect(try mount.ask("ls", "/scheme/file").lines == ["folder"])
        #expect(try mount.ask("ls", "/scheme/file/folder").lines == ["text"])
        #expect(try mount.ask("cat", "/scheme/file/folder/text").text == "first\nsecond\n")
        let long = try mount.ask("ls", "-l", "/scheme/file").lines
        #expect(long.count == 1 && long[0].hasPrefix("drwxr-x---") && long[0].hasSuffix(" folder"), "\(long)")
        let all = try mount.ask("ls", "-R", "/scheme/file").text
        #expect(all.contains("/scheme/file/folder:\ntext"))
        let rows = try JSONValue(parsing: try mount.ask("ls", "--json", "/scheme/file/folder").output).array
        #expect(rows?.first?["path"]?.string == "/scheme/file/folder/text")
        #expect(rows?.first?["size"]?.integer == 13)
        let schemes = try JSONValue(parsing: try mount.ask("cat", "/scheme/sys/schemes.json").output).array
        #expect(schemes?.contains { $0["scheme"]?.string == "file" } == true)
        for path in ["/scheme/file/nothing", "/scheme/nothing"] {
            for command in ["ls", "cat"] {
                let result = try mount.run([command, path, "--mount", mount.point])
                #expect(result.status == 1 && result.errors.contains(path), "\(result.errors)")
            }
        }
    }

    /// No path leaves the mount, and no name is a command to a terminal.
    @Test func pathsOfSchemesStayInThem() throws {
        let mount = try ToolMount()
        try mount.mount()
        for path in ["/scheme/file/../../../../etc/hostname", "/scheme/..", "/scheme/file/.."] {
            for command in ["ls", "cat"] {
                let result = try mount.run([command, path, "--mount", mount.point])
                #expect(result.status == 1 && result.output.isEmpty, "\(command) \(path)")
                #expect(result.errors.contains("\(path): a path of a scheme may not contain"), "\(result.errors)")
            }
        }
        let above = try mount.run(["ls", "/scheme/file", "../..", "--mount", mount.point])
        #expect(above.status == 1 && above.output.isEmpty)
        try mount.write("file/..name\u{1b}[2J", "")
        #expect(try mount.ask("ls", "/scheme/file").lines == [#"..name\u{1b}[2J"#])
        #expect(try mount.ask("ls", "-l", "/scheme/file").text.contains(#" ..name\u{1b}[2J"#))
        let rows = try JSONValue(parsing: try mount.ask("ls", "--json", "/scheme/file").output).array
        #expect(rows?.first?["path"]?.string == "/scheme/file/..name\u{1b}[2J")
    }

    /// As a shell asks for them.
    @Test(.enabled(if: SystemCall.exists("/bin/bash"), "there is no bash"))
    func namesOfSchemesAreCompleted() throws {
        let mount = try ToolMount()
        try mount.mount()
        func complete(_ words: String...) throws -> [String] {
            let line = words.joined(separator: " ")
            let script = """
                eval "$('\(mount.programPath)' --generate-completion-script bash)"
                PATH="${1%/*}:$PATH"
                COMP_LINE='\(line)' COMP_POINT=\(line.utf8.count) COMP_CWORD=\(words.count - 1) COMP_TYPE=9 COMP_KEY=9
                COMP_WORDS=(\(words.map { "'\($0)'" }.joined(separator: " ")))
                _saltbridge saltbridge '\(words[words.count - 1])' '\(words[words.count - 2])'
                printf '%s\\n' "${COMPREPLY[@]}"
                """
            return try mount.host("/bin/bash", "-c", script, "bash", mount.programPath).lines
        }
        #expect(try complete("saltbridge", "crash", "fi") == ["file"])
        #expect(try complete("saltbridge", "restart", "rou") == ["router"])
        #expect(Set(["disk", "file", "router"]).isSubset(of: try complete("saltbridge", "crash", "")))
    }

    /// A process that is stopped is noticed and replaced within a second, as its timeline says, and nobody gets an error.
    @Test(arguments: ["file", "disk"]) func hangsAreNoticed(name: String) throws { try hang(name) }

    @Test(.enabled(if: routerObstacle == nil, routerObstacle)) func hangsOfRoutersAreNoticed() throws {
        try hang("router")
    }

    private func hang(_ name: String) throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        try mount.write("before", "1")
        let answer = try mount.ask("crash", name, "--hang", "--json")
        try mount.write("after", "2")
        #expect(try mount.read("before") == "1" && mount.read("after") == "2")
        let timeline = try JSONValue(parsing: answer.output)
        #expect(timeline["incarnation"]?.integer == 2)
        // Microseconds since it was stopped; the limit is a fifth of that, and a machine may have much else to do.
        #expect(timeline["detected_us"]?.integer ?? .max < 1_000_000, "\(answer.text)")
    }

    /// A process is the first of its namespace: of a signal that it is sent it dies only if that is SIGKILL.
    @Test(arguments: [["--signal", "4"], ["--signal", "8"], ["--signal", "11"], ["--signal", "9"], ["--exit"]])
    func processesDieAsTheyAreTold(how: [String]) throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        try mount.write("before", "1")
        for name in ["file"] + (routerObstacle == nil ? ["router"] : []) {
            let answer = try mount.run(["crash", name, "--json", "--mount", mount.point] + how)
            #expect(answer.status == 0, "\(answer.errors)")
            let cause = how.count > 1 ? "signal \(how[1]) (by crash)" : "exit (by crash)"
            #expect(try JSONValue(parsing: answer.output)["cause"]?.string == cause)
            #expect(try mount.read("before") == "1")
        }
    }

    @Test func signalsThatEndNothingAreRefused() throws {
        let mount = try ToolMount()
        try mount.mount()
        for signal in ["0", "10", "15", "99"] {
            let result = try mount.run(["crash", "file", "--signal", signal, "--mount", mount.point])
            #expect(result.status == 1 && result.errors.contains("4, 8, 9, 11"), "\(result.errors)")
        }
    }
}
