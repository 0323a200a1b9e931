import CLinux
import Glibc
import Synchronization
import SystemPackage

/// Memory files (memfd_create(2)) and their seals.
public enum SharedMemory {
    /// What may no longer happen to a memory file (fcntl(2), F_ADD_SEALS).
    public struct Seals: OptionSet, Sendable {
        /// The kernel's bits.
        public let rawValue: Int32
        /// Seals with the kernel's bits.
        public init(rawValue: Int32) { self.rawValue = rawValue }
        /// No more seals.
        public static let seal = Seals(rawValue: clinux_seal_seal)
        /// It doesn't get smaller: who maps it can't be hit by SIGBUS.
        public static let shrink = Seals(rawValue: clinux_seal_shrink)
        /// It doesn't get larger.
        public static let grow = Seals(rawValue: clinux_seal_grow)
        /// Nobody writes it any more; impossible while a writable mapping exists.
        public static let write = Seals(rawValue: clinux_seal_write)
        /// Nobody gets a new way to write it; writable mappings that exist stay.
        public static let futureWrite = Seals(rawValue: clinux_seal_future_write)
    }

    /// A memory file of zeros whose size can't change.
    public static func create(name: String, byteCount: Int) throws(Errno) -> OwnedDescriptor {
        let number = try SystemCall.retrying { unsafe clinux_memfd_create(name) }
        let descriptor = OwnedDescriptor(adopting: number)
        guard let size = UInt64(exactly: byteCount) else { throw .invalidArgument }
        try SystemCall.truncate(descriptor.rawValue, to: size)
        try addSeals(descriptor.rawValue, [.shrink, .grow])
        return descriptor
    }

    /// Adds seals; EPERM if the file has `.seal`, EBUSY for `.write` while a writable mapping exists.
    public static func addSeals(_ descriptor: Int32, _ seals: Seals) throws(Errno) {
        try SystemCall.retrying { clinux_add_seals(descriptor, seals.rawValue) }
    }

    /// The seals of a memory file; EINVAL if it is none.
    public static func seals(_ descriptor: Int32) throws(Errno) -> Seals {
        Seals(rawValue: try SystemCall.retrying { clinux_get_seals(descriptor) })
    }

    /// The next range at or after `offset` that was ever written; nil if there is none.
    public static func nextTouchedRange(_ descriptor: Int32, from offset: Int) throws(Errno) -> Range<Int>? {
        guard let position = UInt64(exactly: offset) else { throw .invalidArgument }
        do throws(Errno) {
            let start = try SystemCall.seek(descriptor, toDataFrom: position)
            let end = try SystemCall.seek(descriptor, toHoleFrom: start)
            guard let first = Int(exactly: start), let last = Int(exactly: end), first <= last else { return nil }
            return first..<last
        } catch .noSuchAddressOrDevice {
            return nil
        }
    }

    /// Checks a descriptor that came from another process: a memory file of this size that can't change its size under us,
    /// with at least the `required` seals. EINVAL otherwise.
    public static func verify(_ descriptor: Int32, byteCount: Int, required: Seals = []) throws(Errno) {
        guard try seals(descriptor).isSuperset(of: required.union([.shrink, .grow])),
            try SystemCall.status(descriptor).st_size == byteCount
        else { throw .invalidArgument }
    }
}

/// A shared mapping of a whole memory file: unmapped when the last reference goes.
///
/// Other processes change the memory at any time. Words that two sides use are read and written by the atomic accessors;
/// spans are for memory whose other user is known to keep off (by the protocol above), or whose contents don't matter to us.
/// Offsets are checked by preconditions: they are our own, computed from a checked geometry, never a peer's.
@safe
public final class SharedMapping: @unchecked Sendable {
    /// Bytes mapped.
    public let byteCount: Int
    /// Whether this process may write.
    public let isWritable: Bool
    @usableFromInline let base: UnsafeMutableRawPointer

