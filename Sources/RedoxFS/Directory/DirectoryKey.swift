import DiskFormat

// Positions in a directory. Entries are read in the order of their name hashes, which is the order of the tree, so that
// a position stays valid while entries come and go, and needs no state:
//
//     bits 31..62  the 32 bits that the tree is sorted by
//     bits 3..30   28 further bits of the same 64-bit hash
//     bits 0..2    which of the names that are equal in all of these, in order of their bytes
//
// The next position is one more. Names that agree in 60 bits are not to be expected; seven of them are still told apart.
enum DirectoryKey {
    /// The key of a name, with 0 in the last three bits.
    static func of(_ name: RawSpan) -> UInt64 {
        let hash = SeaHash.hash(name)
        let low = UInt64(min(UInt32(truncatingIfNeeded: hash), NameHash.maximum))
        return low &<< 31 | (hash &>> 32 & 0x0FFF_FFFF) &<< 3
    }

    /// The part of a position that the tree is sorted by.
    static func treeHash(_ position: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: position &>> 31) }
}
