import Glibc
import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import Testing

/// The op log at work: a server with 64 registers, whose writes depend on their order, is killed again and again.
/// - Each acknowledged write counts exactly once, in the order of its number.
/// - A replay gives the acknowledged answers.
/// - Nothing hangs, no error comes.
/// - Control: without the log the test fails.
@Suite struct RecoveryTests {
    @Test(arguments: [true, false]) func registersSurviveKills(atChosenPoints: Bool) throws {
        let run = try RegisterRun(seed: testSeed("registersSurviveKills"), atChosenPoints: atChosenPoints)
        try run.work(writes: 3000, kills: atChosenPoints ? 0 : 30)
        #expect(try run.isRight())
        #expect(run.client.mismatches == 0)
        #expect(run.failures == 0)
        #expect(run.client.incarnation > 5)
        print(
            "incarnations \(run.client.incarnation), replayed \(run.client.replayed), "
                + "resubmitted \(run.client.resubmitted)")
    }

    @Test func withoutTheLogWritesAreLost() throws {
        // A kill may come when nothing is in the log; not every time.
        var seed = testSeed("withoutTheLogWritesAreLost")
        var areLost = false
        for _ in 0..<20 where !areLost {
            let run = try RegisterRun(seed: seed, atChosenPoints: false)
            run.client.forgetsTheLog = true
            try run.work(writes: 1000, kills: 10)
            areLost = try !run.isRight()
            seed &+= 1
        }
        #expect(areLost)
    }

    /// The client is killed at random moments, and goes on from its memory; at last the server too, and what the log gives must be
    /// what was there before.
    @Test(arguments: [false, true]) func clientsAreKilled(withServer: Bool) throws {
        var generator = TestGenerator(seed: testSeed("clientsAreKilled"))
        let checkpoint = SharedDescriptor(try SharedMemory.create(name: "checkpoint", byteCount: 2 * 528))
        let server = try RegisterRun.start(1, checkpoint, dieAt: 0)
        _ = try server.wait(for: .started)
        var memories: (request: SharedDescriptor, reply: SharedDescriptor)?
        for round in 0..<20 {
            let descriptors = memories.map { [("request", $0.request.rawValue), ("reply", $0.reply.rawValue)] } ?? []
            let client = try PeerProcess(
                arguments: ["client"], ControlMessage(.configure, number: generator.next()), descriptors: descriptors)
            let offer = try client.wait(for: .connect)
            let request = try #require(offer.descriptor("request"))
            let reply = try #require(offer.descriptor("reply"))
            if round == 0 {
                try server.attach(geometry: .small, request: request, reply: reply)
            } else {
                try server.control.send(
                    ControlMessage(.replaceRequestMemory, id: 5, channel: 1),
                    descriptors: [("request", request.rawValue)])
                _ = try server.wait(for: .done)
            }
            memories = (request, reply)
            SystemCall.sleep(nanoseconds: generator.next() % 20_000_000)
            if withServer, round == 19 { server.kill() }
            client.kill()
        }
        let last = try #require(memories)
        let channel = try ChannelClient(
            adopting: last.request, reply: last.reply, geometry: .small, name: "test")
        var before: [UInt64] = []
        if !withServer {
            try server.control.send(
                ControlMessage(.replaceRequestMemory, id: 6, channel: 1),
                descriptors: [("request", channel.requestDescriptor.rawValue)])
            _ = try server.wait(for: .done)
            while channel.fill.inFlight > 0 { channel.waitAndDrain(nanoseconds: 1_000_000) { channel.release($0) } }
            before = try RegisterRun.registers(channel)
        }
        server.kill()
        while channel.drain({ channel.release($0) }) > 0 {}
        let inFlight = channel.fill.inFlight
        let next = try RecoveringClient(channel, incarnation: 2) { number in
            try RegisterRun.start(number, checkpoint, dieAt: 0)
        } onCompletion: {
            channel.release($0)
        }
        while channel.fill.inFlight > 0 { try next.step() }
        #expect(next.mismatches == 0)
        if !withServer { #expect(try RegisterRun.registers(channel) == before) }
        print("replayed \(next.replayed), in flight \(inFlight)")
        next.peer.kill()
    }
}

/// A run of writes against the register server, with the model of what must come out.
final class RegisterRun {
    let checkpoint: SharedDescriptor
    let channel: ChannelClient
    private(set) var client: RecoveringClient
    private var generator: TestGenerator
    private let told: Told
    private let calm = Calm()
    var failures: Int { told.failures }

