import Glibc
import Platform
import SchemeKit
import SchemeProtocol
import SchemeTestSupport
import SchemeTransport
import SystemPackage
import Testing

/// The log in the request memory: a change stays, with its payload, until it is committed, and is found again from the memory
/// alone, in order.
@Suite struct LogTests {
    @Test func changesStayUntilCommitted() throws {
        let channel = try ChannelClient(.small, name: "test")
        let scheme = CountingScheme()
        let server = try ServerThread(channel, scheme)
        defer { server.stop() }
        for index in 0..<20 {
            let bytes = [UInt8](repeating: UInt8(index), count: index % 2 == 0 ? 100 : 9000)
            let done = try channel.callAndWait(SubmissionEntry(.write, node: 1, offset: UInt64(index)), payload: bytes)
            #expect(done.sequence == UInt64(index + 1))
            channel.release(done)
        }
        #expect(channel.fill.retained == 20)
        #expect(channel.log(after: 0).map(\.sequence) == Array(1...20))
        #expect(channel.log(after: 15).map(\.entry.offset) == [15, 16, 17, 18, 19])
        server.server.reportCommitted(12)
        // Seen at the next use.
        let ping = try channel.callAndWait(SubmissionEntry(.ping))
        channel.release(ping)
        #expect(channel.fill.retained == 8)
        let pressure = channel.logPressure
        #expect(pressure > 0)
        let commit = try channel.callAndWait(SubmissionEntry(.commit))
        #expect(commit.value0 == 20)
        channel.release(commit)
        #expect(channel.fill.retained == 0 && channel.fill.payloadPages == 0)
    }

    @Test func theLogIsBounded() throws {
        let channel = try ChannelClient(.small, name: "test")
        let server = try ServerThread(channel, CountingScheme())
        defer { server.stop() }
        var accepted = 0
        while let slot = channel.reserve(payloadBytes: 100_000) {
            channel.submit(slot, SubmissionEntry(.write, node: 1), payload: 0..<100_000)
            accepted += 1
            channel.waitAndDrain { channel.release($0) }
        }
        #expect(accepted == 4 << 20 / (25 * 4096))
        // There is always room for what makes room.
        let commit = try channel.callAndWait(SubmissionEntry(.commit))
        channel.release(commit)
        #expect(channel.reserve(payloadBytes: 100_000) != nil)
    }

    @Test func aSuccessorFindsEverythingInTheMemory() throws {
        let first = try ChannelClient(.small, name: "test")
        let server = try ServerThread(first, CountingScheme())
        for index in 0..<10 {
            let bytes = [UInt8](repeating: UInt8(index), count: index % 2 == 0 ? 100 : 9000)
            first.release(
                try first.callAndWait(SubmissionEntry(.write, node: 1, offset: UInt64(index)), payload: bytes))
        }
        let told = try first.callAndWait(SubmissionEntry(.read, node: 1, length: 4000))
        var area = first.clientArea(40_000, count: 8)
        area.storeBytes(of: 0x1234, as: UInt64.self)
        let reserved = try #require(first.reserve(payloadBytes: 5000))
        _ = reserved
        server.stop()
        let unanswered = try #require(first.reserve(payloadBytes: 6000))
        var payload = first.payload(unanswered)
        for offset in 0..<6000 { payload.storeBytes(of: UInt8(offset % 251), toByteOffset: offset, as: UInt8.self) }
        first.submit(
            unanswered, SubmissionEntry(.write, node: 1, offset: 77), payload: 0..<6000, cookie: 99,
            notes: (1, 2, 3, 4, 5))

        let second = try ChannelClient(
            adopting: first.requestDescriptor, reply: first.replyDescriptor, geometry: .small, name: "next")
        #expect(second.log(after: 0).map(\.sequence) == Array(1...10))
        for record in second.log(after: 0) {
            let bytes = second.payload(of: record)
            let expected = UInt8(record.entry.offset)
            #expect(bytes.byteCount == (record.entry.offset % 2 == 0 ? 100 : 9000))
            for offset in 0..<bytes.byteCount {
                let byte = unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
                guard byte != expected else { continue }
                Issue.record("payload of \(record.sequence) at \(offset)")
                break
            }
        }
        var byCookie: [UInt64: RequestRecord] = [:]
        second.records { byCookie[$0.cookie] = $0 }
        let found = try #require(byCookie[99])
        #expect(found.state == .submitted && found.notes == (1, 2, 3, 4, 5) && found.wasPublished)
        let completed = try #require(second.record(tag: told.tag))
        #expect(completed.state == .completed && completed.result == 4000)
        #expect(second.reply(of: completed).byteCount == 4000)
        let kept = second.clientArea(40_000, count: 8)
        #expect(unsafe kept.unsafeLoad(as: UInt64.self) == 0x1234)
        second.release(tag: told.tag)
        #expect(second.fill.retained == 10 && second.fill.inFlight == 1 && second.fill.replyPages == 0)
        // The next server takes what was not answered.
        let scheme = CountingScheme(from: 10)
        let next = try ServerThread(second, scheme, incarnation: 1)
        defer { next.stop() }
        while second.fill.inFlight > 0 { second.waitAndDrain(nanoseconds: 1_000_000) { second.release($0) } }
        // It says that its state holds the first ten.
        #expect(second.fill.retained == 1)
        // Nobody writes the new memory either.
        #expect(throws: Errno.notPermitted) {
            _ = try SharedMapping(
                second.requestDescriptor.rawValue, byteCount: second.layout.requestMemoryBytes, writable: true)
        }
    }

    /// The memory of a file system's channel has room for much more than is in use, and every page that is looked at is one that
    /// the kernel has to make.
    @Test func aSuccessorTakesMemoryForWhatIsThereAlone() throws {
        let first = try ChannelClient(.standard, name: "test")
        let server = try ServerThread(first, CountingScheme())
        defer { server.stop() }
        for _ in 0..<10 {
            first.release(
                try first.callAndWait(
                    SubmissionEntry(.write, node: 1), payload: [UInt8](repeating: 7, count: 100_000)))
        }
        let second = try ChannelClient(
            adopting: first.requestDescriptor, reply: first.replyDescriptor, geometry: .standard, name: "next")
        #expect(second.log(after: 0).count == 10)
        #expect(
            second.log(after: 0).allSatisfy { record in
                let bytes = second.payload(of: record)
                return bytes.byteCount == 100_000
                    && (0..<100_000).allSatisfy {
                        unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == 7
                    }
            })
        var occupied = 0
        var position = 0
        while let range = try SharedMemory.nextTouchedRange(second.requestDescriptor.rawValue, from: position) {
            occupied += range.count
            position = range.upperBound
        }
        // The log's ten payloads, and less than a tenth of the pages of the records.
        #expect(occupied >= 10 * 100_000)
        #expect(occupied < 10 * 102_400 + 8192 * 512 / 10)
        // The rest is there when it is needed.
        var slots: [RequestSlot] = []
        while let slot = second.reserve(important: true) { slots.append(slot) }
        #expect(slots.count == 8192 - 10)
        #expect(Set(slots.map(\.tag)).count == slots.count)
    }

    @Test func aLivingServerGoesOnWithTheNewMemory() throws {
        let first = try ChannelClient(.small, name: "test")
        let server = try ServerThread(first, CountingScheme(), workers: 2)
        defer { server.stop() }
        first.release(try first.callAndWait(SubmissionEntry(.write, node: 1), payload: [1]))
        var current = first
        for round in 0..<50 {
            let next = try ChannelClient(
                adopting: current.requestDescriptor, reply: current.replyDescriptor, geometry: .small, name: "next")
            let replacer = try spawnThread(name: "replace") {
                try? server.server.replaceRequestMemory(next.requestDescriptor)
            }
            // Submitted before or after the server has looked at the new memory.
            let done = try next.callAndWait(SubmissionEntry(.write, node: 1), payload: [2])
            #expect(done.sequence == UInt64(round + 2))
            next.release(done)
            replacer.join()
            current = next
        }
        #expect(current.log(after: 0).map(\.sequence) == Array(1...51))
    }
}

