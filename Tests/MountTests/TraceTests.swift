import Glibc
import Platform
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// `saltbridge trace`: the requests of a mount, one by one.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct TraceTests {
    /// Traces on a thread of its own while the body works, until the trace has what it waits for.
    private func trace(
        _ mount: ToolMount, _ options: [String], until isEnough: @escaping @Sendable () throws -> Void
    ) throws -> BuiltProgram.Result {
        let isDone = Atomic<Bool>(false)
        let failure = Locked<String?>(nil)
        let worker = try spawnThread(name: "work") {
            while !isDone.load(ordering: .relaxed) {
                do { try isEnough() } catch { failure.withLock { $0 = "\(error)" } }
            }
        }
        defer {
            isDone.store(true, ordering: .relaxed)
            worker.join()
        }
        let result = try mount.run(["trace", "--mount", mount.point] + options)
        #expect(failure.withLock { $0 } == nil)
        return result
    }

    @Test func everyRequestIsShown() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        let path = mount.path("a name")
        let result = try trace(mount, ["--count", "40", "--json"]) {
            let file = try SystemCall.open(path, O_CREAT | O_RDWR, mode: 0o644)
            try SystemCall.write(text: "text", to: file.rawValue)
            if fsync(file.rawValue) != 0 { throw Errno(rawValue: errno) }
            try SystemCall.retrying { unsafe unlink(path) }
        }
        #expect(result.status == 0, "\(result.errors)")
        let events = try result.lines.map { try JSONValue(parsing: $0) }
        #expect(events.count == 40)
        // A create whose name, handle and new node are told, a write with its length, the end of the name.
        let created = try #require(events.first { $0["operation"]?.string == "create" })
        #expect(created["place"]?.string == "/a name")
        #expect(created["handle"]?.integer ?? 0 > 0)
        #expect(created["found"]?.integer ?? 0 > 1)
        #expect(created["scheme"]?.string == "file")
        #expect(created["total_ns"]?.integer ?? 0 >= created["server_ns"]?.integer ?? .max)
        #expect(events.contains { $0["operation"]?.string == "write" && $0["length"]?.integer == 4 })
        #expect(events.contains { $0["operation"]?.string == "unlink" && $0["place"]?.string == "/a name" })
        #expect(events.contains { $0["operation"]?.string == "fsync" })
        let changes = events.filter { ["create", "write", "fsync", "unlink"].contains($0["operation"]?.string ?? "") }
        #expect(changes.allSatisfy { ($0["result"]?.integer ?? -1) >= 0 })
    }

    @Test func operationsAreChosen() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        let path = mount.path("missing")
        let result = try trace(mount, ["file", "--op", "rmdir,lookup", "--count", "5"]) {
            if unsafe rmdir(path) != -1 || errno != ENOENT { throw Errno(rawValue: errno) }
            unsafe mkdir(path, 0o755)
            if unsafe rmdir(path) != 0 { throw Errno(rawValue: errno) }
        }
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.lines.count == 6)
        #expect(result.lines.dropFirst().allSatisfy { $0.contains("rmdir(/missing) = ") || $0.contains("lookup(") })
        let slow = try trace(mount, ["--slow", "1", "--count", "1"]) {
            unsafe mkdir(path, 0o755)
            if unsafe rmdir(path) != 0 { throw Errno(rawValue: errno) }
        }
        #expect(slow.lines.count == 2)
        #expect(try mount.run(["trace", "--op", "nonsense", "--mount", mount.point]).status != 0)
        #expect(try mount.run(["trace", "nonsense", "--mount", mount.point]).status != 0)
    }

    /// What is given to a server a second time is shown again, and says so.
    @Test func repetitionsAreMarked() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        let tracer = Locked<BuiltProgram.Result?>(nil)
        let thread = try spawnThread(name: "trace") {
            let result = try? mount.run(["trace", "--op", "mkdir", "--mount", mount.point])
            tracer.withLock { $0 = result }
        }
        while !output(mount).contains("SECONDS"), tracer.withLock({ $0 == nil }) { usleep(10_000) }
        unsafe #expect(mkdir(mount.path("directory"), 0o755) == 0)
        while !output(mount).contains("mkdir(/directory)"), tracer.withLock({ $0 == nil }) { usleep(10_000) }
        // Commits come every few seconds: one may have come between.
        for round in 0..<50 where !output(mount).contains("(repeated)") {
            unsafe #expect(mkdir(mount.path("directory \(round)"), 0o755) == 0)
            try mount.ask("crash", "file")
            for _ in 0..<20 where !output(mount).contains("(repeated)") { usleep(10_000) }
        }
        try mount.unmount()
        thread.join()
        let lines = try #require(tracer.withLock { $0 }).lines
        #expect(lines.contains { $0.contains("mkdir(/directory") && $0.hasSuffix("(repeated)") }, "\(lines)")
        #expect(lines.contains { $0.contains("mkdir(/directory)") && !$0.hasSuffix("(repeated)") })
    }

    /// What runs have written so far.
    private func output(_ mount: ToolMount) -> String {
        let names = (try? SystemCall.directoryNames(mount.folder.path)) ?? []
        return names.filter { $0.hasSuffix(".out") }.map { (try? SystemCall.smallFile(mount.folder.file($0))) ?? "" }
            .joined()
    }

    @Test(.enabled(if: routerObstacle == nil, routerObstacle)) func traceSurvivesDeathsAndEndsWithTheMount() throws {
        let mount = try ToolMount()
        try mount.mount("--root", "file")
        let hasEnded = Atomic<Bool>(false)
        let tracer = try spawnThread(name: "trace") {
            defer { hasEnded.store(true, ordering: .relaxed) }
            let result = try? mount.run(["trace", "--op", "mkdir,rmdir", "--mount", mount.point])
            #expect(result?.status == 0, "\(result?.errors ?? "it could not be run")")
        }
        func wait(for text: String) throws {
            while !output(mount).contains(text) {
                let isOver = hasEnded.load(ordering: .relaxed)
                try #require(!isOver, "the trace has ended without \(text)")
                usleep(10_000)
            }
        }
        try wait(for: "SECONDS")
        for round in 0..<3 {
            try mount.ask("crash", "router")
            try mount.ask("crash", "file")
            unsafe #expect(mkdir(mount.path("directory \(round)"), 0o755) == 0)
            try wait(for: "mkdir(/directory \(round)) = #")
        }
        try mount.unmount()
        tracer.join()
    }
}
