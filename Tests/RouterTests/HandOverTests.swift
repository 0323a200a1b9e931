import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
@testable import SchemeTransport
import SystemPackage
import Testing

@testable import Router

/// A new server is told of exactly the files that are open by the completions that were posted, whatever the threads have made of
/// them that asked.
@Suite struct HandOverTests {
    private let channel: ChannelClient

    init() throws { channel = try ChannelClient(.small, name: "test") }

    private func makeRoute(_ client: ChannelClient, isAdopted: Bool = false) -> SchemeRoute {
        SchemeRoute(
            index: 0, SchemeDescription(name: "file", channel: 1), client, isAdopted: isAdopted,
            willBlock: { _ in true }, onEvent: { _ in })
    }

    private func open(_ handle: UInt64, unique: UInt64 = 0) -> Call {
        Call(SubmissionEntry(.open, node: 5, handle: handle), unique: unique)
    }

    private func close(_ handle: UInt64, unique: UInt64 = 0) -> Call {
        Call(SubmissionEntry(.close, node: 5, handle: handle), unique: unique)
    }

    /// The handles that a new server is told of.
    private func handedOver(
        _ route: SchemeRoute, _ client: ChannelClient, incarnation: UInt32, recovered: UInt64? = nil
    ) throws -> [UInt64] {
        route.serverDied()
        let scheme = OpenScheme()
        let server = try ServerThread(client, scheme, incarnation: incarnation, epoch: incarnation)
        defer { server.stop() }
        let report = try #require(route.recover(incarnation: incarnation, recovered: recovered))
        #expect(report.handles == scheme.adopted.count)
        #expect(scheme.finishes == 1)
        return scheme.adopted
    }

    /// More files than there are records: they are handed over in turns. In what order the answers are waited for changes nothing.
    @Test(arguments: [nil, 0] as [UInt64?]) func allOpenFilesAreHandedOver(recovered: UInt64?) throws {
        let route = makeRoute(channel)
        let first = try ServerThread(channel, OpenScheme())
        var handles: [UInt64] = []
        for _ in 0..<1000 {
            let handle = try route.reserveHandle(node: 5, flags: 0)
            try route.perform(open(handle)) { _ in }
            handles.append(handle)
        }
        first.stop()
        #expect(try handedOver(route, channel, incarnation: 2, recovered: recovered) == handles)
        try {
            let server = try ServerThread(channel, OpenScheme(), incarnation: 3, epoch: 3)
            defer { server.stop() }
            route.serverDied()
            // It says that its state contains something else than it told the supervisor.
            #expect(route.recover(incarnation: 3, recovered: 7) == nil)
        }()
        #expect(try handedOver(route, channel, incarnation: 4, recovered: recovered) == handles)
    }

    @Test func whoeverWaitedMayBeLate() throws {
        let route = makeRoute(channel)
        let first = try ServerThread(channel, OpenScheme())
        let handle = try route.reserveHandle(node: 5, flags: 0)
        let gate = Gate()
        let opener = try spawnThread(name: "opener") {
            try? route.perform(open(handle)) { _ in gate.stop() }
        }
        gate.waitUntilStopped()
        first.stop()
        #expect(try handedOver(route, channel, incarnation: 2) == [handle])
        gate.open()
        opener.join()
    }

    @Test func closedFilesAreNotHandedOver() throws {
        let route = makeRoute(channel)
        let first = try ServerThread(channel, OpenScheme())
        let handle = try route.reserveHandle(node: 5, flags: 0)
        try route.perform(open(handle)) { _ in }
        let gate = Gate()
        let closer = try spawnThread(name: "closer") {
            try? route.perform(close(handle)) { _ in gate.stop() }
        }
        gate.waitUntilStopped()
        first.stop()
        #expect(try handedOver(route, channel, incarnation: 2) == [])
        gate.open()
        closer.join()
    }

