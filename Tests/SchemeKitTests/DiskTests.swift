import Glibc
import Platform
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import Testing

@testable import SchemeKit

/// The disk scheme as another scheme uses it. What is written is in the image; deaths of its process aren't seen; faults are told.
@Suite struct DiskTests {
    private static let size = 8 << 20

    private struct Disk {
        let image: SharedDescriptor
        let channel: ChannelClient
        let client: SchemeClient
        let peer: PeerProcess
    }

    private static func start(
        _ image: SharedDescriptor, _ channel: ChannelClient, _ incarnation: UInt32, isReadOnly: Bool = false
    ) throws -> PeerProcess {
        let peer = try PeerProcess(
            program: "scheme-disk",
            ControlMessage(
                .configure, number: UInt64(incarnation),
                fields: [.init("scheme", "disk"), .init("read-only", isReadOnly ? "1" : "0")]),
            descriptors: [("image", image.rawValue)])
        _ = try peer.wait(for: .started)
        try peer.attach(
            geometry: .small, request: channel.requestDescriptor, reply: channel.replyDescriptor,
            epoch: incarnation == 1 ? 0 : incarnation)
        return peer
    }

    private static func disk(isReadOnly: Bool = false) throws -> Disk {
        let image = SharedDescriptor(try SharedMemory.create(name: "image", byteCount: size))
        let channel = try ChannelClient(.small, name: "disk")
        let peer = try start(image, channel, 1, isReadOnly: isReadOnly)
        return Disk(image: image, channel: channel, client: SchemeClient(channel, scheme: "disk"), peer: peer)
    }

    private static func noise(_ count: Int, _ generator: inout TestGenerator) -> AlignedBuffer {
        let buffer = AlignedBuffer(byteCount: count)
        var bytes = buffer.mutableBytes
        for index in stride(from: 0, to: count - 7, by: 8) {
            bytes.storeBytes(of: generator.next(), toByteOffset: index, as: UInt64.self)
        }
        return buffer
    }

    @Test func writesAndReads() throws {
        let disk = try Self.disk()
        let file = try disk.client.open("0", flags: OpenFlags.readWrite)
        #expect(try file.attributes().size == UInt64(Self.size))
        var generator = TestGenerator(seed: testSeed("writesAndReads"))
        for count in [16, 4096, 5000, 1 << 20, 3 << 20] {
            let buffer = Self.noise(count, &generator)
            let half = count / 2
            try file.write(
                at: 12_345,
                [BufferSlice(buffer, 0..<half), BufferSlice(buffer, half..<half), BufferSlice(buffer, half..<count)])
            let back = AlignedBuffer(byteCount: count)
            var bytes = back.mutableBytes
            #expect(try file.read(at: 12_345, into: &bytes) == count)
            #expect(same(back, buffer))
        }
        try file.synchronize()
        try file.discard(at: 0, byteCount: 4096)
        // One writer at a time, any number of readers; names that aren't there.
        #expect(throws: Errno.resourceBusy) { _ = try disk.client.open("0", flags: OpenFlags.readWrite) }
        _ = try disk.client.open("0", flags: OpenFlags.readOnly)
        #expect(throws: Errno.noSuchFileOrDirectory) { _ = try disk.client.open("0p0", flags: OpenFlags.readOnly) }
        // At the end.
        let tail = AlignedBuffer(byteCount: 8192)
        var bytes = tail.mutableBytes
        #expect(try file.read(at: UInt64(Self.size - 100), into: &bytes) == 100)
        let fill = disk.channel.fill
        #expect(fill.inFlight == 0 && fill.payloadPages == 0 && fill.replyPages == 0)
    }

