extension MutableRawSpan {
    /// Copies what of `bytes` lies from `offset` on, as much as fits: how a file whose contents are an array is read.
    ///
    /// - Returns: the count, 0 at and behind the end.
    @_lifetime(self: copy self)
    public mutating func fill(from bytes: [UInt8], at offset: UInt64) -> Int {
        guard let start = Int(exactly: offset), start < bytes.count else { return 0 }
        let count = min(bytes.count - start, byteCount)
        for index in 0..<count { storeBytes(of: bytes[start + index], toByteOffset: index, as: UInt8.self) }
        return count
    }
}
