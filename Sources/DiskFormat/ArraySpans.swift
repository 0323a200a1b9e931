extension [UInt8] {
    /// The array's bytes as a raw span.
    @inlinable
    public var rawBytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe self.span.bytes
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Lends the array's bytes as a raw span through which they can be changed.
    @inlinable
    public mutating func withMutableRawBytes<Result, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var elements = self.mutableSpan
        var bytes = unsafe elements.mutableBytes
        return try body(&bytes)
    }
}
