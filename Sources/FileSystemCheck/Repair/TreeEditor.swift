import DiskFormat
import Platform

/// The tree with changes that are not written yet. A tree block that can't be read counts as empty.
struct TreeEditor {
    let reader: BlockReader
    private let root: BlockPointer
    private var blocks: [TreePosition: AlignedBuffer] = [:]
    private var changed: Set<TreePosition> = []
    /// Blocks whose bits for the blocks below can't be trusted.
    private var untrusted: Set<TreePosition> = []

    init(reader: BlockReader, root: BlockPointer) {
        self.reader = reader
        self.root = root
    }

    /// The position of the block of a level that lies on the way to a node.
    private static func position(_ level: Int, of node: UInt32) -> TreePosition {
        TreePosition(level: level, prefix: level >= 3 ? 0 : node & (UInt32.max << UInt32((level + 1) * 8)))
    }

    private mutating func block(at position: TreePosition) -> AlignedBuffer {
        if let block = blocks[position] { return block }
        var pointer = root
        if position.level < 3 {
            let parent = block(at: Self.position(position.level + 1, of: position.prefix))
            pointer = TreeBlock.pointer(
                parent.bytes, NodeID(position.prefix).treeIndex(level: position.level + 1))
        }
        let found = pointer.isNull ? nil : try? reader.readVerified(pointer)
        let block =
            found.map { $0.byteCount == Limits.blockSize ? $0 : AlignedBuffer(byteCount: Limits.blockSize) }
            ?? AlignedBuffer(byteCount: Limits.blockSize)
        blocks[position] = block
        return block
    }

    private mutating func change(_ position: TreePosition) -> AlignedBuffer {
        let block = block(at: position)
        for level in position.level...3 {
            let above = Self.position(level, of: position.prefix)
            _ = self.block(at: above)
            changed.insert(above)
        }
        return block
    }

    /// The pointer to a node, null if there is none.
    mutating func pointer(to node: UInt32) -> BlockPointer {
        TreeBlock.pointer(block(at: Self.position(0, of: node)).bytes, NodeID(node).treeIndex(level: 0))
    }

    /// Sets the pointer to a node; null takes it away.
    mutating func setPointer(to node: UInt32, _ pointer: BlockPointer) {
        let block = change(Self.position(0, of: node))
        var bytes = block.mutableBytes
        TreeBlock.setPointer(&bytes, NodeID(node).treeIndex(level: 0), pointer)
    }

    /// Takes away the block or node at a position, and all below.
    mutating func remove(_ position: TreePosition) {
        let block = change(Self.position(position.level + 1, of: position.prefix))
        var bytes = block.mutableBytes
        TreeBlock.setPointer(&bytes, NodeID(position.prefix).treeIndex(level: position.level + 1), .null)
        blocks[position] = nil
        changed.remove(position)
    }

    /// Has a block written anew with a bitmap computed from what lies below.
    mutating func rewrite(_ position: TreePosition) {
        _ = change(position)
        untrusted.insert(position)
    }

    /// Gives a node the first free number.
    mutating func insert(_ pointer: BlockPointer) throws(CheckError) -> UInt32 {
        for i3 in 0..<TreeBlock.pointerCount {
            for i2 in 0..<TreeBlock.pointerCount {
                for i1 in 0..<TreeBlock.pointerCount {
                    let leaf = NodeID(indices: (i3, i2, i1, 0)).rawValue
                    let block = block(at: Self.position(0, of: leaf))
                    for i0 in (leaf == 0 ? 2 : 0)..<TreeBlock.pointerCount
                    where TreeBlock.pointer(block.bytes, i0).isNull {
                        let node = NodeID(indices: (i3, i2, i1, i0)).rawValue
                        setPointer(to: node, pointer)
                        return node
                    }
                }
            }
        }
        throw .noSpace(needed: 1, available: 0)
    }

    /// Writes what has changed; returns the pointer to the top block.
    mutating func write(_ writer: inout BlockWriter) throws(CheckError) -> BlockPointer {
        guard !changed.isEmpty else { return root }
        let (pointer, _) = try write(TreePosition(level: 3, prefix: 0), &writer)
        return pointer
    }

    /// Writes the block at a position and the changed ones below it; returns where, and if nothing is free under it.
    private mutating func write(
        _ position: TreePosition, _ writer: inout BlockWriter
    ) throws(CheckError) -> (BlockPointer, isFull: Bool) {
        let block = block(at: position)
        var bytes = block.mutableBytes
        let level = position.level
        let isFirstLeaf = level == 0 && position.prefix == 0
        if isFirstLeaf {
            TreeBlock.setPointer(&bytes, 0, .null)
        }
        for index in 0..<TreeBlock.pointerCount {
            let pointer = TreeBlock.pointer(bytes.bytes, index)
            if level == 0 {
                TreeBlock.setFull(&bytes, index, !pointer.isNull || isFirstLeaf && index == 0)
                continue
            }
            let child = TreePosition(level: level - 1, prefix: position.prefix | UInt32(index) << UInt32(level * 8))
            if changed.contains(child) {
                let (pointer, isFull) = try write(child, &writer)
                TreeBlock.setPointer(&bytes, index, pointer)
                TreeBlock.setFull(&bytes, index, isFull)
            } else if pointer.isNull {
                // Null may carry a level, which is nothing to keep.
                TreeBlock.setPointer(&bytes, index, .null)
                TreeBlock.setFull(&bytes, index, false)
            } else if untrusted.contains(position) {
                let isFull = (try? reader.readVerified(pointer)).map { TreeBlock.isFull($0.bytes) } ?? false
                TreeBlock.setFull(&bytes, index, isFull)
            }
        }
        bytes.setU8(bytes.bytes.u8(at: 4095) & 0x3F, at: 4095)
        if level < 3, TreeBlock.isEmpty(bytes.bytes) { return (.null, false) }
        return (try writer.write(block), TreeBlock.isFull(bytes.bytes))
    }
}
