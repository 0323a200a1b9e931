import Platform

/// A device in memory that may be far larger than the memory: only what was written is kept.
public final class SparseMemoryDevice: BlockDevice {
    /// Bytes per piece. A piece is mapped memory, so only its touched pages are occupied.
    private static let pieceByteCount = 1 << 20

    private struct State {
        var byteCount: UInt64
        var pieces: [UInt64: AlignedBuffer] = [:]
    }

    private let state: Locked<State>

    /// A device of zeros.
    public init(byteCount: UInt64) {
        state = Locked(State(byteCount: byteCount))
    }

    /// The size in bytes.
    public var byteCount: UInt64 { state.withLock { $0.byteCount } }

    /// Always.
    public var isWritable: Bool { true }

    /// How many bytes are kept, in whole pieces.
    public var keptByteCount: UInt64 {
        state.withLock { UInt64($0.pieces.count) * UInt64(Self.pieceByteCount) }
    }

    /// Fills the buffer; what was never written is zero.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try checkRange(offset, UInt64(buffer.byteCount), .read)
        var done = 0
        while done < buffer.byteCount {
            let (number, start) = Self.locate(offset + UInt64(done))
            let count = min(buffer.byteCount - done, Self.pieceByteCount - start)
            if let piece = state.withLock({ $0.pieces[number] }) {
                buffer.copyBytes(from: piece.bytes(start..<start + count), at: done)
            } else {
                buffer.zero(done..<done + count)
            }
            done += count
        }
    }

    /// Keeps copies of the bytes.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        _ = try checkedLength(at: offset, buffers)
        var position = offset
        for buffer in buffers {
            let bytes = buffer.bytes
            var done = 0
            while done < bytes.byteCount {
                let (number, start) = Self.locate(position)
                let count = min(bytes.byteCount - done, Self.pieceByteCount - start)
                let piece = state.withLock { state in
                    if let piece = state.pieces[number] { return piece }
                    let piece = AlignedBuffer(byteCount: Self.pieceByteCount)
                    state.pieces[number] = piece
                    return piece
                }
                piece.copyBytes(from: bytes.extracting(done..<done + count), at: start)
                done += count
                position += UInt64(count)
            }
        }
    }

    /// Nothing to do.
    public func flush() throws(BlockDeviceError) {}

    /// Forgets the pieces that lie wholly in the range, and makes the parts of others zero.
    public func discard(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkRange(offset, length, .discard)
        let piece = UInt64(Self.pieceByteCount)
        let first = offset / piece + (offset % piece == 0 ? 0 : 1)
        let end = (offset + length) / piece
        guard first < end else { return try writeZeros(at: offset, byteCount: length) }
        state.withLock { Self.forget(&$0, first..<end) }
        try writeZeros(at: offset, byteCount: first * piece - offset)
        try writeZeros(at: end * piece, byteCount: offset + length - end * piece)
    }

    /// Changes the size; new bytes are zero.
    public func resize(to byteCount: UInt64) throws(BlockDeviceError) {
        state.withLock { state in
            let (number, start) = Self.locate(byteCount)
            if byteCount < state.byteCount {
                let first = start == 0 ? number : number + 1
                Self.forget(&state, first..<max(first, state.byteCount / UInt64(Self.pieceByteCount) + 1))
                if start > 0 { state.pieces[number]?.zero(start..<Self.pieceByteCount) }
            }
            state.byteCount = byteCount
        }
    }

    private static func forget(_ state: inout State, _ numbers: Range<UInt64>) {
        if numbers.count > state.pieces.count {
            state.pieces = state.pieces.filter { !numbers.contains($0.key) }
        } else {
            for number in numbers { state.pieces[number] = nil }
        }
    }

    private static func locate(_ offset: UInt64) -> (number: UInt64, start: Int) {
        let (number, start) = offset.quotientAndRemainder(dividingBy: UInt64(pieceByteCount))
        return (number, Int(start))
    }
}