    /// The router and the server die, and nobody has taken the completion.
    @Test func successorTakesWhatWasPosted() throws {
        let dead = makeRoute(channel)
        let first = try ServerThread(channel, OpenScheme())
        let handle = try dead.reserveHandle(node: 5, flags: 0)
        let slot = try #require(channel.reserve())
        channel.submit(slot, open(handle).entry, cookie: 77)
        while channel.server.waiting > 0 || !channel.server.marks.isEmpty { SystemCall.sleep(nanoseconds: 100_000) }
        first.stop()
        let next = try ChannelClient(
            adopting: channel.requestDescriptor, reply: channel.replyDescriptor, geometry: .small, name: "next")
        let route = makeRoute(next, isAdopted: true)
        route.holdBack()
        #expect(try handedOver(route, next, incarnation: 2) == [handle])
        // The kernel hands the request out again: it has its answer.
        var again = open(handle, unique: 77)
        again.isResent = true
        try route.perform(again) { answer in #expect(answer.entry.handle == handle) }
    }

    /// The record of a close outlives the use of its handle's place.
    @Test func completionSeenAgainChangesNothing() throws {
        let table = HandleTable(channel)
        let first = try #require(table.reserve(node: 5, flags: 0))
        table.didOpen(first, node: 5, generation: 1)
        table.free(first)
        let second = try #require(table.reserve(node: 6, flags: 0))
        #expect(second & 0xffff_ffff == first & 0xffff_ffff && second != first)
        table.didOpen(second, node: 6, generation: 2)
        table.free(first)
        table.didClose(first, sequence: 9)
        table.didOpen(first, node: 5, generation: 1)
        #expect(table.records().map(\.handle) == [second])
        #expect(table.records().first?.closedBy == 0)
        table.didClose(second, sequence: 10)
        table.didOpen(second, node: 6, generation: 2)
        #expect(HandleTable(channel).records().map(\.closedBy) == [10])
        table.collect(committed: 10)
        #expect(table.records().isEmpty)
    }

    /// The last thing that the dead client did was to record a completion; it had no time to pass over it in the ring.
    @Test func recordedCompletionIsNoViolation() throws {
        let first = try ServerThread(channel, OpenScheme())
        defer { first.stop() }
        let head = channel.request.load32(ChannelLayout.completionHeadOffset)
        let slot = try #require(channel.reserve())
        channel.submit(slot, open(9).entry, cookie: 77)
        var isDone = false
        while !isDone { channel.waitAndDrain(nanoseconds: 1_000_000) { _ in isDone = true } }
        channel.request.store32(ChannelLayout.completionHeadOffset, head)
        let next = try ChannelClient(
            adopting: channel.requestDescriptor, reply: channel.replyDescriptor, geometry: .small, name: "next")
        #expect(next.drain { _ in Issue.record("a completion twice") } == 0)
        #expect(next.violations.total == 0)
    }
}

/// Stops a thread until it is let through.
private final class Gate: Sendable {
    private let state = Locked((isStopped: false, isOpen: false))
    private let changed = ConditionVariable()

    func stop() {
        state.withLock { $0.isStopped = true }
        changed.broadcast()
        state.wait(on: changed) { state -> Void? in state.isOpen ? () : nil }
    }

    func waitUntilStopped() { state.wait(on: changed) { state -> Void? in state.isStopped ? () : nil } }

    func open() {
        state.withLock { $0.isOpen = true }
        changed.broadcast()
    }
}

/// Opens whatever it is asked to, and remembers what was handed over.
private final class OpenScheme: NodeScheme {
    private let handles = Locked<[UInt64]>([])
    private let finishCount = Locked(0)
    var adopted: [UInt64] { handles.withLock { $0 } }
    /// How often it heard that everything was repeated.
    var finishes: Int { finishCount.withLock { $0 } }

    func replayFinished(_ context: inout CallContext) throws(Errno) { finishCount.withLock { $0 += 1 } }

    func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {}

    func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {}

    func adopt(
        _ node: UInt64, generation: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) { handles.withLock { $0.append(handle) } }
}
