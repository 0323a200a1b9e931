import DiskFormat

// Positions in a directory. Entries are read in the order of their name hashes, which is the order of the tree, so that
// a position stays valid while entries come and go, and needs no state:
//
//     bits 31..62  the 32 bits that the tree is sorted by
//     bits 15..30  16 further bits of the same 64-bit hash
//     bits 0..14   which of the names that are equal in all of these, in order of their bytes
//
// The next position is one more. Two names seldom agree in 48 bits, unless somebody makes them so: SeaHash can be
// inverted. Each of up to 32,768 such names still has a position of its own.
enum DirectoryKey {
    /// Bits that number the names whose other bits are the same.
    static let ordinalBits: UInt64 = 15
    /// The highest of these numbers.
    static let maximumOrdinal: UInt64 = 1 << ordinalBits - 1

    /// The key of a name, with 0 in the last 15 bits.
    static func of(_ name: RawSpan) -> UInt64 {
        let hash = SeaHash.hash(name)
        let low = UInt64(min(UInt32(truncatingIfNeeded: hash), NameHash.maximum))
        return low &<< 31 | (hash &>> 32 & 0xFFFF) &<< ordinalBits
    }

    /// The part of a position that the tree is sorted by.
    static func treeHash(_ position: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: position &>> 31) }
}
