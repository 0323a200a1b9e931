import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// `saltbridge view` takes the address from the display server, and gives it to other programs: only what is an address goes on.
@Suite struct ViewCommandTests {
    /// A folder that looks like a mount whose display server says this.
    private func bench(_ line: String) throws -> Workbench {
        let bench = try Workbench()
        for name in ["mount", "mount/display", "mount/display/0"] {
            try SystemCall.makeDirectoryAt(AT_FDCWD, Array(bench.file(name).utf8), mode: 0o755)
        }
        try bench.write("mount/display/0/info", Array("size 1280x720\n\(line)\n".utf8))
        return bench
    }

    @Test(arguments: [
        ("vnc 127.0.0.1:5900", "127.0.0.1::5900"), ("vnc 192.0.2.7:1", "192.0.2.7::1"),
        ("vnc [::1]:5901", "[::1]::5901"),
        ("vnc /run/user/0/view 1", "/run/user/0/view 1"), ("web 127.0.0.1:6080", "http://127.0.0.1:6080/"),
        ("web [2001:db8::1]:80", "http://[2001:db8::1]:80/"),
    ])
    func addressesAreTaken(_ line: String, _ target: String) throws {
        let bench = try bench(line)
        let option = line.hasPrefix("web") ? "--web" : "--print"
        #expect(try bench.run("view", bench.file("mount"), "--print", option).lines == [target])
    }

    @Test(arguments: [
        "vnc -via", "vnc -via 127.0.0.1:1", "vnc --help", "vnc localhost:5900", "vnc 127.0.0.1", "vnc 127.0.0.1:",
        "vnc 127.0.0.1:0",
        "vnc 127.0.0.1:65536", "vnc 127.0.0.1:+1", "vnc 127.0.0.1:5900 -via x", "vnc 127.1:5900", "vnc ::1:5900",
        "vnc [127.0.0.1]:5900", "vnc [fe80::1%1]:5900", "vnc [::1:5900", "vnc relative/path", "vnc @127.0.0.1:1",
        "vnc ",
        "vnc /\u{1b}[2J", "web 127.0.0.1:1/$(id)", "web file:///etc/passwd", "web user@127.0.0.1:80", "web /run/web",
    ])
    func everythingElseIsAnError(_ line: String) throws {
        let bench = try bench(line)
        let option = line.hasPrefix("web") ? "--web" : "--print"
        let result = try bench.fail(1, "view", bench.file("mount"), "--print", option)
        #expect(result.output.isEmpty && !result.errors.contains("\u{1b}"))
    }

    /// Whatever viewer is installed is started, with the address as it takes it; none of them gets one that it can't take.
    @Test(
        arguments: [
            ("vnc 127.0.0.1:5901", "vncviewer", ["127.0.0.1::5901"]),
            ("vnc 127.0.0.1:5901", "xtigervncviewer", ["127.0.0.1::5901"]),
            ("vnc 127.0.0.1:5901", "gvncviewer", ["127.0.0.1:1"]),
            ("vnc 127.0.0.1:5901", "remote-viewer", ["vnc://127.0.0.1:5901"]),
            ("vnc 127.0.0.1:5901", "vinagre", ["127.0.0.1::5901"]),
            ("vnc 127.0.0.1:5901", "remmina", ["-c", "vnc://127.0.0.1:5901"]),
            ("vnc [::1]:5901", "krdc", ["vnc://[::1]:5901"]),
            ("vnc [::1]:5901", "xdg-open", ["vnc://[::1]:5901"]),
            ("vnc /run/view 1", "vncviewer", ["/run/view 1"]),
            ("web 127.0.0.1:80", "xdg-open", ["http://127.0.0.1:80/"]),
            ("vnc /run/view 1", "remmina", nil), ("vnc [::1]:5901", "gvncviewer", nil),
            ("vnc 127.0.0.1:5901", "nothing", nil),
        ] as [(String, String, [String]?)])
    func theViewerThatThereIsIsStarted(_ line: String, _ program: String, _ arguments: [String]?) throws {
        let bench = try bench(line)
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(bench.file("bin").utf8), mode: 0o755)
        let double = FilePath(#filePath).removingLastComponent().removingLastComponent()
            .appending("Tools/show-arguments").string
        try SystemCall.makeSymbolicLinkAt(
            AT_FDCWD, Array(bench.file("bin/\(program)").utf8), target: Array(double.utf8))
        let web = line.hasPrefix("web") ? ["--web"] : []
        let result = try BuiltProgram(path: "/usr/bin/env").run(
            ["PATH=\(bench.file("bin"))", bench.tool.path, "view", bench.file("mount")] + web, in: bench.directory)
        if let arguments {
            #expect(result.status == 0 && result.lines == arguments, "\(result.errors)")
        } else {
            #expect(result.status == 1 && result.output.isEmpty)
            #expect(result.errors.contains("vncviewer"))
        }
    }

    /// Nobody listens where other machines reach it without a password, and nowhere that isn't an address in numbers.
    @Test func listeningBeyondThisMachineNeedsAPassword() throws {
        let bench = try Workbench()
        try bench.run("mkfs", bench.file("disk.img"), "--size", "16M")
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(bench.file("mount").utf8), mode: 0o755)
        try bench.write("empty", Array("\nsecond line".utf8))
        for (option, message) in [
            ("display.vnc=0.0.0.0:5900", "set display.password-file"),
            ("display.web=[::]:6080", "set display.password-file"),
            ("display.vnc=[::ffff:192.0.2.1]:5900", "set display.password-file"),
            ("display.vnc=localhost:5900", "with an address in numbers"),
            ("display.web=web", "with an address in numbers"),
            ("display.vnc=0.0.0.0:5900,display.password-file=\(bench.file("empty"))", "no password"),
            // Others could read it; not even the message has it.
            ("display.password=hunter2", "display.password-file=FILE"),
        ] {
            let result = try bench.fail(1, "mount", bench.file("disk.img"), bench.file("mount"), "-o", option)
            #expect(result.errors.contains(message), "\(option): \(result.errors)")
            #expect(!result.errors.contains("hunter2"))
        }
    }

    /// The password is the first line, whatever ends it: with a line of its own, the address is the next thing that is looked at.
    @Test(arguments: ["secret\nsecond line", "secret\r\nsecond line\r\n", "\r\nsecond line"])
    func thePasswordIsTheFirstLine(_ text: String) throws {
        let bench = try Workbench()
        try bench.run("mkfs", bench.file("disk.img"), "--size", "16M")
        try SystemCall.makeDirectoryAt(AT_FDCWD, Array(bench.file("mount").utf8), mode: 0o755)
        try bench.write("password", Array(text.utf8))
        let result = try bench.fail(
            1, "mount", bench.file("disk.img"), bench.file("mount"), "-o",
            "display.vnc=nowhere,display.password-file=\(bench.file("password"))")
        #expect(result.errors.contains(text.hasPrefix("secret") ? "with an address in numbers" : "no password"))
    }
}
