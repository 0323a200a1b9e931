import BlockDevice
import Glibc
import Platform
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import NetworkBlockDevice

private let obstacle: Comment? = NBDServer.nbdkitObstacle.map { Comment(rawValue: $0) }

/// Servers that die, hang, and come back: nothing that was acknowledged is lost, although these servers lose what wasn't flushed.
@Suite(.enabled(if: obstacle == nil, obstacle))
struct ReconnectionTests {
    private struct Place {
        let folder: TemporaryDirectory
        let image: String
        let server: NBDServer
    }

    /// A server that keeps writes to itself until a flush.
    private func forgetfulServer(_ byteCount: UInt64 = 16 << 20, _ filters: [String] = []) throws -> Place {
        let folder = try TemporaryDirectory()
        let image = folder.file("image")
        _ = try FileDevice(creating: image, byteCount: byteCount)
        let server = try NBDServer.nbdkit(
            socket: folder.file("s"), filters + ["--filter=cache", "file", image, "cache=writeback"])
        return Place(folder: folder, image: image, server: server)
    }

    /// The control: what the others rely on.
    @Test func theServerForgetsWhatWasNotFlushed() throws {
        let place = try forgetfulServer()
        func connection() throws -> NBDConnection {
            try NBDCore.connect(DirectDialer([.unix(path: place.server.socket)]), "", NBDOptions(), 0, number: 0)
        }
        let source = [UInt8](repeating: 1, count: 4096)
        let span = source.span
        let ones = AlignedBuffer(copying: unsafe span.bytes)
        let first = try connection()
        try first.write(at: 0, ones.bytes, durably: false)
        try first.flush()
        try first.write(at: 65536, ones.bytes, durably: false)
        place.server.kill()
        try place.server.start()
        let image = try FileDevice(path: place.image, writable: false)
        #expect(try contents(image, 0, 1) == [1])
        let second = try connection()
        var bytes = ones.mutableBytes
        try second.read(at: 65536, into: &bytes)
        #expect(unsafe ones.bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self) == 0)
    }

    /// A flush covers what was answered, although an older write of another caller isn't.
    @Test func flushesDoNotWaitForWritesInOtherHands() throws {
        let place = try forgetfulServer()
        let core = try NBDCore(
            DirectDialer([.unix(path: place.server.socket)]), export: "", try UnflushedWrites(), NBDOptions(),
            inherited: [])
        defer { core.end() }
        var random = SplitMix(seed: 7)
        let bytes = noise(4096, &random)
        let span = bytes.span
        let buffer = AlignedBuffer(copying: unsafe span.bytes)
        let held = try core.note(.write, at: 0, byteCount: 4096, [BufferSlice(buffer)], deadline: .max)
        let answered = try core.note(.write, at: 65536, byteCount: 4096, [BufferSlice(buffer)], deadline: .max)
        let lease = try #require(try core.take(for: answered, deadline: .max))
        try core.send(answered, on: lease.connection, lease.export)
        core.give(lease)
        core.settle(answered, hasFailed: false)
        try core.flush(deadline: .max)
        let image = try FileDevice(path: place.image, writable: false)
        #expect(try contents(image, 65536, 4096) == bytes)
        // The one that is held stays noted.
        #expect(core.notes.head == held.position)
        core.settle(held, hasFailed: true)
        try core.flush(deadline: .max)
        #expect(core.notes.isEmpty)
    }