    /// Maps the first `byteCount` bytes of a memory file; the descriptor may be closed afterwards.
    public init(_ descriptor: Int32, byteCount: Int, writable: Bool) throws(Errno) {
        guard byteCount > 0 else { throw .invalidArgument }
        guard let mapped = unsafe clinux_map_shared(nil, byteCount, writable ? 1 : 0, descriptor) else {
            throw Errno(rawValue: errno)
        }
        unsafe base = mapped
        self.byteCount = byteCount
        isWritable = writable
    }

    deinit {
        _ = unsafe munmap(base, byteCount)
    }

    /// Puts another memory file of at least the same size in this mapping's place, at the same address, in one step.
    ///
    /// Who reads at the same time sees the old or the new contents of each page.
    public func replace(with descriptor: Int32) throws(Errno) {
        guard unsafe clinux_map_shared(base, byteCount, isWritable ? 1 : 0, descriptor) != nil else {
            throw Errno(rawValue: errno)
        }
    }

    /// Keeps the pages in memory (mlock(2)): a fault on them can't fail a system call that is being killed.
    public func lockInMemory() throws(Errno) {
        try SystemCall.retrying { unsafe mlock(base, byteCount) }
    }

    // MARK: Words

    /// The 32-bit word at an offset that is a multiple of 4.
    @inlinable
    func word32(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
        precondition(offset >= 0 && offset <= byteCount - 4 && offset & 3 == 0)
        return unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// The 64-bit word at an offset that is a multiple of 8.
    @inlinable
    func word64(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        precondition(offset >= 0 && offset <= byteCount - 8 && offset & 7 == 0)
        return unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Reads a word once, without ordering.
    @inlinable
    public func load32(_ offset: Int) -> UInt32 { unsafe word32(offset).pointee.load(ordering: .relaxed) }

    /// Reads a word once; what its writer wrote before is visible afterwards.
    @inlinable
    public func load32Acquiring(_ offset: Int) -> UInt32 { unsafe word32(offset).pointee.load(ordering: .acquiring) }

    /// Writes a word without ordering.
    @inlinable
    public func store32(_ offset: Int, _ value: UInt32) {
        unsafe word32(offset).pointee.store(value, ordering: .relaxed)
    }

    /// Writes a word; what was written before is visible to who reads the new value.
    @inlinable
    public func store32Releasing(_ offset: Int, _ value: UInt32) {
        unsafe word32(offset).pointee.store(value, ordering: .releasing)
    }

    /// Reads a word once, without ordering.
    @inlinable
    public func load64(_ offset: Int) -> UInt64 { unsafe word64(offset).pointee.load(ordering: .relaxed) }

    /// Reads a word once; what its writer wrote before is visible afterwards.
    @inlinable
    public func load64Acquiring(_ offset: Int) -> UInt64 { unsafe word64(offset).pointee.load(ordering: .acquiring) }

    /// Writes a word without ordering.
    @inlinable
    public func store64(_ offset: Int, _ value: UInt64) {
        unsafe word64(offset).pointee.store(value, ordering: .relaxed)
    }

    /// Writes a word; what was written before is visible to who reads the new value.
    @inlinable
    public func store64Releasing(_ offset: Int, _ value: UInt64) {
        unsafe word64(offset).pointee.store(value, ordering: .releasing)
    }

    /// Adds to a word that only one thread writes at a time: no locked instruction.
    @inlinable
    public func add64(_ offset: Int, _ value: UInt64) {
        store64(offset, load64(offset) &+ value)
    }

    /// Adds to a word that several threads and processes write, and returns what was there before.
    @inlinable
    public func fetchAdd64(_ offset: Int, _ value: UInt64) -> UInt64 {
        unsafe word64(offset).pointee.wrappingAdd(value, ordering: .relaxed).oldValue
    }

    /// Orders all reads and writes before it with all after it, also a write with a later read.
    @inlinable
    public static func fence() { atomicMemoryFence(ordering: .sequentiallyConsistent) }

    // MARK: Futex

    /// Sleeps while the word has the value, for at most `nanoseconds` (without limit if nil).
    ///
    /// Returns also for no reason: look again. Works on a read-only mapping.
    public func futexWait(_ offset: Int, while expected: UInt32, nanoseconds: UInt64? = nil) {
        let limit = nanoseconds.map { Int64(clamping: $0) } ?? -1
        // EAGAIN (the value changed), ETIMEDOUT and EINTR all mean the same to the caller: look again.
        _ = unsafe clinux_futex_wait(word32(offset), expected, limit)
    }

    /// Wakes up to `count` sleepers of the word, in any process; returns how many there were.
    @discardableResult
    public func futexWake(_ offset: Int, count: Int32 = 1) -> Int {
        max(0, Int(unsafe clinux_futex_wake(word32(offset), count)))
    }

    // MARK: Bytes

    /// Part of the memory.
    @inlinable
    @_lifetime(borrow self)
    public func bytes(_ offset: Int, count: Int) -> RawSpan {
        precondition(offset >= 0 && count >= 0 && count <= byteCount && offset <= byteCount - count)
        let span = unsafe RawSpan(_unsafeStart: base + offset, byteCount: count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// Part of the memory, to write it. Only on a writable mapping.
    @inlinable
    @_lifetime(borrow self)
    public func mutableBytes(_ offset: Int, count: Int) -> MutableRawSpan {
        precondition(isWritable && offset >= 0 && count >= 0 && count <= byteCount && offset <= byteCount - count)
        let span = unsafe MutableRawSpan(_unsafeStart: base + offset, byteCount: count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// Part of the memory, tied to the life of what holds the mapping: `bytes` for a stored reference.
    @inlinable
    @_lifetime(borrow owner)
    public func bytes<Owner: AnyObject>(_ offset: Int, count: Int, heldBy owner: Owner) -> RawSpan {
        precondition(offset >= 0 && count >= 0 && count <= byteCount && offset <= byteCount - count)
        let span = unsafe RawSpan(_unsafeStart: base + offset, byteCount: count)
        return unsafe _overrideLifetime(span, borrowing: owner)
    }

    /// Part of the memory to write, tied to the life of what holds the mapping.
    @inlinable
    @_lifetime(borrow owner)
    public func mutableBytes<Owner: AnyObject>(_ offset: Int, count: Int, heldBy owner: Owner) -> MutableRawSpan {
        precondition(isWritable && offset >= 0 && count >= 0 && count <= byteCount && offset <= byteCount - count)
        let span = unsafe MutableRawSpan(_unsafeStart: base + offset, byteCount: count)
        return unsafe _overrideLifetime(span, borrowing: owner)
    }

    /// Copies bytes into the memory; they must fit.
    @inlinable
    public func copyBytes(from source: RawSpan, at offset: Int) {
        precondition(
            isWritable && offset >= 0 && source.byteCount <= byteCount && offset <= byteCount - source.byteCount)
        unsafe source.withUnsafeBytes { raw in
            if let start = raw.baseAddress { unsafe memcpy(base + offset, start, raw.count) }
        }
    }

    /// Makes whole pages zero and gives their memory back (MADV_REMOVE). Where the kernel can't, they are only made zero.
    public func discard(_ offset: Int, count: Int) {
        precondition(
            isWritable && offset >= 0 && count >= 0 && count <= byteCount && offset <= byteCount - count
                && (offset | count) & 4095 == 0)
        if unsafe madvise(base + offset, count, Int32(MADV_REMOVE)) != 0 {
            unsafe memset(base + offset, 0, count)
        }
    }

    /// A buffer over part of the memory, for block devices; it keeps the mapping alive.
    public func buffer(_ offset: Int, count: Int) -> AlignedBuffer {
        precondition(offset >= 0 && count >= 0 && count <= byteCount && offset <= byteCount - count)
        return unsafe AlignedBuffer(mapped: base + offset, byteCount: count, owner: self)
    }
}

/// Tells the processor that the thread waits in a loop.
@inlinable
public func spinHint() { clinux_pause() }
