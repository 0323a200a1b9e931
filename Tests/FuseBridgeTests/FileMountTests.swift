import CLinux
import FuseBridge
import Glibc
import Platform
import Router
import SystemPackage
import Testing

/// RedoxFS at a mount: kernel, router, channel and engine together.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct FileMountTests {
    @Test func filesSurviveRestartsOfTheServer() throws {
        let system = try LocalSystem()
        try TestMount().serve(system.backend) { root in
            for round in 0..<5 {
                let text = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* (round + 3) &+ $0 >> 7) }
                unsafe #expect(mkdir("\(root)/\(round)", 0o755) == 0)
                let file = unsafe open("\(root)/\(round)/file", O_RDWR | O_CREAT | O_EXCL, 0o644)
                try #require(file >= 0, "\(Errno(rawValue: errno))")
                #expect(unsafe write(file, text, text.count) == text.count)
                if round.isMultiple(of: 2) { #expect(fsync(file) == 0) }
                let unnamed = unsafe open("\(root)/gone", O_RDWR | O_CREAT, 0o600)
                #expect(unsafe write(unnamed, "still here", 10) == 10)
                unsafe #expect(unlink("\(root)/gone") == 0)
                let report = try #require(try system.restartServer())
                #expect(report.mismatches.isEmpty)
                var read = [UInt8](repeating: 0, count: text.count)
                #expect(unsafe pread(file, &read, read.count, 0) == text.count)
                #expect(read == text)
                #expect(unsafe pread(unnamed, &read, 100, 0) == 10)
                #expect(close(file) == 0)
                #expect(close(unnamed) == 0)
            }
            #expect(list(root).count == 5 + 2)
        }
        try system.end()
    }

    @Test func theSystemTellsOfItself() throws {
        let system = try LocalSystem()
        try TestMount().serve(system.backend) { root in
            var value = [UInt8](repeating: 0, count: 100)
            let count = unsafe getxattr(root, "user.saltbridge.scheme", &value, value.count)
            #expect(count == 4 && value.prefix(4).elementsEqual("file".utf8))
        }
        let tree = SystemTree(system.router)
        // A server answers before it says that it serves.
        var schemes = tree.contents(.schemes) ?? ""
        for _ in 0..<1000 where !schemes.contains("\"state\": \"serving\"") {
            usleep(10_000)
            schemes = tree.contents(.schemes) ?? ""
        }
        #expect(schemes.contains("\"state\": \"serving\""), "\(schemes)")
        #expect(tree.contents(.latency(scheme: 0))?.contains("getattr") ?? false)
        try system.end()
    }

    /// Holds a mount for tests from outside: SALTBRIDGE_HOLD names the file whose removal ends it.
    @Test(.enabled(if: unsafe getenv("SALTBRIDGE_HOLD") != nil, "only for tests from outside"))
    func mountIsHeld() throws {
        let path = unsafe getenv("SALTBRIDGE_HOLD").map { unsafe String(cString: $0) } ?? ""
        let system = try LocalSystem(byteCount: 4 << 30)
        try TestMount().serve(system.backend) { root in
            let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            let text = Array(root.utf8)
            #expect(unsafe write(file, text, text.count) == text.count)
            close(file)
            while unsafe access(path, F_OK) == 0 { usleep(100_000) }
            print(SystemTree(system.router).contents(.latency(scheme: 0)) ?? "")
        }
        try system.end()
    }
}