/// Completions of changes in the order of their numbers.
@Suite struct OrderTests {
    /// However long the thread with the lower number isn't let run: the others are asleep when it comes.
    @Test func nothingIsToldBeforeWhatItMayDependOn() throws {
        let order = SequenceOrder(after: 0)
        let told = Locked<[UInt64]>([])
        let numbers = Locked<[String]>([])
        let second = try spawnThread(name: "second") {
            numbers.withLock { $0.append(threadNumber()) }
            order.post(2) { told.withLock { $0.append(2) } }
        }
        let commit = try spawnThread(name: "commit") {
            numbers.withLock { $0.append(threadNumber()) }
            order.wait(for: 2)
            told.withLock { $0.append(0) }
        }
        while numbers.withLock({ $0.count }) < 2 { sched_yield() }
        for number in numbers.withLock({ $0 }) { while !(try isAsleep(number)) { sched_yield() } }
        #expect(told.withLock { $0 } == [])
        order.post(1) { told.withLock { $0.append(1) } }
        second.join()
        commit.join()
        #expect(told.withLock { $0 } == [1, 2, 0])
    }

    /// The thread's number in /proc.
    private func threadNumber() -> String {
        let path = (try? SystemCall.readLinkAt(AT_FDCWD, Array("/proc/thread-self".utf8))) ?? []
        return String(decoding: path, as: UTF8.self).split(separator: "/").last.map(String.init) ?? ""
    }

    /// Whether a thread of this process waits for something.
    private func isAsleep(_ number: String) throws -> Bool {
        let file = try SystemCall.open("/proc/self/task/\(number)/stat", O_RDONLY)
        let text = String(decoding: try SystemCall.readToEnd(file.rawValue, limit: 4096), as: UTF8.self)
        // The state comes behind the name, which is in parentheses.
        return text.split(separator: ")").last?.split(separator: " ").first == "S"
    }
}

/// Numbers every write.
final class CountingScheme: NodeScheme {
    private let sequence: Locked<UInt64>
    let recoveredSequence: UInt64

    init(from sequence: UInt64 = 0) {
        self.sequence = Locked(sequence)
        recoveredSequence = sequence
    }

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        context.sequence = sequence.withLock { sequence in
            sequence += 1
            return sequence
        }
        return bytes.byteCount
    }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int { buffer.byteCount }

    func commit(_ context: inout CallContext) throws(Errno) -> UInt64 { sequence.withLock { $0 } }
}
