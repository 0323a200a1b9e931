/// A hash-tree block of a directory: 204 entries of 20 bytes (u32 hash, pointer), sorted by hash, unused ones last. All
/// functions expect a span of a whole block; an index must be one of the 204.
public enum HashTreeBlock {
    /// Entries in a block.
    public static let entryCount = 204
    /// Bytes of an entry.
    public static let entrySize = 20

    /// The hash of an entry: the largest name hash below it.
    @inlinable public static func hash(_ block: RawSpan, _ index: Int) -> UInt32 { block.u32(at: index &* 20) }

    /// The pointer of an entry.
    @inlinable
    public static func pointer(_ block: RawSpan, _ index: Int) -> BlockPointer {
        BlockPointer(block, at: index &* 20 &+ 4)
    }

    /// Whether an entry is in use: it points to something.
    @inlinable public static func isUsed(_ block: RawSpan, _ index: Int) -> Bool { !pointer(block, index).isNull }

    /// Number of entries in use, which are the first ones in a block that passed `check`.
    @inlinable
    public static func usedCount(_ block: RawSpan) -> Int { lowerBound(block, NameHash.unused) }

    /// The first entry whose hash is not below the given one; `entryCount` if there is none. Unused entries count with
    /// their hash, which is above all others: with such a result there is no entry for the hash.
    @inlinable
    public static func lowerBound(_ block: RawSpan, _ hash: UInt32) -> Int {
        var low = 0
        var high = entryCount
        while low < high {
            let middle = (low &+ high) &>> 1
            if Self.hash(block, middle) < hash { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// The entry below which a name of the given hash is to be inserted: the first whose hash is not below it, else the
    /// last one in use. Nil in a block without entries.
    @inlinable
    public static func insertionIndex(_ block: RawSpan, _ hash: UInt32) -> Int? {
        let used = usedCount(block)
        return used == 0 ? nil : min(lowerBound(block, hash), used &- 1)
    }

    /// Makes sure that entries in use come first, are sorted by hash, and none has the hash of unused ones.
    public static func check(_ block: RawSpan) throws(FormatError) {
        try FormatError.checkBlock(block, .hashTree)
        var used = 0
        while used < entryCount, isUsed(block, used) { used &+= 1 }
        for index in 0..<used {
            let found = hash(block, index)
            guard found != NameHash.unused, !pointer(block, index).isMarker else {
                throw FormatError(.hashTree, .value, at: index * entrySize, value: UInt64(found))
            }
            guard index == 0 || hash(block, index - 1) <= found else {
                throw FormatError(.hashTree, .order, at: index * entrySize, value: UInt64(found))
            }
        }
        for index in used..<entryCount {
            guard !isUsed(block, index) else { throw FormatError(.hashTree, .order, at: index * entrySize) }
            let found = hash(block, index)
            guard found == NameHash.unused else {
                throw FormatError(.hashTree, .value, at: index * entrySize, value: UInt64(found))
            }
        }
    }

    // MARK: Changes

    /// Makes all entries unused.
    @inlinable
    @_lifetime(block: copy block)
    public static func clear(_ block: inout MutableRawSpan) {
        block.fill(0..<Limits.blockSize)
        for index in 0..<entryCount { block.setU32(NameHash.unused, at: index &* 20) }
    }

    /// Stores an entry.
    @inlinable
    @_lifetime(block: copy block)
    public static func setEntry(_ block: inout MutableRawSpan, _ index: Int, hash: UInt32, _ pointer: BlockPointer) {
        block.setU32(hash, at: index &* 20)
        pointer.encode(into: &block, at: index &* 20 &+ 4)
    }

    /// Stores an entry's pointer and keeps its hash.
    @inlinable
    @_lifetime(block: copy block)
    public static func setPointer(_ block: inout MutableRawSpan, _ index: Int, _ pointer: BlockPointer) {
        pointer.encode(into: &block, at: index &* 20 &+ 4)
    }

    /// Inserts an entry before the one at an index, which must not be above the number of used ones; false if the block is
    /// full.
    @inlinable
    @_lifetime(block: copy block)
    public static func insert(
        _ block: inout MutableRawSpan, at index: Int, hash: UInt32, _ pointer: BlockPointer
    ) -> Bool {
        let used = usedCount(block.bytes)
        guard used < entryCount, index >= 0, index <= used else { return false }
        block.moveBytes(index &* 20..<used &* 20, to: (index &+ 1) &* 20)
        setEntry(&block, index, hash: hash, pointer)
        return true
    }

    /// Removes the entry at an index; the ones behind it move up.
    @inlinable
    @_lifetime(block: copy block)
    public static func remove(_ block: inout MutableRawSpan, at index: Int) {
        guard index >= 0, index < entryCount else { return }
        block.moveBytes((index &+ 1) &* 20..<entryCount &* 20, to: index &* 20)
        setEntry(&block, entryCount &- 1, hash: NameHash.unused, .null)
    }
}

/// The two pointers of a directory's node that lead to its hash tree.
public enum DirectoryRoot {
    /// What a directory's first two pointers say.
    public enum Content: Hashable, Sendable {
        /// No entry.
        case empty
        /// A hash tree with so many levels of hash-tree blocks above the directory lists, and its root: the one
        /// directory list at depth 0, a hash-tree block above.
        case tree(depth: Int, root: BlockPointer)
    }

    /// The deepest tree that is accepted: 204^6 lists are more than any disk holds.
    public static let maximumDepth = 6

    /// What the node block of a directory says.
    public static func content(_ node: RawSpan) throws(FormatError) -> Content {
        let first = NodeBlock.pointer(node, 0)
        guard !first.isNull else { return .empty }
        let depth = first.address.level
        guard first.isMarker, depth <= maximumDepth else {
            throw FormatError(.node, .value, at: NodeBlock.Offset.content, value: first.address.rawValue)
        }
        let root = NodeBlock.pointer(node, 1)
        guard !root.isNull, !root.isMarker else {
            throw FormatError(.node, .value, at: NodeBlock.Offset.content + 16, value: root.address.rawValue)
        }
        return .tree(depth: depth, root: root)
    }

    /// Stores the two pointers.
    @_lifetime(node: copy node)
    public static func store(_ content: Content, into node: inout MutableRawSpan) {
        switch content {
        case .empty:
            NodeBlock.setPointer(&node, 0, .null)
            NodeBlock.setPointer(&node, 1, .null)
        case .tree(let depth, let root):
            NodeBlock.setPointer(&node, 0, .marker(depth: depth))
            NodeBlock.setPointer(&node, 1, root)
        }
    }
}
