import Glibc
import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import Testing

/// The pipe scheme, as pipe(7) and fifo(7) say, through its process; and what is in a pipe survives the process, exactly once.
@Suite struct PipeTests {
    @Test func bytesComeInOrderAndEndWithTheWriter() throws {
        let pipes = try PipeSystem()
        defer { pipes.end() }
        let node = try pipes.create("one", handle: 1, flags: OpenFlags.readWrite)
        #expect(try pipes.write(node, 1, Array("hello".utf8)) == 5)
        #expect(try pipes.write(node, 1, Array(" world".utf8)) == 6)
        #expect(try pipes.read(node, 1, 100) == .success(Array("hello world".utf8)))
        // A reader with a writer waits; without one it is at the end.
        #expect(try pipes.call(.open, node, 2, flags: OpenFlags.readOnly) == 0)
        let waiting = try pipes.beginRead(node, 2, 10)
        #expect(try !pipes.isDone(waiting))
        #expect(try pipes.write(node, 1, [7]) == 1)
        #expect(try pipes.finish(waiting) == .success([7]))
        let last = try pipes.beginRead(node, 2, 10)
        #expect(try !pipes.isDone(last))
        #expect(try pipes.call(.close, node, 1) == 0)
        #expect(try pipes.finish(last) == .success([]))
        #expect(try pipes.read(node, 2, 10) == .success([]))
    }

    @Test func whatNobodyReadGoesWithTheLastEnd() throws {
        let pipes = try PipeSystem()
        defer { pipes.end() }
        let node = try pipes.create("one", handle: 1, flags: OpenFlags.readWrite)
        #expect(try pipes.write(node, 1, Array("old".utf8)) == 3)
        #expect(try pipes.call(.open, node, 2, flags: OpenFlags.readOnly) == 0)
        #expect(try pipes.call(.close, node, 1) == 0)
        // Somebody has it open still.
        #expect(try pipes.read(node, 2, 1) == .success(Array("o".utf8)))
        #expect(try pipes.call(.close, node, 2) == 0)
        #expect(try pipes.call(.open, node, 3, flags: OpenFlags.readWrite) == 0)
        #expect(try pipes.write(node, 3, Array("new".utf8)) == 3)
        #expect(try pipes.read(node, 3, 100) == .success(Array("new".utf8)))
    }