    @Test(arguments: [[], ["--filter=delay", "wdelay=3ms"]]) func nothingAcknowledgedIsLost(_ extra: [String]) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        let place = try forgetfulServer()
        if extra.count == 2 { place.server.kill() }
        let server =
            extra.isEmpty
            ? place.server
            : try NBDServer.nbdkit(
                socket: place.folder.file("t"),
                [extra[0], "--filter=cache", "file", place.image, "cache=writeback", extra[1]])
        let device = try connect(server)
        let isDone = Atomic<Bool>(false)
        let wrong = Locked<[String]>([])
        let region = 4 << 20
        let models = Locked<[[UInt8]]>([])
        let rounds = Locked(0)
        var threads: [JoinHandle] = []
        for number in 0..<3 {
            threads.append(
                try spawnThread(name: "writer") {
                    var random = SplitMix(seed: seed &+ UInt64(number))
                    var model = [UInt8](repeating: 0, count: region)
                    while !isDone.load(ordering: .relaxed) {
                        let count = Int(random.next() % 100_000) + 1
                        let offset = Int(random.next() % UInt64(region - count))
                        let bytes = noise(count, &random)
                        do {
                            try write(device, number * region + offset, bytes)
                            model.replaceSubrange(offset..<(offset + count), with: bytes)
                            if random.next() % 8 == 0 { try device.flush() }
                            let found = try contents(device, number * region + offset, count)
                            if found != bytes { wrong.withLock { $0.append("other bytes at \(offset)") } }
                        } catch { wrong.withLock { $0.append("\(error)") } }
                        rounds.withLock { $0 += 1 }
                    }
                    let last = model
                    models.withLock { $0.append([UInt8(number)] + last) }
                })
        }
        var random = SplitMix(seed: seed)
        for _ in 0..<12 {
            usleep(UInt32(random.next() % 80_000))
            server.kill()
            usleep(UInt32(random.next() % 30_000))
            try server.start()
        }
        isDone.store(true, ordering: .relaxed)
        for thread in threads { thread.join() }
        #expect(wrong.withLock { $0 } == [])
        #expect(rounds.withLock { $0 } > 0)
        for model in models.withLock({ $0 }) {
            #expect(try contents(device, Int(model[0]) * region, region) == Array(model.dropFirst()))
        }
        try device.flush()
        #expect(device.figures.reconnections > 1)
        server.kill()
        let image = try FileDevice(path: place.image, writable: false)
        for model in models.withLock({ $0 }) {
            #expect(try contents(image, Int(model[0]) * region, region) == Array(model.dropFirst()))
        }
    }

    /// This process and the server die together: the successor has the notes.
    @Test func aSuccessorWritesWhatTheServerLost() throws {
        let place = try forgetfulServer()
        let descriptor = try SharedMemory.create(name: "notes", byteCount: UnflushedWrites.byteCount)
        func notes() throws -> UnflushedWrites {
            UnflushedWrites(
                try SharedMapping(descriptor.rawValue, byteCount: UnflushedWrites.byteCount, writable: true))
        }
        var random = SplitMix(seed: 3)
        let bytes = noise(300_000, &random)
        do {
            let device = try connect(place.server, notes: notes())
            try write(device, 1000, bytes)
            try device.writeZeros(at: 8192, byteCount: 4096)
        }
        place.server.kill()
        // It is there at once, also without a server.
        let device = try connect(place.server, notes: notes())
        #expect(device.byteCount == 16 << 20)
        #expect(!device.figures.isConnected)
        try place.server.start()
        var expected = bytes
        expected.replaceSubrange(7192..<11288, with: repeatElement(0, count: 4096))
        #expect(try contents(device, 1000, bytes.count) == expected)
        try device.flush()
        place.server.kill()
        #expect(try contents(FileDevice(path: place.image, writable: false), 1000, bytes.count) == expected)
    }

    @Test func callersAreToldWhenTheServerStaysAway() throws {
        let place = try forgetfulServer()
        let device = try connect(place.server) { $0.patience = 300_000_000 }
        var random = SplitMix(seed: 4)
        let bytes = noise(4096, &random)
        try write(device, 0, bytes)
        place.server.kill()
        #expect(throws: BlockDeviceError.io(.ioError, offset: 0, length: 4096, operation: .write)) {
            try write(device, 0, noise(4096, &random))
        }
        #expect(throws: BlockDeviceError.io(.ioError, offset: 0, length: 4096, operation: .read)) {
            _ = try contents(device, 0, 4096)
        }
        #expect(throws: BlockDeviceError.io(.ioError, offset: 0, length: 0, operation: .flush)) { try device.flush() }
        try place.server.start()
        while !device.figures.isConnected { usleep(5000) }
        // What was acknowledged is there, what was refused isn't.
        #expect(try contents(device, 0, 4096) == bytes)
        try write(device, 8192, bytes)
        try device.flush()
        place.server.kill()
        #expect(try contents(FileDevice(path: place.image, writable: false), 8192, 4096) == bytes)
    }

    /// Another disk under the same name isn't written to.
    @Test func anotherDiskIsNotTakenForThisOne() throws {
        let place = try forgetfulServer()
        let said = Locked<[String]>([])
        let device = try connect(place.server) { options in
            options.patience = 300_000_000
            options.log = { line in said.withLock { $0.append(line) } }
        }
        var random = SplitMix(seed: 5)
        let bytes = noise(4096, &random)
        try write(device, 0, bytes)
        place.server.kill()
        let other = try NBDServer.nbdkit(socket: place.server.socket, ["memory", "8M"])
        #expect(throws: BlockDeviceError.self) { _ = try contents(device, 0, 4096) }
        while !said.withLock({ $0.contains { $0.contains("another disk") } }) { usleep(5000) }
        other.kill()
        try place.server.start()
        while !device.figures.isConnected { usleep(5000) }
        #expect(try contents(device, 0, 4096) == bytes)
    }

    /// What a server that hangs has in hand may be done later, after what a new one was told: nothing is repeated until it has let go.
    @Test func nothingIsRepeatedWhileAnOldServerMayWrite() throws {
        let place = try forgetfulServer()
        let said = Locked<[String]>([])
        let device = try connect(place.server) { options in
            options.answerLimit = 300_000_000
            options.patience = 300_000_000
            options.log = { line in said.withLock { $0.append(line) } }
        }
        var random = SplitMix(seed: 8)
        let bytes = noise(4096, &random)
        try write(device, 0, bytes)
        try place.server.stop()
        #expect(throws: BlockDeviceError.self) { try write(device, 0, noise(4096, &random)) }
        let other = try NBDServer.nbdkit(
            socket: place.server.socket, ["--filter=cache", "file", place.image, "cache=writeback"])
        // Longer than it takes to connect, if that were tried.
        while !said.withLock({ $0.contains { $0.contains("doesn't let go") } }) { usleep(5000) }
        usleep(500_000)
        #expect(!device.figures.isConnected)
        #expect(throws: BlockDeviceError.self) { _ = try contents(device, 0, 4096) }
        place.server.kill()
        while !device.figures.isConnected { usleep(5000) }
        #expect(try contents(device, 0, 4096) == bytes)
        withExtendedLifetime(other) {}
    }

    /// One connection that breaks leaves what is in hand on the others.
    @Test func requestsOnGoodConnectionsAreAnswered() throws {
        let folder = try TemporaryDirectory()
        let server = try NBDServer.nbdkit(
            socket: folder.file("s"), ["--filter=delay", "memory", "1M", "rdelay=300ms"])
        let core = try NBDCore(
            DirectDialer([.unix(path: server.socket)]), export: "", try UnflushedWrites(), NBDOptions(),
            inherited: [])
        defer { core.end() }
        let broken = try #require(try core.take(deadline: .max))
        let good = try #require(try core.take(deadline: .max))
        let answer = Locked<Result<Void, NBDFailure>?>(nil)
        let thread = try spawnThread(name: "reader") {
            let buffer = AlignedBuffer(byteCount: 512)
            var bytes = buffer.mutableBytes
            do throws(NBDFailure) {
                try good.connection.read(at: 0, into: &bytes)
                answer.withLock { $0 = .success(()) }
            } catch {
                answer.withLock { $0 = .failure(error) }
            }
            core.give(good)
        }
        try core.give(broken, .disconnected("it broke"))
        thread.join()
        #expect(throws: Never.self) { try answer.withLock { $0 }?.get() }
        // The next is a new connection.
        let next = try #require(try core.take(deadline: .max))
        #expect(next.generation > good.generation)
        core.give(next)
    }

    /// A ring that stays full, and connections that stay in other hands, aren't waited for for ever, nor after the end.
    @Test(arguments: [false, true]) func waitsEnd(_ hasEnded: Bool) throws {
        let folder = try TemporaryDirectory()
        let server = try NBDServer.nbdkit(socket: folder.file("s"), ["memory", "64M"])
        var options = NBDOptions()
        options.patience = hasEnded ? 1_000_000_000_000 : 100_000_000
        let core = try NBDCore(
            DirectDialer([.unix(path: server.socket)]), export: "", try UnflushedWrites(), options, inherited: [])
        defer { core.end() }
        let buffer = AlignedBuffer(byteCount: UnflushedWrites.longestData)
        func note() throws {
            _ = try core.note(
                .write, at: 0, byteCount: UInt64(buffer.byteCount), [BufferSlice(buffer)], deadline: core.deadline)
        }
        for _ in 0..<31 { try note() }
        var leases: [NBDCore.Lease] = []
        for _ in 0..<4 { leases.append(try #require(try core.take(deadline: .max))) }
        if hasEnded { core.end() }
        #expect(throws: Errno.ioError) { try note() }
        #expect(throws: Errno.ioError) { _ = try core.take(deadline: core.deadline) }
        for lease in leases { core.give(lease) }
    }

    /// A server that comes back with smaller blocks gets what is noted in smaller parts.
    @Test func repeatedWritesFitTheNewServer() throws {
        let place = try forgetfulServer()
        let device = try connect(place.server)
        var random = SplitMix(seed: 9)
        let bytes = noise(900_000, &random)
        try write(device, 4096, bytes)
        place.server.kill()
        let other = try NBDServer.nbdkit(
            socket: place.server.socket,
            [
                "--filter=blocksize-policy", "file", place.image, "blocksize-minimum=1",
                "blocksize-preferred=4096", "blocksize-maximum=65536", "blocksize-error-policy=error",
            ])
        #expect(try contents(device, 4096, bytes.count) == bytes)
        try device.flush()
        withExtendedLifetime(other) {}
    }

    /// What a server that came back won't take is told, and taken when it will.
    @Test func refusedRepetitionsAreTold() throws {
        let place = try forgetfulServer()
        let said = Locked<[String]>([])
        let device = try connect(place.server) { options in
            options.patience = 300_000_000
            options.log = { line in said.withLock { $0.append(line) } }
        }
        var random = SplitMix(seed: 10)
        let bytes = noise(4096, &random)
        try write(device, 8192, bytes)
        place.server.kill()
        let full = try NBDServer.nbdkit(
            socket: place.server.socket,
            ["--filter=error", "file", place.image, "error-pwrite=ENOSPC", "error-pwrite-rate=100%"])
        while !said.withLock({ $0.contains { $0.contains("refuses to write again") } }) {
            _ = try? contents(device, 0, 512)
            usleep(5000)
        }
        while device.figures.obstacle?.contains("4096 bytes at 8192") != true { usleep(5000) }
        full.kill()
        try place.server.start()
        while !device.figures.isConnected { usleep(5000) }
        #expect(try contents(device, 8192, 4096) == bytes)
        #expect(device.figures.obstacle == nil)
    }

    /// A server that says nothing is as good as dead.
    @Test func aServerThatHangsIsLeft() throws {
        let place = try forgetfulServer()
        let device = try connect(place.server) { options in
            options.answerLimit = 300_000_000
            options.connectionLimit = 300_000_000
        }
        var random = SplitMix(seed: 6)
        let bytes = noise(100_000, &random)
        try write(device, 0, bytes)
        try place.server.stop()
        let found = Locked<[UInt8]?>(nil)
        let thread = try spawnThread(name: "reader") {
            let read = try? contents(device, 0, bytes.count)
            found.withLock { $0 = read }
        }
        while device.figures.isConnected { usleep(5000) }
        place.server.kill()
        try place.server.start()
        thread.join()
        #expect(found.withLock { $0 } == bytes)
    }
}
