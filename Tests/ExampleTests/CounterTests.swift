import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import TestSupport
import Testing

/// The same scheme in three languages behaves the same, and none trusts its client.
@Suite struct CounterTests {
    private static let count: UInt64 = 2
    private static let ticks: UInt64 = 3

    private func attach(_ peer: PeerProcess, _ channel: ChannelClient, epoch: UInt32 = 0) throws {
        try peer.attach(
            geometry: .small, request: channel.requestDescriptor, reply: channel.replyDescriptor, epoch: epoch)
    }

    private func tick(_ client: Caller) throws {
        #expect(try client.call(SubmissionEntry(.write, node: Self.count, handle: 1), payload: "x").result == 1)
    }

    private func number(_ client: Caller) throws -> String {
        try client.call(SubmissionEntry(.read, node: Self.count, handle: 1, length: 32)).text
    }

    private func open(_ client: Caller) throws {
        for (node, handle) in [(Self.count, UInt64(1)), (Self.ticks, 2)] {
            let opened = try client.call(
                SubmissionEntry(.open, node: node, handle: handle), RequestArguments(flags: OpenFlags.readWrite))
            #expect(opened.result == 0)
            #expect(opened.value0 & OpenedFlags.directIO.rawValue != 0)
        }
    }

    private func submitRead(_ client: Caller, tick: UInt64) throws -> RequestSlot {
        try client.submit(SubmissionEntry(.read, node: Self.ticks, handle: 2, offset: tick * 16, length: 16))
    }

