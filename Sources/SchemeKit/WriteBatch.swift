import Platform
import SchemeProtocol

/// What one write request carries: a piece, or several for a server that takes them together (`OpenedFlags.scattersWrites`).
struct WriteBatch {
    private(set) var pieces: [(offset: UInt64, slices: [BufferSlice])] = []
    /// Bytes of the pieces.
    private(set) var byteCount = 0

    private var isScattered: Bool { pieces.count > 1 }

    /// Bytes of the request's payload.
    var payloadByteCount: Int { isScattered ? byteCount + ScatterTable.byteCount : byteCount }

    /// The request.
    func entry(node: UInt64, handle: UInt64, _ flags: SubmissionFlags) -> SubmissionEntry {
        SubmissionEntry(
            .write, flags: isScattered ? flags.union(.scattered) : flags, node: node, handle: handle,
            offset: isScattered ? UInt64(pieces.count) : pieces.first?.offset ?? 0)
    }

    /// Puts the pieces into the request's payload.
    func fill(_ payload: inout MutableRawSpan) {
        var position = 0
        if isScattered {
            var table = ScatterTable()
            for piece in pieces {
                _ = table.append(piece.offset, byteCount: piece.slices.reduce(0) { $0 + $1.byteCount })
            }
            _ = table.encode(into: &payload)
            position = ScatterTable.byteCount
        }
        for piece in pieces {
            for slice in piece.slices {
                payload.copyBytes(from: slice.bytes, at: position)
                position += slice.byteCount
            }
        }
    }

    /// Whether ranges fit into one request of a server that takes several together.
    static func fits(_ count: Int, byteCount: UInt64) -> Bool {
        count <= ScatterTable.maximumCount && byteCount <= UInt64(ProtocolLimits.maximumTransferBytes)
    }

    /// Spreads ranges over as few requests as possible, in their order.
    static func batches(
        _ extents: [(offset: UInt64, slices: [BufferSlice])], scatters: Bool
    ) -> [WriteBatch] {
        var batches: [WriteBatch] = []
        var current = WriteBatch()
        for extent in extents {
            var queue = BufferQueue(extent.slices)
            var rest = extent.slices.reduce(0) { $0 + $1.byteCount }
            var position = extent.offset
            while rest > 0 {
                let count = min(rest, ProtocolLimits.maximumTransferBytes)
                let fits = scatters && fits(current.pieces.count + 1, byteCount: UInt64(current.byteCount + count))
                if !current.pieces.isEmpty, !fits {
                    batches.append(current)
                    current = WriteBatch()
                }
                current.append((offset: position, slices: queue.take(count)), count)
                position &+= UInt64(count)
                rest -= count
            }
        }
        if !current.pieces.isEmpty { batches.append(current) }
        return batches
    }

    private mutating func append(_ piece: (offset: UInt64, slices: [BufferSlice]), _ count: Int) {
        pieces.append(piece)
        byteCount += count
    }
}
