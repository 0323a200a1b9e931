/// The frame around the compressed bytes of a record: a u16 with their number, the bytes, zeros up to the block's end.
public enum CompressedRecord {
    /// Bytes of the length field.
    public static let headerSize = 2

    /// The smallest level whose blocks hold so many compressed bytes, if it is below the plain record's level and the
    /// length can be stored: the condition for storing a record compressed.
    @inlinable
    public static func level(compressedLength: Int, plainLevel: Int) -> Int? {
        guard compressedLength > 0, compressedLength <= Limits.maximumCompressedLength else { return nil }
        var level = 0
        while level < plainLevel {
            if compressedLength &+ headerSize <= Limits.blockSize &<< level { return level }
            level &+= 1
        }
        return nil
    }

    /// Where the compressed bytes lie in the stored block.
    @inlinable
    public static func payload(_ stored: RawSpan) throws(FormatError) -> Range<Int> {
        guard stored.byteCount >= headerSize else { throw FormatError(.record, .tooShort) }
        let length = Int(stored.u16(at: 0))
        guard length > 0, length <= Limits.maximumCompressedLength, length <= stored.byteCount &- headerSize else {
            throw FormatError(.record, .length, value: UInt64(truncatingIfNeeded: length))
        }
        return headerSize..<(headerSize &+ length)
    }

    /// Completes a block into which so many compressed bytes were put behind the length field: stores the length, zeroes
    /// the rest. False if they don't fit.
    @inlinable
    @_lifetime(stored: copy stored)
    public static func seal(_ stored: inout MutableRawSpan, compressedLength: Int) -> Bool {
        guard compressedLength > 0, compressedLength <= Limits.maximumCompressedLength,
            compressedLength <= stored.byteCount &- headerSize
        else { return false }
        stored.setU16(UInt16(truncatingIfNeeded: compressedLength), at: 0)
        stored.fill((headerSize &+ compressedLength)..<stored.byteCount)
        return true
    }
}
