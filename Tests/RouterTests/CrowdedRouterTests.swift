import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import Testing

@testable import Router

/// What waits when there can't be another thread, and what a dead router's callers gave up.
@Suite struct CrowdedRouterTests {
    private func makeRoute(_ client: ChannelClient, isAdopted: Bool = false, mayWait: Bool) -> SchemeRoute {
        SchemeRoute(
            index: 0, SchemeDescription(name: "pipe", channel: 1, hasEvents: true), client, isAdopted: isAdopted,
            willBlock: { _ in mayWait }, onEvent: { _ in })
    }

    private func read(unique: UInt64) -> Call {
        Call(SubmissionEntry(.read, node: 5, handle: 1, length: 10), unique: unique)
    }

    /// The thread that reads requests must not wait for ever: who would hear that the caller gives up?
    @Test func theLastThreadDoesNotWait() throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, SilentScheme())
        defer { server.stop() }
        let route = makeRoute(channel, mayWait: false)
        defer { route.end() }
        #expect(throws: Errno.resourceTemporarilyUnavailable) { try route.perform(read(unique: 8)) { _ in } }
        // What doesn't wait for anybody is done.
        try route.perform(Call(SubmissionEntry(.statfs, node: 1), unique: 10)) { _ in }
    }

    /// A server that has a read which waits, and the client of the next router.
    private func readThatWaits() throws -> (ServerThread, ChannelClient) {
        let channel = try ChannelClient(.small, name: "test")
        let scheme = SilentScheme()
        let server = try ServerThread(channel, scheme)
        let slot = try #require(channel.reserve(replyBytes: 10, important: true))
        channel.submit(slot, read(unique: 8).entry, cookie: 8)
        while scheme.reads == 0 { SystemCall.sleep(nanoseconds: 100_000) }
        let next = try ChannelClient(
            adopting: channel.requestDescriptor, reply: channel.replyDescriptor, geometry: .small, name: "next")
        try server.server.replaceRequestMemory(next.requestDescriptor)
        return (server, next)
    }

    /// A call that waits since before the router died is ended when its caller gets a signal.
    @Test func aCallOfADeadRouterCanBeInterrupted() throws {
        let (server, next) = try readThatWaits()
        defer { server.stop() }
        let route = makeRoute(next, isAdopted: true, mayWait: true)
        defer { route.end() }
        let result = Locked<Errno?>(nil)
        let caller = try spawnThread(name: "caller") {
            var again = read(unique: 8)
            again.isResent = true
            do throws(Errno) {
                try route.perform(again) { _ in }
            } catch {
                result.withLock { $0 = error }
            }
        }
        while !route.interrupt(8) { SystemCall.sleep(nanoseconds: 100_000) }
        caller.join()
        #expect(result.withLock { $0 } == .interrupted)
    }

    /// One that nobody asks for again is ended by itself: it would take what is meant for others.
    @Test func aCallThatNobodyAsksForIsEnded() throws {
        let (server, next) = try readThatWaits()
        defer { server.stop() }
        let orphans = Orphans(next, isAdopted: true, [], patience: 0)
        #expect(orphans.contains(8))
        orphans.expire()
        #expect(!orphans.contains(8))
        while next.fill.inFlight > 0 { next.waitAndDrain(nanoseconds: 1_000_000) { next.release($0) } }
    }
}

/// Has nothing to read.
private final class SilentScheme: NodeScheme {
    private let count = Locked(0)
    /// Reads that wait.
    var reads: Int { count.withLock { $0 } }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        count.withLock { $0 += 1 }
        throw .wouldBlock
    }
}
