import Glibc

/// Buffers of the six block sizes, used again instead of allocated anew. Bounded: what is over goes back to the heap.
///
/// Buffers of 4 KiB, of which there can be very many, are cut from large pieces of memory as soon as more than a few are
/// needed: the kernel provides such a piece at once instead of page by page. They are always kept for the next use.
public final class BufferPool: Sendable {
    /// The highest level: 4 KiB << 5 = 128 KiB.
    public static let maximumLevel = 5
    /// How many buffers of 4 KiB come from the heap before the first large piece.
    private static let singleBuffers = 256

    private struct State {
        var free: [[AlignedBuffer]]
        /// How many buffers of 4 KiB were made.
        var smallCount = 0
    }

    private let state: Locked<State>
    private let limits: [Int]

    /// - Parameter maximumBytesPerLevel: how many bytes of unused buffers of each size above 4 KiB are kept.
    public init(maximumBytesPerLevel: Int = 8 << 20) {
        limits = (0...Self.maximumLevel).map { $0 == 0 ? .max : maximumBytesPerLevel / (4096 << $0) }
        state = Locked(State(free: [[AlignedBuffer]](repeating: [], count: Self.maximumLevel + 1)))
    }

    /// A buffer of 4096 << level bytes with undefined contents.
    public func take(level: Int) -> AlignedBuffer {
        precondition(level >= 0 && level <= Self.maximumLevel)
        let found = state.withLock { state -> AlignedBuffer? in
            if let buffer = state.free[level].popLast() { return buffer }
            guard level == 0 else { return nil }
            state.smallCount += 1
            guard state.smallCount > Self.singleBuffers else { return nil }
            state.free[0] += BufferSlab.cut()
            return state.free[0].popLast()
        }
        return found ?? AlignedBuffer(uninitializedByteCount: 4096 << level)
    }

    /// Gives a buffer back that nobody else uses any more; one that is still shared, or of another size, is ignored.
    public func give(_ buffer: consuming AlignedBuffer) {
        guard let level = Self.level(of: buffer.byteCount) else { return }
        var candidate = buffer
        guard isKnownUniquelyReferenced(&candidate) else { return }
        let returned = candidate
        state.withLock { state in
            if state.free[level].count < limits[level] { state.free[level].append(returned) }
        }
    }

    /// The level of a buffer's size, nil if no block has that size.
    static func level(of byteCount: Int) -> Int? {
        guard byteCount >= 4096, byteCount & (byteCount - 1) == 0 else { return nil }
        let level = byteCount.trailingZeroBitCount - 12
        return level <= maximumLevel ? level : nil
    }
}

/// A large piece of memory that buffers of 4 KiB are cut from; it goes with the last of them.
@safe
private final class BufferSlab {
    private static let byteCount = 2 << 20
    private let base: UnsafeMutableRawPointer

    private init() {
        var result: UnsafeMutableRawPointer?
        let code = unsafe posix_memalign(&result, Self.byteCount, Self.byteCount)
        guard code == 0, let result = unsafe result else { fatalError("out of memory: \(Self.byteCount) bytes") }
        unsafe base = result
        // Advice only: without large pages it works as well.
        _ = unsafe madvise(base, Self.byteCount, Int32(MADV_HUGEPAGE))
    }

    deinit { unsafe free(base) }

    /// The buffers of a new piece.
    static func cut() -> [AlignedBuffer] {
        let slab = BufferSlab()
        return (0..<byteCount / 4096).reversed().map { index in
            unsafe AlignedBuffer(mapped: slab.base + index * 4096, byteCount: 4096, owner: slab)
        }
    }
}
