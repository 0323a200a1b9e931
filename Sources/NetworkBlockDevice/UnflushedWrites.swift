import BlockDevice
import Platform
import SystemPackage

/// What was written to a server and isn't known to be durable there: a ring in shared memory.
///
/// A server may lose it when it dies; it is written again then. The memory outlives this process too, if somebody holds it.
///
///        0  magic u64       8  head u64: what is before it is durable      16  tail u64
///       64  what is known of the export (`NBDExport`)     128  which of the addresses it is at u64
///     4096  records; position n is at n modulo the capacity
///
/// A record, at a multiple of 64, never broken at the ring's end:
///
///        0  kind u32        4  length of the data u32      8  offset on the disk u64      16  bytes on the disk u64
///       24  void u32: it isn't to be repeated             64  data
///
/// One thread at a time changes it: `NBDCore` has the lock.
public final class UnflushedWrites: Sendable {
    /// Bytes of the memory.
    public static let byteCount = firstOffset + capacity
    /// Bytes that can be kept: beyond them a flush is forced.
    static let capacity = 32 << 20
    /// The longest data of one record.
    static let longestData = 1 << 20
    private static let firstOffset = 4096
    private static let exportOffset = 64
    private static let endpointOffset = 128
    private static let headerBytes = 64
    private static let headOffset = 8
    private static let tailOffset = 16
    private static let magic: UInt64 = 0x3165_7469_7277_6273

    enum Kind: UInt32 {
        case padding = 1
        case write = 2
        case zero = 3
    }

    struct Record: Sendable {
        let kind: Kind
        /// Where it begins in the ring.
        let position: UInt64
        /// Where the next one begins.
        let end: UInt64
        let isVoid: Bool
        /// On the disk.
        let offset: UInt64
        let byteCount: UInt64
        /// In the memory.
        let data: Range<Int>
    }

    private let memory: SharedMapping

    /// Goes on with what is in the memory, at least `byteCount` bytes; zeros are nothing.
    public init(_ memory: SharedMapping) {
        self.memory = memory
        if memory.load64(0) != Self.magic { memory.store64Releasing(0, Self.magic) }
    }

    /// Nothing, in memory of its own: for a process that nobody succeeds.
    public convenience init() throws(Errno) {
        let descriptor = try SharedMemory.create(name: "unflushed", byteCount: Self.byteCount)
        self.init(try SharedMapping(descriptor.rawValue, byteCount: Self.byteCount, writable: true))
    }

    /// What a predecessor knew of the export.
    var export: NBDExport? {
        get { NBDExport(memory, at: Self.exportOffset) }
        set { newValue?.store(memory, at: Self.exportOffset) }
    }

    /// Which of the server's addresses a predecessor was connected to.
    var endpoint: Int {
        get { Int(clamping: memory.load64(Self.endpointOffset)) }
        set { memory.store64(Self.endpointOffset, UInt64(clamping: newValue)) }
    }

    var head: UInt64 { memory.load64(Self.headOffset) }
    var tail: UInt64 { memory.load64Acquiring(Self.tailOffset) }
    var isEmpty: Bool { head == tail }

    /// Whether head and tail can be right.
    var isSound: Bool {
        tail >= head && tail - head <= UInt64(Self.capacity) && (head | tail) % UInt64(Self.headerBytes) == 0
    }

    private static func place(_ position: UInt64) -> Int { firstOffset + Int(position % UInt64(capacity)) }

    private static func recordBytes(_ data: Int) -> Int {
        headerBytes + (data + headerBytes - 1) / headerBytes * headerBytes
    }

    /// Adds what is about to be written; nil if there is no room.
    func append(_ kind: Kind, at offset: UInt64, byteCount: UInt64, _ buffers: [BufferSlice]) -> Record? {
        let length = buffers.reduce(0) { $0 + $1.byteCount }
        precondition(length <= Self.longestData)
        let needed = Self.recordBytes(length)
        var position = tail
        let untilEnd = Self.capacity - Int(position % UInt64(Self.capacity))
        let padding = untilEnd < needed ? untilEnd : 0
        guard UInt64(padding + needed) <= UInt64(Self.capacity) - (position - head) else { return nil }
        if padding > 0 {
            let place = Self.place(position)
            memory.store32(place + 4, UInt32(padding - Self.headerBytes))
            memory.store32(place, Kind.padding.rawValue)
            position += UInt64(padding)
        }
        let place = Self.place(position)
        memory.store32(place, kind.rawValue)
        memory.store32(place + 4, UInt32(length))
        memory.store64(place + 8, offset)
        memory.store64(place + 16, byteCount)
        memory.store32(place + 24, 0)
        var target = place + Self.headerBytes
        for buffer in buffers {
            memory.copyBytes(from: buffer.bytes, at: target)
            target += buffer.byteCount
        }
        memory.store64Releasing(Self.tailOffset, position + UInt64(needed))
        return Record(
            kind: kind, position: position, end: position + UInt64(needed), isVoid: false, offset: offset,
            byteCount: byteCount, data: (place + Self.headerBytes)..<target)
    }

    /// The record at a position from `head` to before `tail`. Throws `.unusable` if it makes no sense: what is noted there was
    /// acknowledged.
    func record(at position: UInt64) throws(BlockDeviceError) -> Record {
        let place = Self.place(position)
        let length = Int(memory.load32(place + 4))
        guard let kind = Kind(rawValue: memory.load32(place)), length <= Self.capacity - Self.headerBytes else {
            throw .unusable("the notes of what was written are damaged")
        }
        let size = Self.recordBytes(length)
        guard size <= Self.capacity - Int(position % UInt64(Self.capacity)), UInt64(size) <= tail - position else {
            throw .unusable("the notes of what was written are damaged")
        }
        let start = place + Self.headerBytes
        return Record(
            kind: kind, position: position, end: position + UInt64(size), isVoid: memory.load32(place + 24) != 0,
            offset: memory.load64(place + 8), byteCount: memory.load64(place + 16), data: start..<(start + length))
    }

    /// The data of a record, in place.
    func data(_ record: Record) -> AlignedBuffer { memory.buffer(record.data.lowerBound, count: record.data.count) }

    /// It failed, and its caller was told: it isn't repeated.
    func void(_ record: Record) { memory.store32Releasing(Self.place(record.position) + 24, 1) }

    /// Everything before the position is durable.
    func drop(before position: UInt64) { if position > head { memory.store64Releasing(Self.headOffset, position) } }
}