    @Test func opensWaitForTheOtherSide() throws {
        let pipes = try PipeSystem()
        defer { pipes.end() }
        let node = try pipes.make("fifo")
        let nonBlocking = OpenFlags.nonBlocking
        #expect(try pipes.call(.open, node, 1, flags: OpenFlags.writeOnly | nonBlocking) == -Int64(ENXIO))
        #expect(try pipes.call(.open, node, 2, flags: OpenFlags.readOnly | nonBlocking) == 0)
        #expect(try pipes.call(.open, node, 3, flags: OpenFlags.writeOnly | nonBlocking) == 0)
        #expect(try pipes.read(node, 2, 1, flags: nonBlocking) == .failure(.wouldBlock))
        for handle in [UInt64(2), 3] { #expect(try pipes.call(.close, node, handle) == 0) }
        let reader = try pipes.begin(.open, node, 4, flags: OpenFlags.readOnly)
        #expect(try !pipes.isDone(reader))
        let writer = try pipes.begin(.open, node, 5, flags: OpenFlags.writeOnly)
        #expect(try pipes.finish(writer) == .success([]))
        #expect(try pipes.finish(reader) == .success([]))
        // One that is interrupted doesn't count any more.
        for handle in [UInt64(4), 5] { #expect(try pipes.call(.close, node, handle) == 0) }
        let interrupted = try pipes.begin(.open, node, 6, flags: OpenFlags.readOnly)
        #expect(try !pipes.isDone(interrupted))
        pipes.cancel(interrupted)
        #expect(try pipes.finish(interrupted) == .failure(.interrupted))
        #expect(try pipes.call(.open, node, 7, flags: OpenFlags.writeOnly | nonBlocking) == -Int64(ENXIO))
    }

    @Test func writesOfPipeBufAreAtomic() throws {
        let pipes = try PipeSystem()
        defer { pipes.end() }
        let node = try pipes.create("atomic", handle: 1, flags: OpenFlags.readWrite)
        let nonBlocking = OpenFlags.nonBlocking
        #expect(try pipes.write(node, 1, [UInt8](repeating: 1, count: 65536 - 100)) == 65436)
        // No room for all: a short one waits whole, a long one takes what there is.
        #expect(try pipes.write(node, 1, [UInt8](repeating: 2, count: 4096), flags: nonBlocking) == -Int64(EAGAIN))
        let small = try pipes.beginWrite(node, 1, [UInt8](repeating: 2, count: 4096))
        #expect(try !pipes.isDone(small))
        let large = try pipes.beginWrite(node, 1, [UInt8](repeating: 3, count: 100_000))
        #expect(try !pipes.isDone(large))
        #expect(try pipes.poll(node, 1) == PollEvents.input)
        var read: [UInt8] = []
        while read.count < 65436 + 4096 + 100_000 { read += try pipes.read(node, 1, 50_000).get() }
        #expect(try pipes.finish(small) == .success([]))
        #expect(try pipes.finish(large) == .success([]))
        #expect(read.count { $0 == 1 } == 65436 && read.count { $0 == 2 } == 4096 && read.count { $0 == 3 } == 100_000)
        // The short one lies in one piece.
        let start = try #require(read.firstIndex(of: 2))
        #expect(read[start..<(start + 4096)].allSatisfy { $0 == 2 })
        #expect(try pipes.poll(node, 1) == PollEvents.output)
        // Interrupted with a part written: the part counts.
        let partial = try pipes.beginWrite(node, 1, [UInt8](repeating: 4, count: 100_000))
        #expect(try !pipes.isDone(partial))
        pipes.cancel(partial)
        #expect(try pipes.result(partial) == 65536)
        #expect(try pipes.read(node, 1, 65536).get().count == 65536)
    }

    /// A write that has a part of its bytes in the pipe when its server dies, and is ended while there is none, keeps nobody else out.
    @Test func aWriteThatIsEndedMakesWay() throws {
        let pipes = try PipeSystem()
        defer { pipes.end() }
        let node = try pipes.create("ended", handle: 1, flags: OpenFlags.readWrite)
        let partial = try pipes.beginWrite(node, 1, [UInt8](repeating: 1, count: 100_000))
        #expect(try !pipes.isDone(partial))
        try pipes.killAndGiveUp(partial)
        #expect(try pipes.result(partial) == -Int64(EIO))
        #expect(try pipes.read(node, 1, 65536).get().count == 65536)
        #expect(try pipes.poll(node, 1) == PollEvents.output)
        #expect(try pipes.write(node, 1, Array("more".utf8)) == 4)
        #expect(try pipes.read(node, 1, 100) == .success(Array("more".utf8)))
    }

    @Test func writingWithoutReaderFails() throws {
        let pipes = try PipeSystem()
        defer { pipes.end() }
        let node = try pipes.create("epipe", handle: 1, flags: OpenFlags.readWrite)
        #expect(try pipes.call(.open, node, 2, flags: OpenFlags.writeOnly) == 0)
        let waiting = try pipes.beginWrite(node, 2, [UInt8](repeating: 1, count: 70_000))
        #expect(try !pipes.isDone(waiting))
        #expect(try pipes.call(.close, node, 1) == 0)
        #expect(try pipes.result(waiting) == 65536)
        #expect(try pipes.write(node, 2, [1]) == -Int64(EPIPE))
        #expect(try pipes.poll(node, 2) == PollEvents.error)
    }

    @Test func namesAndRemoval() throws {
        let pipes = try PipeSystem()
        defer { pipes.end() }
        let node = try pipes.create("a", handle: 1, flags: OpenFlags.readWrite)
        #expect(try pipes.named(.lookup, "a") == 0)
        #expect(try pipes.named(.lookup, "b") == -Int64(ENOENT))
        #expect(try pipes.named(.mkdir, "d") == -Int64(EPERM))
        #expect(try pipes.write(node, 1, [1, 2]) == 2)
        #expect(try pipes.named(.unlink, "a") == 0)
        #expect(try pipes.named(.unlink, "a") == -Int64(ENOENT))
        #expect(try pipes.read(node, 1, 10) == .success([1, 2]))
        #expect(try pipes.call(.close, node, 1) == 0)
        #expect(try pipes.call(.getattr, node, 0) == -Int64(ESTALE))
        // Two hundred and fifty-six at a time, and again.
        for round in 0..<2 {
            for index in 0..<256 { _ = try pipes.make("p\(round)-\(index)") }
            #expect(try pipes.named(.mknod, "one-more", mode: 0o100644) == -Int64(ENOSPC))
            for index in 0..<256 { #expect(try pipes.named(.unlink, "p\(round)-\(index)") == 0) }
        }
    }

    /// A stream through a pipe while its process is killed at random moments: not a byte lost, doubled or out of place.
    @Test func contentsSurviveKills() throws {
        let seed = testSeed("contentsSurviveKills")
        var generator = TestGenerator(seed: seed)
        let pipes = try PipeSystem()
        defer { pipes.end() }
        let node = try pipes.create("stream", handle: 1, flags: OpenFlags.readWrite)
        var written: UInt64 = 0
        var read: UInt64 = 0
        let total: UInt64 = 1 << 20
        var writing: UInt32?
        var reading: UInt32?
        var kills = 0
        while read < total {
            if writing == nil, written < total {
                let count = Int(generator.next() % 3 == 0 ? generator.next() % 90_000 : generator.next() % 5000) + 1
                writing = try pipes.beginWrite(node, 1, (0..<count).map { Self.byte(written + UInt64($0)) })
                written += UInt64(count)
            }
            if reading == nil { reading = try pipes.beginRead(node, 1, Int(generator.next() % 40_000) + 1) }
            // At random, and often enough whatever the seed.
            if generator.next() % 6 == 0 || UInt64(kills) < read / (total / 8) {
                kills += 1
                try pipes.kill(afterNanoseconds: generator.next() % 200_000)
            }
            if let tag = writing, try pipes.isDone(tag, waits: false) {
                #expect(try pipes.result(tag) > 0)
                writing = nil
            }
            if let tag = reading, try pipes.isDone(tag, waits: false) {
                let bytes = try pipes.finish(tag).get()
                for (index, byte) in bytes.enumerated() where byte != Self.byte(read + UInt64(index)) {
                    Issue.record("byte \(read + UInt64(index)) is wrong")
                    return
                }
                read += UInt64(bytes.count)
                reading = nil
                if read >= total, written == read { break }
            }
        }
        print("kills \(kills)")
        #expect(kills > 5)
    }

    private static func byte(_ position: UInt64) -> UInt8 {
        UInt8(truncatingIfNeeded: position ^ position >> 7 ^ position >> 15)
    }
}

/// The process of the pipe scheme, with what a client of it does.
final class PipeSystem {
    private let state: SharedDescriptor
    private let channel: ChannelClient
    private var client: RecoveringClient?
    private let done = Done()

    final class Done {
        /// By number of the call: a record's tag is another call's once it was released.
        var results: [UInt32: (result: Int64, bytes: [UInt8])] = [:]
        var tags: [UInt32: UInt32] = [:]
        var calls: UInt32 = 0
    }

    init() throws {
        let state = SharedDescriptor(
            try SharedMemory.create(name: "pipes", byteCount: 4096 + 256 * 512 + 256 * 65536))
        self.state = state
        channel = try ChannelClient(.small, name: "pipes")
        let channel = channel
        let done = done
        client = try RecoveringClient(channel) { number in
            try PeerProcess(
                program: "scheme-pipe", ControlMessage(.configure, number: UInt64(number)),
                descriptors: [("state", state.rawValue)])
        } onCompletion: { completion in
            done.results[UInt32(completion.cookie)] = (completion.result, channel.replyBytes(completion))
            channel.release(completion)
        }
    }

    func end() { client?.peer.kill() }

    func kill(afterNanoseconds: UInt64) throws {
        SystemCall.sleep(nanoseconds: afterNanoseconds)
        try client?.recover()
    }

    /// Kills the server and ends a call that it had, as with one that servers die of.
    func killAndGiveUp(_ tag: UInt32) throws {
        client?.peer.kill()
        channel.holdBack()
        if let record = done.tags[tag].flatMap({ channel.record(tag: $0) }) { channel.failLocally(record, errno: EIO) }
        try client?.recover()
    }

    func begin(
        _ opcode: Opcode, _ node: UInt64, _ handle: UInt64, flags: UInt32 = 0, length: Int = 0, payload: [UInt8] = [],
        word0: UInt64 = 0
    ) throws -> UInt32 {
        let slot = try #require(
            channel.reserve(payloadBytes: payload.count, replyBytes: length > 192 ? length : 0, important: true))
        let channel = channel
        var room = channel.payload(slot)
        let span = payload.span
        room.copyBytes(from: unsafe span.bytes)
        done.calls += 1
        done.tags[done.calls] = slot.tag
        channel.submit(
            slot, SubmissionEntry(opcode, node: node, handle: handle, length: UInt32(length)),
            RequestArguments(flags: flags, word0: word0), payload: 0..<payload.count, cookie: UInt64(done.calls))
        return done.calls
    }

    /// Whether there is an answer; gives the scheme time for one.
    func isDone(_ tag: UInt32, waits: Bool = true) throws -> Bool {
        try client?.step(nanoseconds: waits ? 20_000_000 : 200_000)
        return done.results[tag] != nil
    }

    func result(_ tag: UInt32) throws -> Int64 {
        while true {
            if let found = done.results[tag] { return found.result }
            try client?.step()
        }
    }

    func finish(_ tag: UInt32) throws -> Result<[UInt8], Errno> {
        let result = try result(tag)
        if result < 0 { return .failure(Errno(rawValue: Int32(-result))) }
        return .success(done.results[tag]?.bytes ?? [])
    }

    func cancel(_ tag: UInt32) {
        guard let tag = done.tags[tag], let record = channel.record(tag: tag) else { return }
        channel.cancel(tag: tag, generation: record.entry.generation, cookie: 0)
    }

    func call(_ opcode: Opcode, _ node: UInt64, _ handle: UInt64, flags: UInt32 = 0) throws -> Int64 {
        let result = try result(try begin(opcode, node, handle, flags: flags))
        if opcode == .open, result == 0 { client?.handles.append((node, handle, flags)) }
        if opcode == .close { client?.handles.removeAll { $0.handle == handle } }
        return result
    }

    func named(_ opcode: Opcode, _ name: String, mode: UInt64 = 0) throws -> Int64 {
        try result(try begin(opcode, 1, 0, payload: Array(name.utf8), word0: mode))
    }

    private func node(_ tag: UInt32) throws -> UInt64 {
        let bytes = try finish(tag).get()
        return bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    func make(_ name: String) throws -> UInt64 {
        try node(try begin(.mknod, 1, 0, payload: Array(name.utf8), word0: 0o100644))
    }

    func create(_ name: String, handle: UInt64, flags: UInt32) throws -> UInt64 {
        let node = try node(
            try begin(.create, 1, handle, flags: flags, payload: Array(name.utf8), word0: 0o100644))
        client?.handles.append((node, handle, flags))
        return node
    }

    func beginRead(_ node: UInt64, _ handle: UInt64, _ count: Int, flags: UInt32 = 0) throws -> UInt32 {
        try begin(.read, node, handle, flags: flags, length: count)
    }

    func read(_ node: UInt64, _ handle: UInt64, _ count: Int, flags: UInt32 = 0) throws -> Result<[UInt8], Errno> {
        try finish(try beginRead(node, handle, count, flags: flags))
    }

    func beginWrite(_ node: UInt64, _ handle: UInt64, _ bytes: [UInt8], flags: UInt32 = 0) throws -> UInt32 {
        try begin(.write, node, handle, flags: flags, payload: bytes)
    }

    func write(_ node: UInt64, _ handle: UInt64, _ bytes: [UInt8], flags: UInt32 = 0) throws -> Int64 {
        try result(try beginWrite(node, handle, bytes, flags: flags))
    }

    func poll(_ node: UInt64, _ handle: UInt64) throws -> UInt32 {
        UInt32(try result(try begin(.poll, node, handle, flags: PollEvents.input | PollEvents.output)))
    }
}
