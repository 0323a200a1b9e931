import CLZ4
import DiskFormat

/// Compression of records: LZ4 blocks in the format's frame. All functions may be called by any number of threads.
public enum LZ4Record {
    private static let states = ContextPool<CompressorState>()

    /// Compresses a record of whole blocks, 4096 << n bytes with n from 1 to 5, into `stored`: length, compressed bytes, zeros
    /// up to the end of the smallest block that holds them.
    ///
    /// - Parameter stored: room for at least half of the record's bytes, and 65536 at most.
    /// - Returns: the level of the stored block, always below the record's; nil if the record doesn't shrink by a level, and
    ///   then the contents of `stored` mean nothing.
    public static func compress(_ plain: RawSpan, into stored: inout MutableRawSpan) -> Int? {
        guard let plainLevel = level(ofByteCount: plain.byteCount), plainLevel > 0 else { return nil }
        let room = min(Limits.blockSize << (plainLevel - 1), stored.byteCount) - CompressedRecord.headerSize
        guard room > 0 else { return nil }
        if IncompressibilityEstimate.looksIncompressible(plain) { return nil }
        let state = states.take() ?? CompressorState()
        defer { states.give(state) }
        let length = state.compress(plain, into: &stored, room: room)
        guard let level = CompressedRecord.level(compressedLength: length, plainLevel: plainLevel) else { return nil }
        var block = stored._mutatingExtracting(0..<Limits.blockSize << level)
        return CompressedRecord.seal(&block, compressedLength: length) ? level : nil
    }

    /// Unpacks a stored block into the whole of `plain`; what the compressed bytes don't reach is zero.
    ///
    /// Reads nothing outside `stored` and writes nothing outside `plain`, whatever the bytes are.
    public static func decompress(_ stored: RawSpan, into plain: inout MutableRawSpan) throws(FormatError) {
        let payload = try CompressedRecord.payload(stored)
        guard let capacity = Int32(exactly: plain.byteCount) else { throw FormatError(.record, .tooLarge) }
        let source = stored.extracting(payload)
        let length = unsafe source.withUnsafeBytes { from in
            unsafe plain.withUnsafeMutableBytes { to -> Int32 in
                // Neither can be nil: the payload is not empty, and an empty target has no capacity to decompress into.
                guard let from = from.baseAddress, let to = to.baseAddress else { return -1 }
                return unsafe LZ4_decompress_safe(
                    from.assumingMemoryBound(to: CChar.self), to.assumingMemoryBound(to: CChar.self),
                    Int32(truncatingIfNeeded: payload.count), capacity)
            }
        }
        guard length > 0, length <= capacity else {
            throw FormatError(
                .record, .length, at: CompressedRecord.headerSize, value: UInt64(truncatingIfNeeded: payload.count))
        }
        plain.fill(Int(length)..<plain.byteCount)
    }

    /// n for 4096 << n bytes, n from 0 to 5; else nil.
    private static func level(ofByteCount count: Int) -> Int? {
        for level in 0...Int(Limits.maximumRecordLevel) where count == Limits.blockSize << level { return level }
        return nil
    }
}

/// The hash table of one compressor: 16 KiB that need not be allocated for each record.
@safe
private final class CompressorState {
    private let memory: UnsafeMutableRawPointer

    init() {
        unsafe memory = .allocate(byteCount: Int(LZ4_sizeofState()), alignment: 16)
    }

    deinit { unsafe memory.deallocate() }

    /// Compresses into the bytes behind the length field; the length, or 0 if it would be above `room`.
    func compress(_ plain: RawSpan, into stored: inout MutableRawSpan, room: Int) -> Int {
        var target = stored._mutatingExtracting(
            CompressedRecord.headerSize..<(CompressedRecord.headerSize + room))
        let length = unsafe plain.withUnsafeBytes { from in
            unsafe target.withUnsafeMutableBytes { to -> Int32 in
                guard let from = from.baseAddress, let start = to.baseAddress else { return 0 }
                return unsafe LZ4_compress_fast_extState(
                    memory, from.assumingMemoryBound(to: CChar.self), start.assumingMemoryBound(to: CChar.self),
                    Int32(truncatingIfNeeded: plain.byteCount), Int32(truncatingIfNeeded: room), 1)
            }
        }
        return max(Int(length), 0)
    }
}
