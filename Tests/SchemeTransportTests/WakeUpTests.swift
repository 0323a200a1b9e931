import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import Synchronization
import Testing

/// The doorbell: with both sides falling asleep and waking up at random moments no wake-up is lost (the test ends) and a side
/// that is awake isn't rung (rings stay below requests).
@Suite struct WakeUpTests {
    @Test func randomPausesNeverLoseAWakeUp() throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, OffsetScheme(), workers: 2)
        defer { server.stop() }
        try torture(channel, rounds: 20_000, seed: testSeed("randomPausesNeverLoseAWakeUp"))
        #expect(channel.fill.rings <= 20_000)
    }

    /// A server that is about to sleep when it is woken for what it has taken already is woken by the next request all the same.
    @Test func aWakeUpForNothingTakesNoOther() throws {
        let channel = try ChannelClient(.small, name: "test")
        let memory = try SharedMapping(
            channel.replyDescriptor.rawValue, byteCount: channel.layout.replyMemoryBytes, writable: true)
        let first = try #require(channel.reserve())
        #expect(channel.submit(first, SubmissionEntry(.ping), quietly: true))
        #expect(channel.fill.rings == 0)
        memory.store32(ChannelLayout.serverStateOffset, 5 << 2 | SleepState.onFutex.rawValue)
        channel.wakeServer()
        let before = channel.fill.rings
        let second = try #require(channel.reserve())
        channel.submit(second, SubmissionEntry(.ping))
        #expect(channel.fill.rings == before + 1)
    }

    /// A client that was slow between its entry and its ring may ring a server that has taken the entry and is about to sleep. That wakes
    /// nobody, and must not keep the next entry from ringing: the server would sleep for ever.
    @Test func aRingThatWokeNobodyTakesNoOther() throws {
        let channel = try ChannelClient(.small, name: "test")
        let memory = try SharedMapping(
            channel.replyDescriptor.rawValue, byteCount: channel.layout.replyMemoryBytes, writable: true)
        memory.store32(ChannelLayout.serverStateOffset, 5 << 2 | SleepState.onFutex.rawValue)
        let before = channel.fill.rings
        for _ in 0..<2 {
            let slot = try #require(channel.reserve())
            channel.submit(slot, SubmissionEntry(.ping))
        }
        #expect(channel.fill.rings == before + 2)
    }

    /// Who sleeps again as soon as he is woken is woken once, and once more if he was about to sleep. (A call that wakes him as long as it
    /// sees him asleep need never return.)
    @Test func aSleeperIsWokenOnce() throws {
        let channel = try ChannelClient(.small, name: "test")
        let awakenings = Atomic<Int>(0)
        let isOver = Atomic(false)
        let sleeper = try spawnThread(name: "sleeper") {
            while !isOver.load(ordering: .sequentiallyConsistent) {
                channel.waitAndDrain { _ in }
                awakenings.add(1, ordering: .sequentiallyConsistent)
            }
        }
        let calls = 300
        for _ in 0..<calls { channel.wakeDrainer() }
        #expect(awakenings.load(ordering: .sequentiallyConsistent) <= 3 * calls)
        isOver.store(true, ordering: .sequentiallyConsistent)
        channel.wakeDrainer()
        sleeper.join()
    }

    @Test func aServerIsWokenForWhatWasSubmittedQuietly() throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, OffsetScheme())
        defer { server.stop() }
        for _ in 0..<200 {
            let slot = try #require(channel.reserve())
            #expect(channel.submit(slot, SubmissionEntry(.ping), quietly: true))
            channel.wakeServer()
            var isDone = false
            while !isDone {
                channel.waitAndDrain {
                    channel.release($0)
                    isDone = true
                }
            }
        }
    }

    /// What the trace and the latencies say of it isn't how long nobody looked.
    @Test func nobodyWaitsForWhatWasSubmittedQuietly() throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, OffsetScheme())
        defer { server.stop() }
        let slot = try #require(channel.reserve())
        #expect(channel.submit(slot, SubmissionEntry(.ping), quietly: true))
        channel.wakeServer()
        SystemCall.sleep(nanoseconds: 20_000_000)
        var isDone = false
        while !isDone {
            channel.waitAndDrain {
                #expect($0.nanoseconds <= $0.serverNanoseconds)
                channel.release($0)
                isDone = true
            }
        }
    }

    @Test func whatIsHeldBackIsNotSubmittedQuietly() throws {
        let channel = try ChannelClient(.small, name: "test")
        channel.holdBack()
        let slot = try #require(channel.reserve())
        #expect(!channel.submit(slot, SubmissionEntry(.ping), quietly: true))
        #expect(channel.fill.inFlight == 0)
        #expect(channel.submit(slot, SubmissionEntry(.ping)))
        #expect(channel.fill.inFlight == 1)
    }

    @Test func acrossProcesses() throws {
        let channel = try ChannelClient(.small, name: "test")
        let peer = try PeerProcess(ControlMessage(.configure, number: 1, fields: [.init("mode", "echo")]))
        _ = try peer.wait(for: .started)
        try peer.attach(geometry: .small, request: channel.requestDescriptor, reply: channel.replyDescriptor)
        try torture(channel, rounds: 20_000, seed: testSeed("acrossProcesses"))
        peer.kill()
    }

    @Test func eventDescriptorsWakeToo() throws {
        let channel = try ChannelClient(.small, name: "test", bells: true)
        let server = try ChannelServer(
            geometry: .small, request: channel.requestDescriptor, reply: channel.replyDescriptor, incarnation: 1,
            serverBell: channel.serverBell, clientBell: channel.clientBell)
        #expect(server.begin(epoch: 0))
        let rounds = 5000
        let thread = try spawnThread(name: "poller") {
            var done = 0
            while done < rounds {
                if let request = server.takeIfAvailable() {
                    server.complete(request, result: 0)
                    done += 1
                } else if server.prepareToPoll() {
                    var entries = [pollEntry(server.serverBell)]
                    _ = try? SystemCall.poll(&entries, milliseconds: -1)
                    server.endPoll()
                }
            }
        }
        var generator = TestGenerator(seed: testSeed("eventDescriptorsWakeToo"))
        var done = 0
        for _ in 0..<rounds {
            if generator.next() % 8 == 0 { SystemCall.sleep(nanoseconds: generator.next() % 50_000) }
            let slot = try #require(channel.reserve())
            channel.submit(slot, SubmissionEntry(.ping))
            var isDone = false
            while !isDone {
                let count = channel.drain {
                    channel.release($0)
                    isDone = true
                }
                done += count
                if count == 0, channel.prepareToPoll() {
                    var entries = [pollEntry(channel.clientBell)]
                    _ = try SystemCall.poll(&entries, milliseconds: -1)
                    channel.endPoll()
                }
            }
        }
        thread.join()
        #expect(done == rounds)
    }

    private func torture(_ channel: ChannelClient, rounds: Int, seed: UInt64) throws {
        var generator = TestGenerator(seed: seed)
        var inFlight = 0
        var submitted = 0
        var done = 0
        while done < rounds {
            let burst = Int(generator.next() % 4) + 1
            for _ in 0..<burst where submitted < rounds {
                guard let slot = channel.reserve() else { break }
                channel.submit(slot, SubmissionEntry(.getattr, node: 1))
                submitted += 1
                inFlight += 1
            }
            if generator.next() % 16 == 0 { SystemCall.sleep(nanoseconds: generator.next() % 100_000) }
            let leave = Int(generator.next() % 3)
            while inFlight > leave {
                let count = channel.waitAndDrain { channel.release($0) }
                inFlight -= count
                done += count
            }
            if submitted == rounds {
                while inFlight > 0 {
                    let count = channel.waitAndDrain { channel.release($0) }
                    inFlight -= count
                    done += count
                }
            }
        }
    }
}