    /// Whether servers live on.
    final class Calm {
        var isCalm = false
    }

    /// What was acknowledged.
    final class Told {
        var pending: [UInt64: (register: UInt64, value: UInt64)] = [:]
        var writes: [UInt64: (register: UInt64, value: UInt64)] = [:]
        var failures = 0
        var done = 0
    }

    init(seed: UInt64, atChosenPoints: Bool) throws {
        var generator = TestGenerator(seed: seed)
        let checkpoint = SharedDescriptor(try SharedMemory.create(name: "checkpoint", byteCount: 2 * 528))
        let channel = try ChannelClient(.small, name: "test")
        let told = Told()
        var points = TestGenerator(seed: generator.next())
        let calm = calm
        client = try RecoveringClient(channel) { number in
            try Self.start(
                number, checkpoint, dieAt: atChosenPoints && !calm.isCalm ? Int(points.next() % 200) + 40 : 0)
        } onCompletion: { completion in
            if completion.opcode == .write {
                if completion.errno != nil || told.writes[completion.sequence] != nil { told.failures += 1 }
                told.writes[completion.sequence] = told.pending.removeValue(forKey: completion.cookie)
                told.done += 1
            } else if completion.errno != nil {
                told.failures += 1
            }
            channel.release(completion)
        }
        self.checkpoint = checkpoint
        self.channel = channel
        self.told = told
        self.generator = generator
    }

    static func start(_ number: UInt32, _ checkpoint: SharedDescriptor, dieAt: Int) throws -> PeerProcess {
        try PeerProcess(
            ControlMessage(
                .configure, number: UInt64(number), fields: [.init("mode", "registers"), .init("die-at", "\(dieAt)")]),
            descriptors: [("checkpoint", checkpoint.rawValue)])
    }

    func work(writes: Int, kills: Int) throws {
        var submitted = 0
        while told.done < writes {
            while submitted < writes, submitted - told.done < 32, let slot = channel.reserve(payloadBytes: 300) {
                let isLong = generator.next() % 4 == 0
                let count = isLong ? 300 : 16
                let value = fill(channel, slot, count)
                let register = generator.next() % 64
                submitted += 1
                told.pending[UInt64(submitted)] = (register, value)
                channel.submit(
                    slot, SubmissionEntry(.write, node: 1, offset: register), payload: 0..<count,
                    cookie: UInt64(submitted))
            }
            if channel.logPressure > 0.3 || generator.next() % 64 == 0, let slot = channel.reserve(important: true) {
                channel.submit(slot, SubmissionEntry(.commit))
            }
            if kills > 0, generator.next() % UInt64(max(writes / 32 / kills, 1)) == 0 {
                if generator.next() % 2 == 0 { SystemCall.sleep(nanoseconds: generator.next() % 300_000) }
                client.peer.kill()
            }
            try client.step()
        }
    }

    /// Fills the payload with noise; returns what the register server computes from it.
    private func fill(_ channel: ChannelClient, _ slot: RequestSlot, _ count: Int) -> UInt64 {
        var payload = channel.payload(slot)
        var value: UInt64 = 0
        for index in 0..<count {
            let byte = UInt8(truncatingIfNeeded: generator.next())
            payload.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
            value = value &* 257 &+ UInt64(byte)
        }
        return value
    }

    /// Whether the numbers of the acknowledged writes are 1, 2, 3..., and the registers what these writes make in this order.
    func isRight() throws -> Bool {
        var model = [UInt64](repeating: 0, count: 64)
        for sequence in told.writes.keys.sorted() {
            guard let write = told.writes[sequence] else { continue }
            let index = Int(write.register)
            model[index] = model[index] &* 6_364_136_223_846_793_005 &+ write.value
        }
        // One more death, then peace: the registers are read from what the log gives.
        calm.isCalm = true
        try client.recover()
        let isComplete = told.writes.keys.sorted() == Array(1...UInt64(max(told.writes.count, 1)))
        while channel.fill.inFlight > 0 { try client.step() }
        let found = try Self.registers(channel)
        client.peer.kill()
        return isComplete && found == model
    }

    static func registers(_ channel: ChannelClient) throws -> [UInt64] {
        try (0..<64).map { register in
            let read = try channel.callAndWait(SubmissionEntry(.read, node: 1, offset: UInt64(register), length: 8))
            defer { channel.release(read) }
            return channel.replyBytes(read).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }
}
