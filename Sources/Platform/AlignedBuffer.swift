import Glibc

/// Page-aligned memory of a fixed size: blocks on their way to and from a device.
///
/// The contents may be changed only by who holds the only reference (`isKnownUniquelyReferenced`), or who knows that
/// nobody reads at the same time: the class itself doesn't synchronise.
@safe
public final class AlignedBuffer: @unchecked Sendable {
    /// The size in bytes.
    public let byteCount: Int
    @usableFromInline let base: UnsafeMutableRawPointer
    /// Mapped by itself rather than taken from the heap.
    private let isMapped: Bool
    /// Whose memory it is, if not the buffer's own.
    private let owner: AnyObject?
    /// Where the memory goes back to, if it is a pool's.
    private let storage: BufferStorage?

    /// From this size on zeroed memory is mapped: the kernel hands out zero pages as they are touched.
    private static let mappingThreshold = 1 << 20

    /// A buffer of zeros.
    public init(byteCount: Int) {
        precondition(byteCount >= 0)
        self.byteCount = byteCount
        owner = nil
        storage = nil
        if byteCount >= Self.mappingThreshold {
            let mapped = unsafe mmap(
                nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
            guard let mapped = unsafe mapped, unsafe mapped != UnsafeMutableRawPointer(bitPattern: -1) else {
                fatalError("out of memory: \(byteCount) bytes")
            }
            unsafe base = mapped
            isMapped = true
        } else {
            unsafe base = Self.allocate(byteCount)
            unsafe memset(base, 0, byteCount)
            isMapped = false
        }
    }

    /// A buffer of zeros whose memory is there at once, in large pages if the kernel has any: for measurements, which
    /// shouldn't measure how the kernel hands out memory.
    public convenience init(residentByteCount byteCount: Int) {
        self.init(byteCount: byteCount)
        guard isMapped else { return }
        // Advice only: without it the memory comes page by page as it is touched.
        _ = unsafe madvise(base, byteCount, Int32(MADV_HUGEPAGE))
        _ = unsafe madvise(base, byteCount, Int32(MADV_POPULATE_WRITE))
    }

    /// A buffer with undefined contents, for who fills it before reading.
    public init(uninitializedByteCount byteCount: Int) {
        precondition(byteCount >= 0)
        self.byteCount = byteCount
        unsafe base = Self.allocate(byteCount)
        isMapped = false
        owner = nil
        storage = nil
    }

    /// A buffer over memory of a pool.
    init(pooled memory: BufferStorage.Memory, byteCount: Int, storage: BufferStorage) {
        self.byteCount = byteCount
        unsafe base = memory.base
        isMapped = false
        owner = nil
        self.storage = storage
    }

    /// A buffer over memory that belongs to `owner`, which it keeps alive.
    init(mapped base: UnsafeMutableRawPointer, byteCount: Int, owner: AnyObject) {
        self.byteCount = byteCount
        unsafe self.base = base
        isMapped = false
        self.owner = owner
        storage = nil
    }

    /// A copy of the bytes.
    public convenience init(copying bytes: RawSpan) {
        self.init(uninitializedByteCount: bytes.byteCount)
        copyBytes(from: bytes, at: 0)
    }

    deinit {
        if let storage {
            storage.give(unsafe BufferStorage.Memory(base: base), byteCount: byteCount)
            return
        }
        if owner != nil { return }
        if isMapped {
            _ = unsafe munmap(base, byteCount)
        } else {
            unsafe free(base)
        }
    }

    private static func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        var result: UnsafeMutableRawPointer?
        let code = unsafe posix_memalign(&result, 4096, max(byteCount, 1))
        guard code == 0, let result = unsafe result else { fatalError("out of memory: \(byteCount) bytes") }
        return unsafe result
    }

    /// The contents.
    @inlinable public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe RawSpan(_unsafeStart: base, byteCount: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The contents, to change them. Only for who holds the buffer alone.
    @inlinable public var mutableBytes: MutableRawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Part of the contents.
    @inlinable
    @_lifetime(borrow self)
    public func bytes(_ range: Range<Int>) -> RawSpan {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        let span = unsafe RawSpan(_unsafeStart: base + range.lowerBound, byteCount: range.count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// Part of the contents, to change it. Only for who holds the buffer alone.
    @inlinable
    @_lifetime(borrow self)
    public func mutableBytes(_ range: Range<Int>) -> MutableRawSpan {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        let span = unsafe MutableRawSpan(_unsafeStart: base + range.lowerBound, byteCount: range.count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// Copies bytes into the buffer from position `offset` on; they must fit. Source and destination may overlap.
    @inlinable public func copyBytes(from source: RawSpan, at offset: Int) {
        precondition(offset >= 0 && source.byteCount <= byteCount - offset)
        unsafe source.withUnsafeBytes { raw in
            guard let start = raw.baseAddress else { return }
            unsafe memmove(base + offset, start, raw.count)
        }
    }

    /// Sets a range to zeros.
    @inlinable public func zero(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        unsafe memset(base + range.lowerBound, 0, range.count)
    }
}

/// Part of a buffer, kept alive with it: what a device is asked to write.
public struct BufferSlice: Sendable {
    /// The buffer.
    public let buffer: AlignedBuffer
    /// The bytes of the buffer that are meant, always inside it.
    public let range: Range<Int>

    /// Part of a buffer; the range must lie inside.
    @inlinable public init(_ buffer: AlignedBuffer, _ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= buffer.byteCount)
        self.buffer = buffer
        self.range = range
    }

    /// All of a buffer.
    @inlinable public init(_ buffer: AlignedBuffer) {
        self.buffer = buffer
        range = 0..<buffer.byteCount
    }

    /// The length in bytes.
    @inlinable public var byteCount: Int { range.count }

    /// The contents.
    @inlinable public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe RawSpan(_unsafeStart: buffer.base + range.lowerBound, byteCount: range.count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }
}

extension MutableRawSpan {
    /// Copies bytes into the span from position `offset` on; they must fit.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func copyBytes(from source: RawSpan, at offset: Int = 0) {
        precondition(offset >= 0 && source.byteCount <= byteCount - offset)
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { raw in
                guard let start = raw.baseAddress, let to = target.baseAddress else { return }
                unsafe memmove(to + offset, start, raw.count)
            }
        }
    }

    /// Sets a range to zeros.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func zero(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        unsafe withUnsafeMutableBytes { target in
            guard let start = target.baseAddress else { return }
            unsafe memset(start + range.lowerBound, 0, range.count)
        }
    }

    /// Sets all bytes to zero.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func zeroAll() {
        unsafe withUnsafeMutableBytes { target in
            guard let start = target.baseAddress else { return }
            unsafe memset(start, 0, target.count)
        }
    }
}