    @Test(arguments: ExampleScheme.runnable)
    func namesAttributesAndContents(_ example: ExampleScheme) throws {
        let folder = try TemporaryDirectory()
        let (peer, _) = try example.start(folder)
        let channel = try ChannelClient(.small, name: "example")
        try attach(peer, channel)
        let hello = try channel.callAndWait(SubmissionEntry(.hello))
        #expect(hello.result == 1)
        channel.release(hello)
        let files: [(String, UInt64, UInt32)] = [("count", Self.count, 0o644), ("ticks", Self.ticks, 0o444)]
        for (name, node, mode) in files {
            let found = try channel.callAndWait(SubmissionEntry(.lookup, node: 1), payload: Array(name.utf8))
            let bytes = channel.replyBytes(found)
            let attributes = try #require(unsafe NodeAttributes(decoding: bytes.span.bytes))
            #expect(found.result == 0)
            #expect(attributes.node == node)
            #expect(attributes.mode == ModeBits.regular | mode)
            channel.release(found)
        }
        let wrong: [(UInt64, String)] = [
            (1, "other"), (1, "coun"), (1, String(repeating: "x", count: 300)), (2, "count"),
        ]
        for (node, name) in wrong {
            let missing = try channel.callAndWait(SubmissionEntry(.lookup, node: node), payload: Array(name.utf8))
            #expect(missing.result < 0)
            channel.release(missing)
        }
        for length in [UInt32(48), 192, 4096] {
            for flags in [UInt32(0), 1] {
                let listing = try channel.callAndWait(
                    SubmissionEntry(.readdir, node: 1, handle: 9, length: length), RequestArguments(flags: flags))
                let bytes = channel.replyBytes(listing)
                #expect(Int(listing.result) == bytes.count)
                var names: [String] = []
                var position = 0
                while let entry = unsafe DirectoryRecord.next(in: bytes.span.bytes, at: &position) {
                    names.append(String(decoding: bytes[entry.name], as: UTF8.self))
                    #expect((entry.record.attributes != nil) == (flags == 1))
                }
                #expect(position == bytes.count)
                #expect(names == Array(["count", "ticks"].prefix(names.count)))
                if length == 4096 { #expect(names.count == 2) }
                channel.release(listing)
            }
        }
        let client = Caller(channel)
        try open(client)
        #expect(try number(client) == "0\n")
        for _ in 0..<12 { try tick(client) }
        #expect(try number(client) == "12\n")
        let lines = try client.call(
            SubmissionEntry(.read, node: Self.ticks, handle: 2, offset: 14, length: 4096)
        ).text.split(separator: "\n").map { $0.filter { $0 != " " } }
        #expect(lines == (1...12).map { "\($0)" })
        #expect(try client.call(SubmissionEntry(.mkdir, node: 1), payload: "new").result < 0)
    }

    @Test(arguments: ExampleScheme.runnable)
    func readWaitsForTheNextTick(_ example: ExampleScheme) throws {
        let folder = try TemporaryDirectory()
        let (peer, _) = try example.start(folder)
        let channel = try ChannelClient(.small, name: "example")
        try attach(peer, channel)
        let client = Caller(channel)
        try open(client)
        let first = try submitRead(client, tick: 0)
        let second = try submitRead(client, tick: 1)
        let cancelled = try submitRead(client, tick: 0)
        // Nothing is answered meanwhile: this call comes after them.
        #expect(try number(client) == "0\n")
        #expect(channel.fill.inFlight == 3)
        let answer = try client.call(
            SubmissionEntry(.cancel),
            RequestArguments(word0: UInt64(cancelled.tag), word1: UInt64(cancelled.generation)))
        #expect(answer.result == 1)
        #expect(client.wait(for: cancelled.tag).result == -Int64(Errno.interrupted.rawValue))
        try tick(client)
        #expect(client.wait(for: first.tag).text == "              1\n")
        try tick(client)
        #expect(client.wait(for: second.tag).text == "              2\n")
        // Who doesn't want to wait is told.
        let refused = try client.call(
            SubmissionEntry(.read, node: Self.ticks, handle: 2, offset: 160, length: 16),
            RequestArguments(flags: OpenFlags.nonBlocking))
        #expect(refused.result == -Int64(Errno.resourceTemporarilyUnavailable.rawValue))
    }

    @Test(arguments: ExampleScheme.runnable)
    func countAndWaitingReadsSurviveTheProcess(_ example: ExampleScheme) throws {
        let folder = try TemporaryDirectory()
        var state: SharedDescriptor?
        let channel = try ChannelClient(.small, name: "example")
        let client = Caller(channel)
        var ticks = 0
        for incarnation in UInt32(1)...5 {
            let (peer, kept) = try example.start(folder, incarnation: incarnation, state: state)
            state = kept
            try attach(peer, channel, epoch: incarnation)
            channel.startEpoch(incarnation)
            for (node, handle) in [(Self.count, UInt64(1)), (Self.ticks, 2)] {
                let adopted = try client.call(
                    SubmissionEntry(.adoptHandle, node: node, handle: handle),
                    RequestArguments(flags: OpenFlags.readWrite), inRecovery: true)
                #expect(adopted.result == 0)
            }
            let waiting = channel.requestsInFlight()
            for record in waiting { channel.resubmit(record) }
            channel.resume()
            #expect(try number(client) == "\(ticks)\n")
            #expect(waiting.count == (incarnation == 1 ? 0 : 1))
            try tick(client)
            ticks += 1
            for record in waiting {
                #expect(client.wait(for: record.tag).text.filter { $0 != " " } == "\(ticks)\n")
            }
            _ = try submitRead(client, tick: UInt64(ticks))
            #expect(try number(client) == "\(ticks)\n")
            channel.holdBack()
            peer.kill()
            client.take()
        }
    }

    @Test(arguments: ExampleScheme.runnable)
    func hostileClientHarmsNobodyElse(_ example: ExampleScheme) throws {
        let seed = testSeed("hostileClient")
        let folder = try TemporaryDirectory()
        let (peer, _) = try example.start(folder)
        let honest = try ChannelClient(.small, name: "honest")
        try attach(peer, honest)
        let client = Caller(honest)
        try open(client)
        let hostile = try HostileClient()
        try peer.attach(
            2, geometry: .small, request: hostile.requestDescriptor, reply: hostile.replyDescriptor)
        var generator = TestGenerator(seed: seed)
        for round in 0..<40 {
            for _ in 0..<2000 { hostile.spoil(&generator) }
            #expect(try client.call(SubmissionEntry(.getattr, node: UInt64(round % 3 + 1))).result == 0)
        }
        #expect(!peer.hasEnded)
        // Nothing of the noise is left when its channel has gone.
        try peer.control.send(ControlMessage(.detach, id: 5, channel: 2))
        hostile.wakeServer()
        _ = try peer.wait(for: .done)
        let before = try number(client)
        try tick(client)
        #expect(try number(client) == "\((Int(before.dropLast()) ?? -2) + 1)\n")
    }

    /// Descriptors that could be cut off under the server, or be no memory at all, or nothing that a client has made, are
    /// refused.
    @Test(arguments: ExampleScheme.runnable)
    func unsealedMemoryIsRefused(_ example: ExampleScheme) throws {
        let folder = try TemporaryDirectory()
        let (peer, _) = try example.start(folder)
        let channel = try ChannelClient(.small, name: "example")
        let null = SharedDescriptor(try SystemCall.open("/dev/null", 2))
        // Sealed as it must be, but nothing is in it.
        let empty = SharedDescriptor(
            try SharedMemory.create(name: "empty", byteCount: ChannelLayout(.small).requestMemoryBytes))
        try SharedMemory.addSeals(empty.rawValue, [.futureWrite, .seal])
        for (request, reply) in [
            (channel.replyDescriptor, channel.replyDescriptor), (null, channel.replyDescriptor),
            (channel.requestDescriptor, null), (empty, channel.replyDescriptor),
        ] {
            #expect(throws: PeerError.self) {
                try peer.attach(geometry: .small, request: request, reply: reply)
            }
        }
        let large = ChannelGeometry(
            recordCount: 512, payloadBytes: 4 << 20, replyBytes: 4 << 20, clientAreaBytes: 1 << 20, eventCount: 256)
        #expect(throws: PeerError.self) {
            try peer.attach(
                geometry: try #require(large), request: channel.requestDescriptor, reply: channel.replyDescriptor)
        }
        try attach(peer, channel)
        let hello = try channel.callAndWait(SubmissionEntry(.hello))
        #expect(hello.result == 1)
        channel.release(hello)
    }
}
