/// A block of the allocation log: a pointer to the block before it (null ends), then 255 entries. All functions expect a
/// span of a whole block; an index must be one of the 255.
public enum AllocationLogBlock {
    /// Entries in a block.
    public static let entryCount = 255

    /// A run of blocks that became free or used.
    public struct Entry: Hashable, Sendable {
        /// The first block.
        public var block: UInt64
        /// Above 0: so many blocks became free. Below: became used. 0: no entry.
        public var count: Int64

        /// An entry of its parts.
        @inlinable
        public init(block: UInt64, count: Int64) {
            self.block = block
            self.count = count
        }

        /// Whether nothing is stored here.
        @inlinable public var isUnused: Bool { count == 0 }

        /// Whether the blocks became free.
        @inlinable public var frees: Bool { count > 0 }

        /// The blocks, if they all lie where the log may speak of in a file system of so many blocks; else nil.
        @inlinable
        public func blocks(total: UInt64) -> Range<UInt64>? {
            let length = count.magnitude
            guard length > 0, block >= Limits.firstAllocatableBlock, block <= total, length <= total - block else {
                return nil
            }
            return block..<(block &+ length)
        }
    }

    /// The pointer to the block before.
    @inlinable public static func previous(_ block: RawSpan) -> BlockPointer { BlockPointer(block, at: 0) }

    /// The entry at an index.
    @inlinable
    public static func entry(_ block: RawSpan, _ index: Int) -> Entry {
        let offset = (index &+ 1) &* 16
        return Entry(block: block.u64(at: offset), count: Int64(bitPattern: block.u64(at: offset &+ 8)))
    }

    /// Stores the pointer to the block before.
    @inlinable
    @_lifetime(block: copy block)
    public static func setPrevious(_ block: inout MutableRawSpan, _ pointer: BlockPointer) {
        pointer.encode(into: &block, at: 0)
    }

    /// Stores the entry at an index.
    @inlinable
    @_lifetime(block: copy block)
    public static func setEntry(_ block: inout MutableRawSpan, _ index: Int, _ entry: Entry) {
        let offset = (index &+ 1) &* 16
        block.setU64(entry.block, at: offset)
        block.setU64(UInt64(bitPattern: entry.count), at: offset &+ 8)
    }
}

/// A block of the release list: nodes without a name that were still open. A pointer to the block before it, then 1020 node
/// numbers, 0 = unused. All functions expect a span of a whole block; an index must be one of the 1020.
public enum ReleaseListBlock {
    /// Node numbers in a block.
    public static let nodeCount = 1020

    /// The pointer to the block before.
    @inlinable public static func previous(_ block: RawSpan) -> BlockPointer { BlockPointer(block, at: 0) }

    /// The node number at an index; 0 = none.
    @inlinable
    public static func node(_ block: RawSpan, _ index: Int) -> NodeID { NodeID(block.u32(at: 16 &+ index &* 4)) }

    /// Stores the pointer to the block before.
    @inlinable
    @_lifetime(block: copy block)
    public static func setPrevious(_ block: inout MutableRawSpan, _ pointer: BlockPointer) {
        pointer.encode(into: &block, at: 0)
    }

    /// Stores the node number at an index; 0 removes it.
    @inlinable
    @_lifetime(block: copy block)
    public static func setNode(_ block: inout MutableRawSpan, _ index: Int, _ node: NodeID) {
        block.setU32(node.rawValue, at: 16 &+ index &* 4)
    }
}
