extension MutableRawSpan {
    /// Copies what of `bytes` lies from `offset` on, as much as fits: how a file whose contents are an array is read.
    ///
    /// - Returns: the count, 0 at and behind the end.
    @_lifetime(self: copy self)
    public mutating func fill(from bytes: [UInt8], at offset: UInt64) -> Int {
        guard let start = Int(exactly: offset), start < bytes.count else { return 0 }
        let count = min(bytes.count - start, byteCount)
        let source = bytes.span
        copyBytes(from: unsafe source.bytes.extracting(start..<(start + count)))
        return count
    }
}
