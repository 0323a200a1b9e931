// Little-endian loads and stores at unaligned offsets. The span checks the bounds: a decoder checks the length of what it
// was given first, so that the check never fires on outside values.

extension RawSpan {
    /// The little-endian integer at `offset`; the caller made sure that it lies inside.
    @inlinable
    package func wire<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value {
        Value(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: type))
    }
}

extension MutableRawSpan {
    /// Stores `value` in little-endian order at `offset`; the caller made sure that it fits.
    @inlinable
    @_lifetime(self: copy self)
    package mutating func setWire<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _ value: Value) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
    }

    /// Copies all of `bytes` to `offset`; the caller made sure that it fits.
    @inlinable
    @_lifetime(self: copy self)
    package mutating func setBytes(_ offset: Int, _ bytes: RawSpan) {
        guard !bytes.isEmpty else { return }
        let count = bytes.byteCount
        unsafe withUnsafeMutableBytes { target in
            unsafe bytes.withUnsafeBytes { source in
                unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset..<(offset &+ count)]).copyMemory(
                    from: source)
            }
        }
    }
}
