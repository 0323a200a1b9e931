import Glibc
import Platform
import Supervisor
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// The server is killed all the time: no byte of a stream is lost or doubled, and no caller.
@Suite(.serialized, .enabled(if: mountObstacle == nil, mountObstacle))
struct NetworkTortureTests {
    private func killing(_ system: MountedSystem, _ body: () throws -> Void) throws -> Int {
        let isDone = Atomic<Bool>(false)
        let kills = Atomic<Int>(0)
        let socket = "\(system.folder)/control"
        let killer = try spawnThread(name: "killer") {
            guard let client = try? ControlClient(path: socket) else { return }
            // Each incarnation serves for 50 ms: on a machine that is slow to start one the work gets done, too.
            while !isDone.load(ordering: .relaxed) {
                guard let pid = try? MountedSystem.pid("network", client, isServing: true), pid > 1 else {
                    usleep(1000)
                    continue
                }
                usleep(50_000)
                if kill(pid, SIGKILL) == 0 { kills.add(1, ordering: .relaxed) }
            }
        }
        defer { killer.join() }
        defer { isDone.store(true, ordering: .relaxed) }
        try body()
        return kills.load(ordering: .relaxed)
    }

    @Test func streamsStayWhole() throws {
        let system = try MountedSystem.withNetwork()
        let echo = try EchoServer()
        let failures = Locked<[String]>([])
        let network = system.network
        let kills = try killing(system) {
            let threads = try (0..<20).map { index in
                try spawnThread(name: "stream-\(index)") {
                    do {
                        try exchange(UInt64(index) &+ 1, network, echo.port)
                    } catch {
                        failures.withLock { $0.append("connection \(index): \(error)") }
                    }
                }
            }
            for thread in threads { thread.join() }
        }
        print("\(kills) kills")
        #expect(failures.withLock { $0 } == [])
        #expect(kills > 0)
        echo.stop()
        try system.end()
    }

    private struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    /// Sends bytes that a seed determines and checks that the same come back.
    private func exchange(_ seed: UInt64, _ network: String, _ port: UInt16) throws {
        let count = 2 << 20
        let bytes = pattern(seed, count)
        let file = try open("\(network)/tcp/127.0.0.1:\(port)")
        defer { close(file) }
        let failure = Locked<String?>(nil)
        let writer = try spawnThread(name: "writer") {
            var random = SplitMix(seed: seed)
            var done = 0
            while done < count {
                let part = min(count - done, Int(random.next() % 100_000) + 1)
                let written = unsafe bytes.withUnsafeBytes {
                    unsafe write(file, $0.baseAddress?.advanced(by: done), part)
                }
                if written <= 0 {
                    let code = Glibc.errno
                    failure.withLock { $0 = "write at \(done): \(written), \(Errno(rawValue: code))" }
                    return
                }
                done += written
            }
        }
        var random = SplitMix(seed: seed ^ 0x77)
        var buffer = [UInt8](repeating: 0, count: 100_000)
        var done = 0
        while done < count, failure.withLock({ $0 }) == nil {
            let part = min(count - done, Int(random.next() % 100_000) + 1)
            let found = unsafe read(file, &buffer, part)
            guard found > 0 else {
                throw Fault(description: "read at \(done): \(found), \(Errno(rawValue: Glibc.errno))")
            }
            guard bytes[done..<(done + found)].elementsEqual(buffer.prefix(found)) else {
                throw Fault(description: "other bytes from \(done) on")
            }
            done += found
        }
        writer.join()
        if let text = failure.withLock({ $0 }) { throw Fault(description: text) }
    }

    /// Urgent bytes are a part of the stream, and end nothing that is counted.
    @Test func urgentBytesAreCounted() throws {
        let system = try MountedSystem.withNetwork()
        let listener = try Listener()
        let file = try open("\(system.network)/tcp/127.0.0.1:\(listener.port)")
        let peer = try listener.accept()
        sendAll(peer, Array("0123456789".utf8))
        #expect(unsafe send(peer, "!", 1, Int32(MSG_OOB)) == 1)
        sendAll(peer, Array("abcdefghij".utf8))
        var received: [UInt8] = []
        for _ in 0..<4 {
            received += receive(file, 5)
            if let pid = try system.pid("network"), pid > 1 { kill(pid, SIGKILL) }
        }
        close(peer)
        received += receive(file, 100)
        #expect(String(decoding: received, as: UTF8.self) == "0123456789!abcdefghij")
        close(file)
        try system.end()
    }

    @Test func callersAreNotLost() throws {
        let system = try MountedSystem.withNetwork()
        let port = try freePort()
        let path = "\(system.network)/tcp/listen/127.0.0.1:\(port)"
        let count = 200
        let failures = Locked<[String]>([])
        _ = try killing(system) {
            let server = try spawnThread(name: "server") {
                for index in 0..<count {
                    guard let file = try? open(path) else {
                        failures.withLock { $0.append("open \(index): \(Errno(rawValue: Glibc.errno))") }
                        continue
                    }
                    let bytes = receive(file, 8)
                    sendAll(file, Array(bytes.reversed()))
                    close(file)
                }
            }
            system.waitUntilListening("127.0.0.1:\(port)")
            for index in 0..<count {
                let client = try connectLocally(port)
                let bytes = pattern(UInt64(index), 8)
                sendAll(client, bytes)
                let answer = receive(client, 8)
                if answer != Array(bytes.reversed()) { failures.withLock { $0.append("caller \(index): \(answer)") } }
                close(client)
            }
            server.join()
        }
        #expect(failures.withLock { $0 } == [])
        try system.end()
    }
}
