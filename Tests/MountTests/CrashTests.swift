import BlockDevice
import FileSystemCheck
import Glibc
import Platform
import RedoxFS
import SchemeTransport
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// Whatever is killed while applications work, they see nothing of it: no error, no wrong byte, no hang.
@Suite(.serialized, .enabled(if: mountObstacle == nil, mountObstacle))
struct CrashTests {
    @Test(arguments: [["file"], ["disk"]])
    func applicationsNoticeNothing(_ names: [String]) throws { try killUnnoticed(names) }

    @Test(.enabled(if: routerObstacle == nil, routerObstacle), arguments: [["router"], ["file", "router", "disk"]])
    func applicationsNoticeNothingOfRouters(_ names: [String]) throws { try killUnnoticed(names) }

    private func killUnnoticed(_ names: [String]) throws {
        let system = try MountedSystem()
        let workload = try system.work(killing: names, times: 25)
        #expect(workload.rounds > 0)
        try expectNothingNoticed(workload, system)
    }

    private func expectNothingNoticed(_ workload: Workload, _ system: MountedSystem) throws {
        #expect(workload.failures.withLock { $0 } == [])
        workload.verify()
        #expect(workload.failures.withLock { $0 } == [])
        #expect(!system.log.contains("repeated gave"), "\(system.log)")
        try system.end()
        for line in system.log.split(separator: "\n") where !line.contains("killed by signal") { print(line) }
        try expectClean(system.image)
    }

    /// Four at once, with files of their own: what one removes another one's number may be made of.
    @Test(arguments: [[], ["file"], ["disk"]])
    func severalApplicationsNoticeNothing(_ names: [String]) throws { try killBehindSeveral(names) }

    @Test(.enabled(if: routerObstacle == nil, routerObstacle), arguments: [["router"], ["file", "router", "disk"]])
    func severalApplicationsNoticeNothingOfRouters(_ names: [String]) throws { try killBehindSeveral(names) }

    /// Eight on the same few names, which are replaced all the time.
    @Test(arguments: [[], ["file"], ["disk"]])
    func severalApplicationsShareNames(_ names: [String]) throws { try killBehindSeveral(names, "--shared") }

    @Test(.enabled(if: routerObstacle == nil, routerObstacle), arguments: [["router"], ["file", "router", "disk"]])
    func severalApplicationsShareNamesOverRouters(_ names: [String]) throws { try killBehindSeveral(names, "--shared") }

    private func killBehindSeveral(_ names: [String], _ workload: String = "--torture") throws {
        let system = try MountedSystem()
        let folder = "\(system.root)/several"
        try #require(unsafe mkdir(folder, 0o755) == 0)
        let output = try TemporaryDirectory()
        let program = try BuiltProgram.named("posix-checks")
        let seed = UInt64.random(in: 0...0xffff_ffff)
        let result = Locked<(status: Int32, text: String)?>(nil)
        let thread = try spawnThread(name: "applications") {
            let ended = try? program.run([workload, folder, "\(seed)", "6"], in: output)
            result.withLock { $0 = (ended?.status ?? -1, ended?.text ?? "not started") }
        }
        var turn = 0
        while result.withLock({ $0 == nil }) {
            usleep(200_000)
            guard !names.isEmpty else { continue }
            if let pid = try system.pid(names[turn % names.count]), pid > 1 { kill(pid, SIGKILL) }
            turn += 1
        }
        thread.join()
        let end = result.withLock { $0 }
        #expect(end?.status == 0, "\(end?.text ?? "")")
        #expect(!system.log.contains("repeated gave"), "\(system.log)")
        try system.end()
        try expectClean(system.image)
    }

    /// The processes end themselves at points that were chosen: before and after a completion, inside a commit, inside a repetition.
    @Test(arguments: [["file"], ["disk"]])
    func nothingIsNoticedOfDeathsAtChosenPoints(_ names: [String]) throws { try dieAtChosenPoints(names) }

    @Test(
        .enabled(if: routerObstacle == nil, routerObstacle),
        arguments: [["router"], ["router", "file"], ["router", "file", "disk"]])
    func nothingIsNoticedOfRoutersDeathsAtChosenPoints(_ names: [String]) throws { try dieAtChosenPoints(names) }

    private func dieAtChosenPoints(_ names: [String]) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SplitMix(seed: seed)
        var plans: [String: String] = [:]
        let last: UInt64 = 16
        for name in names {
            let points = Self.points(name)
            plans[name] = (1...last).map { number in
                let (point, limit) = points[Int(random.next() % UInt64(points.count))]
                return "\(number)=\(point.rawValue):\(random.next() % limit)"
            }.joined(separator: ",")
        }
        let system = try MountedSystem { configuration in
            func plan(_ member: inout MemberConfiguration) {
                if let plan = plans[member.name] { member.settings.append(("crash-plan", plan)) }
            }
            for index in configuration.schemes.indices { plan(&configuration.schemes[index]) }
            if var router = configuration.router {
                plan(&router)
                configuration.router = router
            }
        }
        let workload = Workload(system.root, seed: seed)
        var seen = try names.map { try system.incarnation($0) }
        while seen.contains(where: { $0 <= last }), workload.failures.withLock({ $0.isEmpty }) {
            for _ in 0..<40 where workload.failures.withLock({ $0.isEmpty }) { workload.round() }
            for (index, name) in names.enumerated() {
                try #require(try system.state(name) != "offline", "\(system.log)")
                let now = try system.incarnation(name)
                // Its point never came: the next one's may.
                if now == seen[index], now <= last, let pid = try system.pid(name), pid > 1 { kill(pid, SIGKILL) }
                seen[index] = now
            }
        }
        try expectNothingNoticed(workload, system)
    }

    /// The points of a process and how often each may be passed before.
    private static func points(_ name: String) -> [(CrashPoint, UInt64)] {
        switch name {
        case "file":
            [
                (.taken, 60), (.applied, 60), (.posted, 60), (.repeating, 20), (.repeated, 20), (.flushing, 4),
                (.flushed, 4),
            ]
        case "disk": [(.taken, 20), (.applied, 20), (.posted, 20)]
        default: [(.delivered, 200), (.replied, 200), (.handedOver, 1), (.upToDate, 1)]
        }
    }

    /// Without what is made for them the same deaths are noticed: else these tests would show nothing.
    @Test func deathsAreNoticedWithoutLog() throws { try expectNoticed(fault: "no-log", "file") }

    @Test(.enabled(if: routerObstacle == nil, routerObstacle))
    func deathsAreNoticedWithoutReplyCache() throws { try expectNoticed(fault: "no-reply-cache", "router") }

    private func expectNoticed(fault: String, _ name: String) throws {
        let system = try MountedSystem(faults: fault)
        var wasNoticed = false
        for _ in 0..<20 where !wasNoticed {
            let workload = try system.work(killing: [name], times: 20)
            workload.verify()
            wasNoticed = workload.failures.withLock { !$0.isEmpty }
        }
        #expect(wasNoticed)
        try system.end()
    }
}

/// The image is whole, says who shares no code with what wrote it.
func expectClean(_ image: String) throws {
    let report = try FileSystemCheck.check(try FileDevice(path: image, writable: false))
    #expect(report.findings.isEmpty, "\(report.findings)")
}
