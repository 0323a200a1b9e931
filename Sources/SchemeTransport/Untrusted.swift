/// A value that came from another process: an allegation. It can't be used, only checked, and it was copied before, so that
/// it can't change between check and use.
public struct Untrusted<Value: Sendable>: Sendable {
    @usableFromInline let value: Value

    /// Marks a value, already copied out of shared memory, as unchecked.
    @inlinable
    public init(_ copied: Value) { value = copied }

    /// The value if it satisfies the condition.
    @inlinable
    public func checked(_ isValid: (Value) -> Bool) -> Value? { isValid(value) ? value : nil }

    /// What a conversion that checks makes of the value.
    @inlinable
    public func checked<Checked>(as convert: (Value) -> Checked?) -> Checked? { convert(value) }
}

extension Untrusted where Value: FixedWidthInteger {
    /// The value as an index into something of `count` elements.
    @inlinable
    public func index(below count: Int) -> Int? {
        guard let index = Int(exactly: value), index >= 0, index < count else { return nil }
        return index
    }

    /// The value as a length of at most `limit`.
    @inlinable
    public func length(atMost limit: Int) -> Int? {
        guard let length = Int(exactly: value), length >= 0, length <= limit else { return nil }
        return length
    }

    /// The range of `length` bytes from this offset on, if it lies inside the first `limit`.
    @inlinable
    public func range(length: Untrusted<Value>, within limit: Int) -> Range<Int>? {
        guard let start = self.length(atMost: limit), let count = length.length(atMost: limit - start) else {
            return nil
        }
        return start..<(start + count)
    }

    /// How far this position of a ring is ahead of `position`, if at most `limit`. Positions wrap.
    @inlinable
    public func distance(from position: Value, atMost limit: Int) -> Int? {
        Untrusted(value &- position).length(atMost: limit)
    }
}
