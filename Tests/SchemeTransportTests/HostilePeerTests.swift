import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import Testing

/// A peer that has been taken over writes anything into its memory at any time. The other side never traps, never hangs by itself,
/// believes no value out of limits, and other channels don't notice.
@Suite struct HostilePeerTests {
    @Test(arguments: 1...4) func hostileServer(run: UInt64) throws {
        let seed = testSeed("hostileServer") &+ run
        let channel = try ChannelClient(.small, name: "hostile")
        let honest = try ChannelClient(.small, name: "honest")
        let server = try ServerThread(honest, OffsetScheme())
        defer { server.stop() }
        let peer = try PeerProcess(
            ControlMessage(
                .configure, number: 1, fields: [.init("mode", "hostile"), .init("seed", "\(seed)")]),
            descriptors: [("reply", channel.replyDescriptor.rawValue)])
        var generator = TestGenerator(seed: seed)
        let opcodes: [Opcode] = [.read, .write, .lookup, .getattr, .readdir, .unlink, .create, .fsync]
        for round in 0..<20_000 {
            let opcode = opcodes[Int(generator.next() % 8)]
            let length = opcode == .read || opcode == .readdir ? 5000 : 0
            if let slot = channel.reserve(payloadBytes: Int(generator.next() % 6000), replyBytes: length) {
                channel.submit(slot, SubmissionEntry(opcode, node: 1, length: UInt32(length)))
            }
            channel.waitAndDrain(nanoseconds: 100_000, limit: 1000) { check($0, channel) }
            _ = channel.drainEvents { _ in }
            if round % 100 == 0 {
                _ = channel.server
                _ = channel.statistics
                let answer = try honest.callAndWait(SubmissionEntry(.lseek, node: 1, offset: UInt64(round)))
                #expect(answer.result == Int64(round))
                honest.release(answer)
            }
        }
        peer.kill()
        // A good server after it gets everything that is still open.
        channel.holdBack()
        channel.drain { check($0, channel) }
        channel.startEpoch(2)
        let successor = try ServerThread(channel, AnythingScheme(), incarnation: 2, epoch: 2)
        defer { successor.stop() }
        for record in channel.log(after: 0) { channel.replay(record) }
        for record in channel.requestsInFlight() { channel.resubmit(record) }
        channel.resume()
        while channel.fill.inFlight > 0 {
            channel.waitAndDrain(nanoseconds: 10_000_000) { if !$0.isReplay { check($0, channel) } }
        }
        print("violations: \(channel.violations)")
    }

    private func check(_ completion: Completion, _ channel: ChannelClient) {
        #expect(completion.result >= -4095)
        #expect(completion.replyByteCount <= 5000)
        let bytes = channel.reply(completion)
        var position = 0
        while DirectoryRecord.next(in: bytes, at: &position) != nil {}
        _ = NodeAttributes(decoding: bytes)
        channel.release(completion)
    }

    @Test(arguments: 1...4) func hostileClient(run: UInt64) throws {
        let seed = testSeed("hostileClient") &+ run
        let client = try HostileClient()
        let server = try ChannelServer(
            geometry: .small, request: client.requestDescriptor, reply: client.replyDescriptor, incarnation: 1)
        #expect(server.begin(epoch: 0))
        let dispatcher = Dispatcher(AnythingScheme())
        let thread = try spawnThread(name: "server") { ChannelWorker(server, dispatcher, worker: 0).run() }
        var generator = TestGenerator(seed: seed)
        for _ in 0..<200_000 { client.spoil(&generator) }
        server.stop()
        client.wakeServer()
        thread.join()
    }

    @Test func randomControlMessages() {
        var generator = TestGenerator(seed: testSeed("randomControlMessages"))
        let good = ControlMessage(
            .attach, id: 1, channel: 2, number: 3, geometry: .small, fields: [.init("key", "value"), .init("a", "")],
            descriptorNames: ["request", "reply"])
        guard let bytes = try? good.encoded() else {
            Issue.record("can't be encoded")
            return
        }
        let span = bytes.span
        #expect((try? ControlMessage(decoding: unsafe span.bytes)) == good)
        for _ in 0..<20_000 {
            var copy = bytes
            for _ in 0..<Int(generator.next() % 4) + 1 {
                copy[Int(generator.next() % UInt64(copy.count))] = UInt8(truncatingIfNeeded: generator.next())
            }
            let shortened = Array(copy.prefix(Int(generator.next() % UInt64(copy.count + 1))))
            let span = shortened.span
            _ = try? ControlMessage(decoding: unsafe span.bytes)
            let whole = copy.span
            _ = try? ControlMessage(decoding: unsafe whole.bytes)
        }
    }
}

/// Does something plausible for everything.
final class AnythingScheme: NodeScheme {
    func lookup(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) -> NodeAttributes {
        NodeAttributes(node: 2, mode: ModeBits.regular)
    }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        buffer.zeroAll()
        return buffer.byteCount
    }

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int { bytes.byteCount }

    func setExtendedAttribute(
        _ node: UInt64, _ name: RawSpan, _ value: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) {}

    func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing,
        _ context: inout CallContext
    ) throws(Errno) {
        let name: [UInt8] = [65, 66]
        let span = name.span
        while listing.append(unsafe span.bytes, node: 3, kind: 8, nextPosition: 1) {}
    }
}
