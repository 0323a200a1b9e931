import DiskFormat

// A block that has no place on disk yet is known by a virtual address: its number has the highest bit set, which no
// device is large enough for. It stands in its parent's pointer like a real one, so that all walks are the same, until
// the commit gives the block its place. Pointers read from disk are checked before use and can't be virtual.
extension BlockAddress {
    private static let virtualBit: UInt64 = 1 << 55

    /// The address of something that waits for its place.
    @inline(__always)
    static func virtual(_ counter: UInt64, level: Int) -> BlockAddress {
        BlockAddress(number: virtualBit | counter, level: level)
    }

    /// Whether the block has no place on disk yet.
    @inline(__always)
    var isVirtual: Bool { number & Self.virtualBit != 0 }
}
