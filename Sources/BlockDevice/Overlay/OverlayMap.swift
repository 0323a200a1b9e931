/// Where the blocks of a base are that have contents of their own, in memory. Two levels: it costs what is written, not what
/// the base could hold.
struct OverlayMap {
    private static let leafBlocks = 1024

    /// The place plus 1 of each block, 0 for none. A leaf without any is empty.
    private var leaves: [[UInt32]]
    /// Blocks that have a place.
    private(set) var count = 0

    init(blockCount: UInt64) {
        leaves = Array(repeating: [], count: Int(blockCount / UInt64(Self.leafBlocks)) + 1)
    }

    /// The place of a block.
    subscript(block: UInt64) -> Int? {
        let leaf = leaves[Int(block / UInt64(Self.leafBlocks))]
        guard !leaf.isEmpty else { return nil }
        let place = leaf[Int(block % UInt64(Self.leafBlocks))]
        return place == 0 ? nil : Int(place) - 1
    }

    /// Gives a block its place. It keeps it for ever.
    mutating func set(_ block: UInt64, _ place: UInt32) {
        let index = Int(block / UInt64(Self.leafBlocks))
        if leaves[index].isEmpty { leaves[index] = Array(repeating: 0, count: Self.leafBlocks) }
        leaves[index][Int(block % UInt64(Self.leafBlocks))] = place + 1
        count += 1
    }

    /// How far the blocks from this one on lie together: none of them with a place, or in places that follow one another in the file.
    ///
    /// - Returns: the place of the first, nil if the base has them, and how many there are, at most `limit`.
    func run(from block: UInt64, limit: UInt64) -> (place: Int?, count: UInt64) {
        let first = self[block]
        var count: UInt64 = 1
        while count < limit {
            let next = self[block + count]
            if let first {
                // A table lies between two segments.
                let wanted = first + Int(count)
                if next != wanted || wanted % OverlayFormat.segmentBlocks == 0 { break }
            } else if next != nil {
                break
            }
            count += 1
        }
        return (first, count)
    }
}
