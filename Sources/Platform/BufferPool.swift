import Glibc

/// Buffers of the six block sizes, used again instead of allocated anew. A buffer's memory comes back by itself when the
/// last reference to the buffer goes, wherever that is.
public final class BufferPool: Sendable {
    /// The highest level: 4 KiB << 5 = 128 KiB.
    public static let maximumLevel = 5
    private let storage: BufferStorage

    /// - Parameter maximumBytesPerLevel: how many bytes of unused buffers of each size above 4 KiB stay in memory; what is
    ///   over goes back to the kernel. Buffers of 4 KiB, the size of which most are needed, always stay.
    public init(maximumBytesPerLevel: Int = 8 << 20) {
        storage = BufferStorage(maximumBytesPerLevel: maximumBytesPerLevel)
    }

    /// A buffer of 4096 << level bytes with undefined contents.
    public func take(level: Int) -> AlignedBuffer {
        precondition(level >= 0 && level <= Self.maximumLevel)
        return AlignedBuffer(pooled: storage.take(level: level), byteCount: 4096 << level, storage: storage)
    }
}

/// The memory of a pool. It lives as long as the pool or one of the buffers.
///
/// Memory is cut from large pieces as soon as more than a little is needed: the kernel provides such a piece at once
/// instead of page by page.
@safe
final class BufferStorage: @unchecked Sendable {
    /// Memory of one buffer, or a piece that buffers are cut from.
    @safe
    struct Memory {
        let base: UnsafeMutableRawPointer
    }

    private struct State {
        /// Unused memory by level.
        var free = [[Memory]](repeating: [], count: BufferPool.maximumLevel + 1)
        /// Unused memory by level that was given back to the kernel: only the addresses are kept.
        var empty = [[Memory]](repeating: [], count: BufferPool.maximumLevel + 1)
        /// How many bytes of each level came from the heap one by one.
        var singleBytes = [Int](repeating: 0, count: BufferPool.maximumLevel + 1)
        /// Everything that was allocated.
        var allocated: [Memory] = []
    }

    private static let pieceBytes = 2 << 20
    /// How many bytes of each level come from the heap before the first large piece.
    private static let maximumSingleBytes = 1 << 20
    private let state = Locked(State())
    private let limits: [Int]

    init(maximumBytesPerLevel: Int) {
        limits = (0...BufferPool.maximumLevel).map { $0 == 0 ? .max : maximumBytesPerLevel / (4096 << $0) }
    }

    deinit {
        state.withLock { state in
            for memory in state.allocated { unsafe free(memory.base) }
        }
    }

    /// Memory of 4096 << level bytes.
    func take(level: Int) -> Memory {
        state.withLock { state in
            if let memory = state.free[level].popLast() ?? state.empty[level].popLast() { return memory }
            let size = 4096 << level
            if state.singleBytes[level] < Self.maximumSingleBytes {
                state.singleBytes[level] += size
                let memory = Self.allocate(size, alignment: 4096)
                state.allocated.append(memory)
                return memory
            }
            let piece = Self.allocate(Self.pieceBytes, alignment: Self.pieceBytes)
            state.allocated.append(piece)
            // Advice only: without large pages it works as well.
            _ = unsafe madvise(piece.base, Self.pieceBytes, Int32(MADV_HUGEPAGE))
            for offset in stride(from: Self.pieceBytes - size, to: 0, by: -size) {
                state.free[level].append(unsafe Memory(base: piece.base + offset))
            }
            return piece
        }
    }

    /// Takes memory back.
    func give(_ memory: Memory, byteCount: Int) {
        let level = byteCount.trailingZeroBitCount - 12
        let isKept = state.withLock { state in
            guard state.free[level].count < limits[level] else { return false }
            state.free[level].append(memory)
            return true
        }
        if isKept { return }
        _ = unsafe madvise(memory.base, byteCount, Int32(MADV_DONTNEED))
        state.withLock { $0.empty[level].append(memory) }
    }

    private static func allocate(_ byteCount: Int, alignment: Int) -> Memory {
        var result: UnsafeMutableRawPointer?
        let code = unsafe posix_memalign(&result, alignment, byteCount)
        guard code == 0, let result = unsafe result else { fatalError("out of memory: \(byteCount) bytes") }
        return unsafe Memory(base: result)
    }
}
