/// Where the pieces of a scattered write go (`SubmissionFlags.scattered`): the first page of its payload.
///
///     16 * index      offset u64
///     16 * index + 8  byte count u64
///
/// The pieces' bytes follow one another behind that page, so that pieces of whole pages lie on pages. `SubmissionEntry.offset` says
/// how many there are.
public struct ScatterTable: Sendable, Equatable {
    /// Bytes of the table in the payload.
    public static let byteCount = ProtocolLimits.pageBytes
    /// So many pieces at most.
    public static let maximumCount = byteCount / 16

    /// One range that is written.
    public struct Piece: Sendable, Equatable {
        /// Where it goes, in bytes.
        public let offset: UInt64
        /// Which bytes of the payload.
        public let range: Range<Int>
    }

    /// In the order in which they lie in the payload.
    public private(set) var pieces: [Piece] = []
    /// Bytes of the payload with the table.
    public private(set) var payloadByteCount = Self.byteCount

    /// No pieces.
    public init() {}

    /// Adds a piece behind the others. False if the table is full.
    ///
    /// - Parameter byteCount: more than 0.
    public mutating func append(_ offset: UInt64, byteCount: Int) -> Bool {
        let (end, overflow) = payloadByteCount.addingReportingOverflow(byteCount)
        guard pieces.count < Self.maximumCount, byteCount > 0, !overflow else { return false }
        pieces.append(Piece(offset: offset, range: payloadByteCount..<end))
        payloadByteCount = end
        return true
    }

    /// What a peer wrote; nil unless there are pieces, none of them is empty, and together they are just what the payload holds.
    ///
    /// - Parameters:
    ///   - bytes: the first page of the payload, copied: the peer can still write to the payload itself.
    ///   - count: how many pieces, as the peer says.
    ///   - payloadByteCount: of the whole payload.
    public init?(decoding bytes: RawSpan, count: UInt64, payloadByteCount: Int) {
        guard count > 0, count <= UInt64(Self.maximumCount), bytes.byteCount >= Self.byteCount else { return nil }
        for index in 0..<Int(count) {
            let offset = bytes.wire(16 * index, as: UInt64.self)
            guard let size = Int(exactly: bytes.wire(16 * index + 8, as: UInt64.self)),
                append(offset, byteCount: size)
            else { return nil }
        }
        guard self.payloadByteCount == payloadByteCount else { return nil }
    }

    /// Writes the table to the first page of a payload. False if there is no room.
    public func encode(into payload: inout MutableRawSpan) -> Bool {
        guard payload.byteCount >= Self.byteCount else { return false }
        for (index, piece) in pieces.enumerated() {
            payload.setWire(16 * index, piece.offset)
            payload.setWire(16 * index + 8, UInt64(piece.range.count))
        }
        return true
    }
}
