import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import Testing

/// One channel, both sides in this process. What must hold:
/// - every submitted request gets exactly one completion, its own, whatever the number of threads and the order of answers;
/// - payload and reply arrive unchanged, from 0 bytes to 1 MiB;
/// - after everything is released nothing is taken.
@Suite struct RingTests {
    @Test(arguments: [0, 1, 8, 192, 256, 257, 4096, 4097, 100_000, 1 << 20])
    func payloadsAndReplies(size: Int) throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, MirrorScheme())
        defer { server.stop() }
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let write = try channel.callAndWait(SubmissionEntry(.write, node: 1), payload: bytes)
        #expect(write.result == Int64(size))
        channel.release(write)
        let read = try channel.callAndWait(SubmissionEntry(.read, node: 1, length: UInt32(size)))
        #expect(read.result == Int64(size))
        #expect(channel.replyBytes(read) == bytes)
        channel.release(read)
        let fill = channel.fill
        #expect(
            fill.freeRecords == fill.records && fill.payloadPages == 0 && fill.replyPages == 0 && fill.inFlight == 0)
    }

    @Test(arguments: [1, 3]) func manyThreadsGetTheirOwnAnswers(workers: Int) throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, OffsetScheme(), workers: workers)
        defer { server.stop() }
        let threads = 4
        let perThread = 5000
        let answered = Locked([UInt64: Int]())
        let wrong = Locked(0)
        let stop = Locked(false)
        let drainer = try spawnThread(name: "drain") {
            while !stop.withLock({ $0 }) {
                channel.waitAndDrain(nanoseconds: 5_000_000) { completion in
                    if UInt64(completion.result) != completion.cookie & 0xffff_ffff { wrong.withLock { $0 += 1 } }
                    answered.withLock { $0[completion.cookie, default: 0] += 1 }
                    channel.release(completion)
                }
            }
        }
        var submitters: [JoinHandle] = []
        for thread in 0..<threads {
            submitters.append(
                try spawnThread(name: "submit") {
                    for index in 0..<perThread {
                        let cookie = UInt64(thread) << 32 | UInt64(index)
                        while true {
                            guard let slot = channel.reserve() else { continue }
                            channel.submit(
                                slot, SubmissionEntry(.lseek, node: 1, offset: UInt64(index)), cookie: cookie)
                            break
                        }
                    }
                })
        }
        for submitter in submitters { submitter.join() }
        while answered.withLock({ $0.count }) < threads * perThread {}
        stop.withLock { $0 = true }
        channel.wakeDrainer()
        drainer.join()
        #expect(wrong.withLock { $0 } == 0)
        #expect(answered.withLock { $0.values.allSatisfy { $0 == 1 } })
        #expect(channel.fill.freeRecords == channel.fill.records)
        #expect(channel.statistics.client[.lseek]?.count == UInt64(threads * perThread))
        #expect(channel.statistics.server[.lseek]?.count == UInt64(threads * perThread))
    }

    @Test func cancelEndsAWaitingCallAndOnlyThat() throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, NeverScheme())
        defer { server.stop() }
        let first = try #require(channel.reserve())
        channel.submit(first, SubmissionEntry(.read, node: 5, length: 10), cookie: 1)
        let second = try #require(channel.reserve())
        channel.submit(second, SubmissionEntry(.read, node: 5, length: 10), cookie: 2)
        try #require(channel.cancel(tag: first.tag, generation: first.generation, cookie: 3) != nil)
        var results: [UInt64: Int64] = [:]
        while results.count < 2 {
            channel.waitAndDrain(nanoseconds: 100_000_000) {
                results[$0.cookie] = $0.result
                channel.release($0)
            }
        }
        #expect(results == [1: -Int64(Errno.interrupted.rawValue), 3: 1])
        // A second cancel finds nothing: too late is no error.
        try #require(channel.cancel(tag: first.tag, generation: first.generation, cookie: 4) != nil)
        while results.count < 3 {
            channel.waitAndDrain(nanoseconds: 100_000_000) {
                results[$0.cookie] = $0.result
                channel.release($0)
            }
        }
        #expect(results[4] == 0)
        #expect(channel.fill.inFlight == 1)
    }

    @Test func eventsArriveAndLossIsTold() throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, OffsetScheme())
        defer { server.stop() }
        for node in 0..<10 { server.server.post(EventEntry(.ready, flags: 1, node: UInt64(node))) }
        var nodes: [UInt64] = []
        #expect(channel.drainEvents { nodes.append($0.node) })
        #expect(nodes == Array(0..<10))
        for node in 0..<1000 { server.server.post(EventEntry(.ready, node: UInt64(node))) }
        #expect(!channel.drainEvents { _ in })
        #expect(channel.drainEvents { _ in })
    }

    @Test func nonsenseIsRefusedByTheServer() throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, OffsetScheme())
        defer { server.stop() }
        var entry = SubmissionEntry(.lookup, node: 1)
        entry.opcode = 63
        let slot = try #require(channel.reserve())
        channel.submit(slot, entry)
        // The client itself doesn't know the opcode either: the completion counts as a violation. The ring goes on.
        let next = try channel.callAndWait(SubmissionEntry(.ping))
        #expect(next.result == 0)
        channel.release(next)
        let named = try channel.callAndWait(SubmissionEntry(.lookup, node: 1), payload: Array("a/b".utf8))
        #expect(named.errno == Errno.invalidArgument.rawValue)
        channel.release(named)
    }
}

/// Keeps what was written and reads it back.
final class MirrorScheme: NodeScheme {
    private let bytes = Locked([UInt8]())

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let copy = (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
        self.bytes.withLock { $0 = copy }
        return copy.count
    }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        let copy = bytes.withLock { $0 }
        let span = copy.span
        buffer.copyBytes(from: unsafe span.bytes)
        return copy.count
    }
}

/// Answers lseek with the offset.
final class OffsetScheme: NodeScheme {
    var isSerial: Bool { false }

    func seek(
        _ node: UInt64, handle: UInt64, from offset: UInt64, whence: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 { offset }
}

/// Never has anything to read.
final class NeverScheme: NodeScheme {
    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int { throw .wouldBlock }
}