    /// Ranges here and there are few requests, and the last one may have to wait for the others to be on the medium.
    @Test(arguments: [[], .afterFlush] as [SubmissionFlags]) func rangesHereAndThere(_ flags: SubmissionFlags) throws {
        let disk = try Self.disk()
        let file = try disk.client.open("0", flags: OpenFlags.readWrite)
        var generator = TestGenerator(seed: testSeed("rangesHereAndThere"))
        let count = flags.isEmpty ? 600 : 200
        let pieces = (0..<count).map { index in
            (offset: UInt64(index) * 8192 + 4096, slices: [BufferSlice(Self.noise(4096, &generator))])
        }
        if !flags.isEmpty { #expect(file.fitTogether(count, byteCount: UInt64(count) << 12)) }
        try file.write(pieces, flags: flags)
        for piece in pieces {
            let back = AlignedBuffer(byteCount: 4096)
            var bytes = back.mutableBytes
            #expect(try file.read(at: piece.offset, into: &bytes) == 4096)
            #expect(same(back, piece.slices[0].buffer))
        }
        let between = AlignedBuffer(byteCount: 4096)
        var bytes = between.mutableBytes
        _ = try file.read(at: 8192, into: &bytes)
        #expect(same(between, AlignedBuffer(byteCount: 4096)))
    }

    /// What a client writes into the table is not to be trusted.
    @Test func brokenTablesAreRefused() throws {
        let disk = try Self.disk()
        let file = try disk.client.open("0", flags: OpenFlags.readWrite)
        let node = try file.attributes().node
        func write(count: UInt64, room: Int = 3 * 4096, _ entries: [(UInt64, UInt64)]) throws -> Int32? {
            let slot = try disk.client.reserve(payloadBytes: room, replyBytes: 0)
            var payload = disk.channel.payload(slot)
            for (index, entry) in entries.enumerated() where 16 * index + 16 <= room {
                payload.storeBytes(of: entry.0, toByteOffset: 16 * index, as: UInt64.self)
                payload.storeBytes(of: entry.1, toByteOffset: 16 * index + 8, as: UInt64.self)
            }
            let entry = SubmissionEntry(.write, flags: .scattered, node: node, handle: file.handle, offset: count)
            let completion = try disk.client.call(slot, entry, payload: 0..<room)
            defer { disk.channel.release(completion) }
            return completion.errno
        }
        #expect(try write(count: 2, [(0, 4096), (8192, 4096)]) == nil)
        #expect(try write(count: 0, []) == EINVAL)
        #expect(try write(count: 257, []) == EINVAL)
        #expect(try write(count: .max, []) == EINVAL)
        #expect(try write(count: 2, [(0, 4096), (8192, 0)]) == EINVAL)
        #expect(try write(count: 2, [(0, 4096), (8192, 4097)]) == EINVAL)
        #expect(try write(count: 2, [(0, .max), (8192, 4096)]) == EINVAL)
        #expect(try write(count: 2, [(0, UInt64(Int.max)), (8192, 4096)]) == EINVAL)
        #expect(try write(count: 1, room: 4096, [(0, 4096)]) == EINVAL)
        #expect(try write(count: 1, room: 100, [(0, 100)]) == EINVAL)
        #expect(try write(count: 2, [(.max, 4096), (8192, 4096)]) != nil)
        #expect(try write(count: 2, [(UInt64(Self.size) - 100, 4096), (8192, 4096)]) != nil)
        // And the server is still there.
        #expect(try write(count: 1, room: 8192, [(0, 4096)]) == nil)
    }

    @Test func readOnly() throws {
        let disk = try Self.disk(isReadOnly: true)
        #expect(throws: Errno.readOnlyFileSystem) { _ = try disk.client.open("0", flags: OpenFlags.readWrite) }
        let file = try disk.client.open("0", flags: OpenFlags.readOnly)
        #expect(throws: Errno.badFileDescriptor) { try file.write(at: 0, AlignedBuffer(byteCount: 16).bytes) }
    }

    @Test func deathsAreNotSeen() throws {
        let disk = try Self.disk()
        let file = try disk.client.open("0", flags: OpenFlags.readWrite)
        let threads = 3
        let stop = Locked(false)
        let wrong = Locked(0)
        let rounds = Locked(0)
        let seed = testSeed("deathsAreNotSeen")
        var workers: [JoinHandle] = []
        for thread in 0..<threads {
            workers.append(
                try spawnThread(name: "user") {
                    var generator = TestGenerator(seed: seed &+ UInt64(thread))
                    while !stop.withLock({ $0 }) {
                        let buffer = Self.noise(Int(generator.next() % 20_000) + 8, &generator)
                        let at = UInt64(thread) << 20
                        let back = AlignedBuffer(byteCount: buffer.byteCount)
                        var bytes = back.mutableBytes
                        do {
                            try file.write(at: at, [BufferSlice(buffer)])
                            if generator.next() % 4 == 0 { try file.synchronize() }
                            _ = try file.read(at: at, into: &bytes)
                        } catch { wrong.withLock { $0 += 1 } }
                        if !same(back, buffer) { wrong.withLock { $0 += 1 } }
                        rounds.withLock { $0 += 1 }
                    }
                })
        }
        var generator = TestGenerator(seed: seed &+ 99)
        var peer = disk.peer
        for incarnation in UInt32(2)...15 {
            SystemCall.sleep(nanoseconds: generator.next() % 5_000_000)
            peer.kill()
            disk.client.serverDied()
            peer = try Self.start(disk.image, disk.channel, incarnation)
            disk.client.serverStarted(incarnation)
        }
        stop.withLock { $0 = true }
        for worker in workers { worker.join() }
        #expect(wrong.withLock { $0 } == 0)
        print("rounds \(rounds.withLock { $0 })")
        peer.kill()
    }

    @Test func offlineFailsAtOnceAndComesBack() throws {
        let disk = try Self.disk()
        let file = try disk.client.open("0", flags: OpenFlags.readWrite)
        disk.peer.kill()
        disk.client.serverDied()
        let failed = Locked<Errno?>(nil)
        let thread = try spawnThread(name: "user") {
            do throws(Errno) { _ = try file.attributes() } catch { failed.withLock { $0 = error } }
        }
        SystemCall.sleep(nanoseconds: 20_000_000)
        disk.client.serverOffline()
        thread.join()
        #expect(failed.withLock { $0 } == .operationNotSupportedByDevice)
        #expect(throws: Errno.operationNotSupportedByDevice) { _ = try file.attributes() }
        let peer = try Self.start(disk.image, disk.channel, 2)
        disk.client.serverStarted(2)
        #expect(try file.attributes().size == UInt64(Self.size))
        peer.kill()
    }

    @Test func faultsAreInjectedAndTakenAway() throws {
        let disk = try Self.disk()
        let file = try disk.client.open("0", flags: OpenFlags.readWrite)
        let buffer = AlignedBuffer(byteCount: 4096)
        func set(_ fields: [ControlMessage.Field], fails: Bool = false) throws {
            try disk.peer.control.send(ControlMessage(.set, id: 9, fields: fields))
            let isDone = (try? disk.peer.wait(for: .done)) != nil
            #expect(isDone != fails)
        }
        try set([.init("read-error", "1")])
        var bytes = buffer.mutableBytes
        var result: Errno?
        do throws(Errno) { _ = try file.read(at: 0, into: &bytes) } catch { result = error }
        #expect(result == .ioError)
        try set([.init("read-error", "0"), .init("corrupt", "1"), .init("seed", "5")])
        _ = try file.read(at: 0, into: &bytes)
        let zeros = AlignedBuffer(byteCount: 4096)
        #expect(!same(buffer, zeros))
        try set([.init("clear", "")])
        _ = try file.read(at: 0, into: &bytes)
        #expect(same(buffer, zeros))
        try set([.init("write-error", "1"), .init("flush-error", "1")])
        #expect(throws: Errno.ioError) { try file.write(at: 0, zeros.bytes) }
        #expect(throws: Errno.ioError) { try file.synchronize() }
        try set([.init("read-error", "2")], fails: true)
        try set([.init("nonsense", "2")], fails: true)
        try disk.peer.control.send(ControlMessage(.get, id: 10))
        let report = try disk.peer.wait(for: .done)
        #expect(report.message["disk-0"] == "\(Self.size)")
        #expect(report.message["write-error"] == "1.0")
    }
}

/// Whether two buffers hold the same bytes.
func same(_ one: AlignedBuffer, _ other: AlignedBuffer) -> Bool {
    guard one.byteCount == other.byteCount else { return false }
    let first = one.bytes
    let second = other.bytes
    for index in 0..<one.byteCount {
        let left = unsafe first.unsafeLoad(fromByteOffset: index, as: UInt8.self)
        let right = unsafe second.unsafeLoad(fromByteOffset: index, as: UInt8.self)
        if left != right { return false }
    }
    return true
}
