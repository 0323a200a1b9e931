import DiskFormat
import Platform

/// A commit that is put together: the bytes of every block and where they go. It doesn't change any more and is written
/// as often as it takes. Until its header is on disk, its blocks are read from here.
final class SealedCommit: Sendable {
    /// A block to write: plain bytes and the number of the block where they go.
    struct Block: Sendable {
        var number: UInt64
        var slice: BufferSlice
    }

    /// The generation.
    let generation: UInt64
    /// All blocks but the header, sorted by number.
    let blocks: [Block]
    /// The header.
    let header: Header
    /// The last sequence number that it contains.
    let sequence: UInt64
    /// The number of changes that it contains.
    let changes: UInt64

    init(generation: UInt64, blocks: [Block], header: Header, sequence: UInt64, changes: UInt64) {
        self.generation = generation
        self.blocks = blocks.sorted { $0.number < $1.number }
        self.header = header
        self.sequence = sequence
        self.changes = changes
    }

    /// The plain bytes of a block of this commit; nil if it isn't one. The buffer may be larger than the block.
    func plainBlock(_ number: UInt64) -> AlignedBuffer? {
        var low = 0
        var high = blocks.count
        while low < high {
            let middle = (low &+ high) &>> 1
            if blocks[middle].number < number { low = middle &+ 1 } else { high = middle }
        }
        guard low < blocks.count, blocks[low].number == number else { return nil }
        return blocks[low].slice.buffer
    }
}
