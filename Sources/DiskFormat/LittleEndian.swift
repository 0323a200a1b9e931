// Fields of packed structures: every access to bytes in this module goes through these functions, which check
// the bounds. A caller that has made sure of a block's length (FormatError.checkBlock, or a buffer of whole blocks)
// can't fail here, as all field offsets are inside a block.

extension RawSpan {
    /// The byte at an offset inside the span.
    @inlinable @inline(__always)
    public func u8(at offset: Int) -> UInt8 { unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

    /// The little-endian 16-bit number at an offset, aligned or not.
    @inlinable @inline(__always)
    public func u16(at offset: Int) -> UInt16 {
        UInt16(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    /// The little-endian 32-bit number at an offset, aligned or not.
    @inlinable @inline(__always)
    public func u32(at offset: Int) -> UInt32 {
        UInt32(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// The little-endian 64-bit number at an offset, aligned or not.
    @inlinable @inline(__always)
    public func u64(at offset: Int) -> UInt64 {
        UInt64(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// The bytes as an array: for messages, tests and small values.
    public func copyToArray() -> [UInt8] {
        unsafe withUnsafeBytes { unsafe Array($0) }
    }

    /// Whether two spans hold the same bytes.
    @inlinable @inline(__always)
    public func isEqual(to other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        let words = byteCount >> 3
        for word in 0..<words where u64(at: word &<< 3) != other.u64(at: word &<< 3) { return false }
        for index in (words &<< 3)..<byteCount where u8(at: index) != other.u8(at: index) { return false }
        return true
    }

    /// Whether all bytes are zero.
    @inlinable
    public func isAllZero() -> Bool {
        let words = byteCount >> 3
        var index = 0
        // Chunks of 64 bytes without a branch inside: a zero test runs over whole records.
        for _ in 0..<(words >> 3) {
            var seen: UInt64 = 0
            for word in 0..<8 { seen |= u64(at: index &+ word &<< 3) }
            if seen != 0 { return false }
            index &+= 64
        }
        for offset in index..<byteCount where u8(at: offset) != 0 { return false }
        return true
    }
}

extension MutableRawSpan {
    /// Stores a byte.
    @inlinable @inline(__always)
    @_lifetime(self: copy self)
    public mutating func setU8(_ value: UInt8, at offset: Int) {
        storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
    }

    /// Stores a 16-bit number in little-endian order, aligned or not.
    @inlinable @inline(__always)
    @_lifetime(self: copy self)
    public mutating func setU16(_ value: UInt16, at offset: Int) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt16.self)
    }

    /// Stores a 32-bit number in little-endian order, aligned or not.
    @inlinable @inline(__always)
    @_lifetime(self: copy self)
    public mutating func setU32(_ value: UInt32, at offset: Int) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt32.self)
    }

    /// Stores a 64-bit number in little-endian order, aligned or not.
    @inlinable @inline(__always)
    @_lifetime(self: copy self)
    public mutating func setU64(_ value: UInt64, at offset: Int) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt64.self)
    }

    /// Copies all bytes of `source` to `offset`. The room must be there.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func copy(_ source: RawSpan, at offset: Int) {
        var target = _mutatingExtracting(offset..<(offset + source.byteCount))
        unsafe target.withUnsafeMutableBytes { destination in
            unsafe source.withUnsafeBytes { unsafe destination.copyMemory(from: $0) }
        }
    }

    /// Moves the bytes of a range to another place in the same span; the two may overlap.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func moveBytes(_ range: Range<Int>, to offset: Int) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        precondition(offset >= 0 && offset + range.count <= byteCount)
        unsafe withUnsafeMutableBytes { bytes in
            let source = unsafe UnsafeRawBufferPointer(rebasing: bytes[range])
            unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[offset...]).copyMemory(from: source)
        }
    }

    /// Fills a range with one byte.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func fill(_ range: Range<Int>, with value: UInt8 = 0) {
        var target = _mutatingExtracting(range)
        unsafe target.withUnsafeMutableBytes { bytes in
            _ = unsafe bytes.initializeMemory(as: UInt8.self, repeating: value)
        }
    }
}
