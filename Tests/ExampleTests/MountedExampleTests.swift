import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

private let mountObstacle: Comment? = MountFolder.obstacle.map { Comment(rawValue: $0) }

/// The examples in a mount, each in its sandbox as its declaration asks.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct MountedExampleTests {
    private func shell(_ command: String, in folder: TemporaryDirectory) throws -> BuiltProgram.Result {
        try BuiltProgram(path: "/bin/sh").run(["-c", command], in: folder)
    }

    private func copy(_ name: String, to path: String) throws {
        let text = try Checkout.text("Scripts/examples/\(name)")
        let file = try SystemCall.open(path, O_WRONLY | O_CREAT, mode: 0o644)
        try SystemCall.write(text: text, to: file.rawValue)
    }

    @Test func allLanguagesInOneMount() throws {
        let folder = try TemporaryDirectory()
        let saltbridge = try BuiltProgram.saltbridge()
        let (image, mount) = (folder.file("disk.img"), folder.file("mnt"))
        #expect(try saltbridge.run(["mkfs", image, "--size", "16M"], in: folder).status == 0)
        _ = unsafe mkdir(mount, 0o755)
        var options = ["-o", "scheme=counter"]
        var names = ["counter"]
        if ExampleScheme.runnable.contains(.c) {
            options += ["-o", "scheme=\(try ExampleScheme.compile(into: folder))"]
            try copy("c/scheme-ccounter.json", to: folder.file("scheme-ccounter.json"))
            names.append("ccounter")
        }
        if ExampleScheme.runnable.contains(.python) {
            // A folder of its own, as the process may read all of it; it is another user's, who has to get there.
            _ = unsafe chmod(folder.path, 0o755)
            _ = unsafe mkdir(folder.file("python"), 0o755)
            for name in ["counter.py", "saltbridge_protocol.py", "scheme-pycounter.json"] {
                try copy("python/\(name)", to: folder.file("python/\(name)"))
            }
            options += ["-o", "scheme=\(folder.file("python/scheme-pycounter.json"))"]
            names.append("pycounter")
        }
        let mounted = try saltbridge.run(["mount", image, mount] + options, in: folder)
        try #require(mounted.status == 0, "\(mounted.errors)")
        defer { _ = try? saltbridge.run(["unmount", "--lazy", mount], in: folder) }
        for name in names {
            let place = "\(mount)/\(name)"
            while try shell("cat \(place)/count", in: folder).text != "0\n" {
                let status = try saltbridge.run(["status", mount, "--json"], in: folder)
                try #require(status.status == 0 && !status.text.contains("offline"), "\(status.text) \(status.errors)")
                usleep(20_000)
            }
            #expect(try shell("ls \(place)", in: folder).lines == ["count", "ticks"])
            #expect(try shell("echo tick > \(place)/count && cat \(place)/count", in: folder).text == "1\n")
            // A reader waits, the process dies meanwhile, and the tick comes after.
            let script = """
                head -c 32 \(place)/ticks > \(folder.file("\(name).out")) & reader=$!
                for round in 1 2 3; do '\(saltbridge.path)' crash \(name) --mount \(mount) || exit 1; done
                echo > \(place)/count; wait $reader
                """
            let run = try shell(script, in: folder)
            #expect(run.status == 0, "\(run.errors)")
            #expect(
                try SystemCallText.read(folder.file("\(name).out")) == "              1\n              2\n")
            #expect(try shell("cat \(place)/count", in: folder).text == "2\n")
        }
        #expect(try saltbridge.run(["unmount", mount], in: folder).status == 0)
    }

    @Test(arguments: [
        #"{"unknown": 1}"#, #"{"read": "text"}"#, #"{"program": "nothing"}"#, #"{"strict": 1}"#, #"{"memory": -1}"#,
        "no JSON", "[]", #"{"settings": {"a": 1}}"#,
    ])
    func faultyDeclarationIsRefused(text: String) throws {
        let folder = try TemporaryDirectory()
        let saltbridge = try BuiltProgram.saltbridge()
        let (image, mount) = (folder.file("disk.img"), folder.file("mnt"))
        #expect(try saltbridge.run(["mkfs", image, "--size", "16M"], in: folder).status == 0)
        _ = unsafe mkdir(mount, 0o755)
        do {
            let file = try SystemCall.open(folder.file("scheme-faulty.json"), O_WRONLY | O_CREAT, mode: 0o644)
            try SystemCall.write(text: text, to: file.rawValue)
        }
        let mounted = try saltbridge.run(
            ["mount", image, mount, "-o", "scheme=\(folder.file("scheme-faulty.json"))"], in: folder)
        #expect(mounted.status == 1)
        #expect(mounted.errors.contains("faulty"))
    }
}
