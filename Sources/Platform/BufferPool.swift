/// Buffers of the six block sizes, used again instead of allocated anew. Bounded: what is over goes back to the heap.
public final class BufferPool: Sendable {
    /// The highest level: 4 KiB << 5 = 128 KiB.
    public static let maximumLevel = 5

    private let free: Locked<[[AlignedBuffer]]>
    private let limits: [Int]

    /// - Parameter maximumBytesPerLevel: how many bytes of unused buffers of each size are kept.
    public init(maximumBytesPerLevel: Int = 8 << 20) {
        limits = (0...Self.maximumLevel).map { maximumBytesPerLevel / (4096 << $0) }
        free = Locked([[AlignedBuffer]](repeating: [], count: Self.maximumLevel + 1))
    }

    /// A buffer of 4096 << level bytes with undefined contents.
    public func take(level: Int) -> AlignedBuffer {
        precondition(level >= 0 && level <= Self.maximumLevel)
        if let buffer = free.withLock({ $0[level].popLast() }) { return buffer }
        return AlignedBuffer(uninitializedByteCount: 4096 << level)
    }

    /// Gives a buffer back that nobody else uses any more; one that is still shared, or of another size, is ignored.
    public func give(_ buffer: consuming AlignedBuffer) {
        guard let level = Self.level(of: buffer.byteCount) else { return }
        var candidate = buffer
        guard isKnownUniquelyReferenced(&candidate) else { return }
        let returned = candidate
        free.withLock { free in
            if free[level].count < limits[level] { free[level].append(returned) }
        }
    }

    /// The level of a buffer's size, nil if no block has that size.
    static func level(of byteCount: Int) -> Int? {
        guard byteCount >= 4096, byteCount & (byteCount - 1) == 0 else { return nil }
        let level = byteCount.trailingZeroBitCount - 12
        return level <= maximumLevel ? level : nil
    }
}
