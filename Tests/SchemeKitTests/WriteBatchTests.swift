import Platform
import SchemeProtocol
import Testing

@testable import SchemeKit

/// Ranges are spread over as few write requests as possible, in their order.
@Suite struct WriteBatchTests {
    private func extents(_ sizes: [Int]) -> [(offset: UInt64, slices: [BufferSlice])] {
        sizes.enumerated().map { (UInt64($0) << 24, [BufferSlice(AlignedBuffer(byteCount: $1))]) }
    }

    private func sizes(_ batches: [WriteBatch]) -> [[Int]] {
        batches.map { $0.pieces.map { $0.slices.reduce(0) { $0 + $1.byteCount } } }
    }

    private func fill(_ buffer: AlignedBuffer, _ value: UInt8) {
        var bytes = buffer.mutableBytes
        for index in 0..<buffer.byteCount { bytes.storeBytes(of: value, toByteOffset: index, as: UInt8.self) }
    }

    @Test func ranges() {
        let limit = ProtocolLimits.maximumTransferBytes
        let some = extents([4096, 8192, limit - 12_288, 4096, limit, limit + 4096])
        #expect(
            sizes(WriteBatch.batches(some, scatters: true)) == [
                [4096, 8192, limit - 12_288], [4096], [limit], [limit], [4096],
            ])
        #expect(WriteBatch.batches(some, scatters: false).count == 7)
        let many = WriteBatch.batches(extents([Int](repeating: 512, count: 600)), scatters: true)
        #expect(many.map(\.pieces.count) == [256, 256, 88])
        #expect(WriteBatch.batches([], scatters: true).isEmpty)
    }

    @Test func aPayloadBeginsWithItsTable() throws {
        let (first, second) = (AlignedBuffer(byteCount: 100), AlignedBuffer(byteCount: 50))
        fill(first, 1)
        fill(second, 2)
        let batches = WriteBatch.batches(
            [(7, [BufferSlice(first)]), (1000, [BufferSlice(second, 0..<20), BufferSlice(second, 20..<50)])],
            scatters: true)
        let batch = try #require(batches.first)
        let entry = batch.entry(node: 3, handle: 4, .afterFlush)
        #expect(entry.flags == [.afterFlush, .scattered] && entry.offset == 2)
        let payload = AlignedBuffer(byteCount: batch.payloadByteCount)
        var bytes = payload.mutableBytes
        batch.fill(&bytes)
        let decoded = ScatterTable(decoding: payload.bytes, count: 2, payloadByteCount: payload.byteCount)
        let table = try #require(decoded)
        #expect(table.pieces.map(\.offset) == [7, 1000])
        #expect(table.pieces.map(\.range) == [4096..<4196, 4196..<4246])
        let all = payload.bytes
        for index in 4096..<4246 { #expect(all.wire(index, as: UInt8.self) == (index < 4196 ? 1 : 2)) }
        // One range alone needs no table.
        let alone = WriteBatch.batches([(7, [BufferSlice(first)])], scatters: true)[0]
        #expect(alone.entry(node: 3, handle: 4, []).offset == 7 && alone.payloadByteCount == 100)
    }
}
