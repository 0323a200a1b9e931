/// What a block of metadata is. The raw values are ranks: a block's parent always has a higher one, so that a commit
/// which goes through them in order writes every block before the one that points to it.
struct BlockKind: RawRepresentable, Hashable, Sendable {
    let rawValue: UInt8

    /// A list of pointers with 1 to 4 levels of lists, its own among them.
    static func list(levels: Int) -> BlockKind { BlockKind(rawValue: UInt8(truncatingIfNeeded: levels)) }
    /// A list of directory entries.
    static let directoryList = BlockKind(rawValue: 5)
    /// A hash-tree block, so many levels above the directory lists: 1 to 15.
    static func hashTree(level: Int) -> BlockKind { BlockKind(rawValue: UInt8(truncatingIfNeeded: 5 &+ level)) }
    /// A node.
    static let node = BlockKind(rawValue: 24)
    /// A tree block; level 0 points to nodes, level 3 is the top.
    static func tree(level: Int) -> BlockKind { BlockKind(rawValue: UInt8(truncatingIfNeeded: 25 &+ level)) }
    /// How many ranks there are.
    static let count = 29

    /// A rank.
    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Whether it is a list of record pointers, of any level.
    var isList: Bool { rawValue >= 1 && rawValue <= 4 }
    /// Whether it is a hash-tree block.
    var isHashTree: Bool { rawValue > 5 && rawValue <= 20 }
    /// Whether it is a block of the node tree.
    var isTree: Bool { rawValue >= 25 }
}
