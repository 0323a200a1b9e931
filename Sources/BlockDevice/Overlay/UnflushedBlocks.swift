import Platform
import SystemPackage

/// The blocks that were given a place in an overlay file, and are not in its tables yet: a ring in shared memory.
///
/// What is written must be there after the death of the process that wrote it (`OverlayFileDevice` has put the contents into the
/// file), but may not be in a table before a flush, which would be wrong after a loss of power. So it is noted here, in
/// memory that the process's successor gets.
///
///      0  magic u64      8  head u64: notes before it are in the tables      16  tail u64
///     4096  notes of 16 bytes: block u64, place u64; note n at n modulo the capacity
public final class UnflushedBlocks: Sendable {
    /// Bytes of the memory.
    public static let byteCount = firstOffset + capacity * noteBytes
    static let capacity = 65536
    private static let firstOffset = 4096
    private static let noteBytes = 16
    private static let magic: UInt64 = 0x736b_636f_6c62_4253
    private static let headOffset = 8
    private static let tailOffset = 16

    private let memory: SharedMapping

    /// Goes on with the notes in the memory, at least `byteCount` bytes; zeros are none.
    public init(_ memory: SharedMapping) {
        self.memory = memory
        if memory.load64(0) != Self.magic { memory.store64Releasing(0, Self.magic) }
    }

    /// No notes, in memory of its own: for a process that nobody succeeds.
    public convenience init() throws(Errno) {
        let descriptor = try SharedMemory.create(name: "overlay", byteCount: Self.byteCount)
        self.init(try SharedMapping(descriptor.rawValue, byteCount: Self.byteCount, writable: true))
    }

    /// The number of the first note that isn't in the tables.
    var head: UInt64 { memory.load64(Self.headOffset) }

    /// The number of the next note.
    var tail: UInt64 { memory.load64Acquiring(Self.tailOffset) }

    /// The notes from `head` on. Throws `.unusable` if the memory makes no sense: what is noted there was acknowledged.
    func notes(upTo end: UInt64) throws(BlockDeviceError) -> [(block: UInt64, place: UInt64)] {
        let start = head
        guard end >= start, end - start <= UInt64(Self.capacity) else {
            throw .unusable("the notes of what was written to the overlay are damaged")
        }
        return (start..<end).map { number in
            let offset = Self.offset(number)
            return (memory.load64(offset), memory.load64(offset + 8))
        }
    }

    /// Room for notes.
    var room: Int { max(0, Self.capacity - Int(clamping: tail &- head)) }

    /// Adds a note; there must be room.
    func append(block: UInt64, place: Int) {
        let number = tail
        let offset = Self.offset(number)
        memory.store64(offset, block)
        memory.store64(offset + 8, UInt64(place))
        memory.store64Releasing(Self.tailOffset, number &+ 1)
    }

    /// All notes before this one are in the tables.
    func drop(before number: UInt64) { memory.store64Releasing(Self.headOffset, number) }

    private static func offset(_ number: UInt64) -> Int {
        firstOffset + Int(number % UInt64(capacity)) * noteBytes
    }
}
