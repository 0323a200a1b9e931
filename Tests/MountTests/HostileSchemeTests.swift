import CLinux
import Glibc
import Platform
import Sandbox
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// A scheme server that has been taken over writes random bytes into everything that the router reads of it: rings, records,
/// replies, events, numbers. It harms nobody but who asked it.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct HostileSchemeTests {
    @Test func noiseTrapsNobody() throws {
        var hostile = MemberConfiguration(
            name: "hostile", executablePath: try MountFolder.program("fake-scheme"), manifest: .plain("hostile"))
        hostile.settings = [("behaviour", "hostile")]
        hostile.isEssential = false
        let system = try MountedSystem { configuration in
            configuration.schemes.append(hostile)
            configuration.router?.settings = []
            // However long it takes to die so often: it never comes up, so its requests wait until it is given up.
            configuration.policy.deathLimit = 8
            configuration.policy.failedStartLimit = 8
            configuration.policy.stableAfter = .max
        }
        let path = "\(system.root)/hostile"
        var value = [UInt8](repeating: 0, count: 100)
        var round = 0
        // The router has it replaced for each answer without sense.
        while try system.state("hostile") != "offline" {
            round += 1
            var status = stat()
            _ = unsafe stat(path, &status)
            _ = unsafe stat("\(path)/\(round)", &status)
            if let directory = unsafe opendir(path) {
                while unsafe readdir(directory) != nil {}
                unsafe closedir(directory)
            }
            let file = unsafe open("\(path)/file", O_CREAT | O_RDWR, 0o644)
            if file >= 0 {
                _ = unsafe read(file, &value, value.count)
                _ = unsafe write(file, &value, value.count)
                close(file)
            }
            _ = unsafe getxattr(path, "user.name", &value, value.count)
            // Others go on.
            let other = try SystemCall.open("\(system.root)/file/\(round)", O_CREAT | O_WRONLY, mode: 0o644)
            try SystemCall.write(text: "\(round)", to: other.rawValue)
            try other.close()
        }
        for number in 1...round {
            #expect(try SystemCall.smallFile("\(system.root)/file/\(number)") == "\(number)")
        }
        #expect(try system.deaths("hostile") >= 8)
        #expect(try system.deaths("router") == 0)
        #expect(try system.deaths("file") == 0)
        try system.end()
        try expectClean(system.image)
    }
}

extension MountedSystem {
    /// How often a process died.
    func deaths(_ name: String) throws -> Int {
        Int(try #require(try status(name)["deaths"]?.integer))
    }

    /// What a process does.
    func state(_ name: String) throws -> String { try #require(try status(name)["state"]?.string) }

    private func status(_ name: String) throws -> ControlJSON {
        let answer = try client.ask(.make(["command": .string("status")]))
        return try #require(answer["status"]?["processes"]?.array.first { $0["name"]?.string == name })
    }
}
