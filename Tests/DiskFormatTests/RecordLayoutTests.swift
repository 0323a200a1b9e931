import DiskFormat
import Testing

/// Where the pointer of a record lies, at every limit.
@Suite struct RecordLayoutTests {
    static let firsts: [UInt64] = [0, 128, 16512, 2_113_664, 270_549_120, 34_630_287_488]

    @Test func limits() throws {
        for depth in 0...5 { #expect(RecordLayout.firstRecord(ofDepth: depth) == Self.firsts[depth]) }
        #expect(RecordLayout.capacity == 34_630_287_488)
        #expect(RecordLayout.path(to: RecordLayout.capacity) == nil)
        #expect(RecordLayout.path(to: .max) == nil)
        let layout = try RecordLayout(recordLevel: 5)
        #expect(layout.recordSize == 131072)
        #expect(layout.maximumSize == 34_630_287_488 * 131072)
        #expect(try RecordLayout(recordLevel: 0).maximumSize == 34_630_287_488 * 4096)
        for level: UInt32 in [6, 15, 64, .max] {
            #expect(throws: FormatError.self) { try RecordLayout(recordLevel: level) }
        }
    }

    @Test(arguments: 0..<5)
    func firstAndLastOfDepth(depth: Int) throws {
        let first = try #require(RecordLayout.path(to: Self.firsts[depth]))
        #expect(first.depth == depth)
        #expect(first.slot == RecordLayout.firstSlot(ofDepth: depth))
        for list in 0..<depth { #expect(first.index(inList: list) == 0) }
        let last = try #require(RecordLayout.path(to: Self.firsts[depth + 1] - 1))
        #expect(last.depth == depth)
        #expect(last.slot == RecordLayout.firstSlot(ofDepth: depth + 1) - 1)
        for list in 0..<depth { #expect(last.index(inList: list) == 255) }
    }

    /// The path, put together again, is the record: around every limit and at samples.
    @Test func pathsAreUnique() throws {
        var records: Set<UInt64> = []
        for slot in 0..<RecordLayout.nodePointerCount {
            let first = RecordLayout.firstRecord(ofSlot: slot)
            let count = RecordLayout.recordsPerPointer(depth: RecordLayout.depth(ofSlot: slot))
            for record in [first, first + 1, first + count / 2, first + count - 1] { records.insert(record) }
            for power in 0..<5 { records.insert(min(first + (1 << UInt64(power * 8)), RecordLayout.capacity - 1)) }
        }
        for record in records {
            let path = try #require(RecordLayout.path(to: record))
            #expect(RecordLayout.depth(ofSlot: path.slot) == path.depth)
            var rebuilt: UInt64 = 0
            for list in 0..<path.depth { rebuilt = rebuilt << 8 | UInt64(path.index(inList: list)) }
            #expect(RecordLayout.firstRecord(ofSlot: path.slot) + rebuilt == record)
        }
    }

    @Test func bytesAndRecords() throws {
        let layout = try RecordLayout(recordLevel: 5)
        #expect(layout.recordCount(size: 0) == 0)
        #expect(layout.recordCount(size: 1) == 1)
        #expect(layout.recordCount(size: 131072) == 1)
        #expect(layout.recordCount(size: 131073) == 2)
        #expect(layout.recordCount(size: .max) == 1 << 47)
        #expect(layout.record(at: 131071) == 0 && layout.record(at: 131072) == 1)
        #expect(layout.offset(of: 131072 + 17) == 17)
        #expect(layout.start(of: 3) == 3 * 131072)
        #expect(
            [0, 1, 4096, 4097, 8192, 8193, 65536, 65537, 131072].map { layout.tailLevel(byteCount: $0) }
                == [0, 0, 0, 1, 1, 2, 4, 5, 5])
    }
}
