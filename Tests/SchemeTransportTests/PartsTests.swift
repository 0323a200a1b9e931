import SchemeProtocol
import SchemeTestSupport
import Testing

@testable import SchemeTransport

/// The parts of the transport alone: bitmap, checks, wire forms.
@Suite struct PartsTests {
    @Test(arguments: [1, 63, 64, 65, 1000, 16384]) func pagesAreNeverGivenTwice(pageCount: Int) {
        var generator = TestGenerator(seed: testSeed("pagesAreNeverGivenTwice"))
        var allocator = PageAllocator(byteCount: pageCount * 4096)
        var taken: [(first: Int, count: Int)] = []
        var owner = [Bool](repeating: false, count: pageCount)
        var used = 0
        for _ in 0..<5000 {
            if generator.next() % 5 < 3 {
                let count = Int(generator.next() % 5 == 0 ? generator.next() % 300 : generator.next() % 4) + 1
                guard let first = allocator.take(count) else {
                    // Only if there is no such run.
                    var run = 0
                    var longest = 0
                    for page in owner {
                        run = page ? 0 : run + 1
                        longest = max(longest, run)
                    }
                    #expect(longest < count)
                    continue
                }
                guard first >= 0, first + count <= pageCount, !owner[first..<(first + count)].contains(true) else {
                    Issue.record("\(count) pages at \(first)")
                    return
                }
                for page in first..<(first + count) { owner[page] = true }
                taken.append((first, count))
                used += count
            } else if !taken.isEmpty {
                let (first, count) = taken.remove(at: Int(generator.next() % UInt64(taken.count)))
                allocator.give(first, count)
                for page in first..<(first + count) { owner[page] = false }
                used -= count
            }
            #expect(allocator.takenCount == used)
        }
    }

    @Test func untrustedRanges() {
        #expect(Untrusted(UInt32(10)).range(length: Untrusted(UInt32(5)), within: 15) == 10..<15)
        #expect(Untrusted(UInt32(10)).range(length: Untrusted(UInt32(6)), within: 15) == nil)
        #expect(Untrusted(UInt32.max).range(length: Untrusted(UInt32.max), within: 1 << 30) == nil)
        #expect(Untrusted(UInt64.max).index(below: Int.max) == nil)
        #expect(Untrusted(UInt32(3)).distance(from: UInt32.max, atMost: 4) == 4)
        #expect(Untrusted(UInt32(4)).distance(from: UInt32.max, atMost: 4) == nil)
        #expect(Untrusted(UInt32(0)).distance(from: 1, atMost: 65536) == nil)
    }

    @Test func wireFormsReadBack() {
        var generator = TestGenerator(seed: testSeed("wireFormsReadBack"))
        for _ in 0..<1000 {
            var words = InlineArray<16, UInt64>(repeating: 0)
            for index in 0..<16 { words[index] = generator.next() }
            let span = words.span
            let bytes = unsafe span.bytes
            var copy = [UInt8](repeating: 0, count: 128)
            var target = copy.mutableSpan
            var raw = unsafe target.mutableBytes
            guard let entry = SubmissionEntry(decoding: bytes), let attributes = NodeAttributes(decoding: bytes) else {
                Issue.record("128 bytes are enough for both")
                return
            }
            entry.encode(into: &raw)
            var written = copy.span
            #expect(SubmissionEntry(decoding: unsafe written.bytes) == entry)
            target = copy.mutableSpan
            raw = unsafe target.mutableBytes
            attributes.encode(into: &raw)
            written = copy.span
            #expect(NodeAttributes(decoding: unsafe written.bytes) == attributes)
        }
        var changes = AttributeChangeSet()
        changes.size = 7
        changes.accessTime = WireTime(sinceEpoch: -1)
        #expect(changes.accessTime == WireTime(seconds: -1, nanoseconds: 999_999_999))
        var bytes = [UInt8](repeating: 0, count: 64)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        changes.encode(into: &raw)
        let written = bytes.span
        #expect(AttributeChangeSet(decoding: unsafe written.bytes) == changes)
    }

    @Test func theTableAgreesWithItself() {
        for opcode in Opcode.allCases {
            #expect(opcode.isLogged == opcode.properties.isLogged, "\(opcode)")
            #expect(Int(opcode.rawValue) < ProtocolLimits.opcodeCount)
        }
    }

    @Test func layoutsDontOverlap() {
        for geometry in [ChannelGeometry.small, .standard] {
            let layout = ChannelLayout(geometry)
            #expect(ChannelLayout.statisticsOffset + ChannelLayout.statisticsBytes <= layout.submissionRing)
            #expect(layout.submissionRing + 4 * geometry.recordCount <= layout.requestRecords)
            #expect(layout.requestRecords + 512 * geometry.recordCount <= layout.clientArea)
            #expect(layout.completionRing + 4 * geometry.recordCount <= layout.eventRing)
            #expect(layout.eventRing + 32 * geometry.eventCount <= layout.replyRecords)
            #expect(layout.replyRecords + 256 * geometry.recordCount <= layout.replyArea)
            #expect(ChannelLayout.marksOffset + 16 * ChannelLayout.markBytes <= ChannelLayout.statisticsOffset)
        }
    }
}
