import BlockCodec
import BlockDevice
import DiskFormat
import Platform

/// Hands out blocks that no generation in question reaches, and writes encrypted content to them.
struct BlockWriter {
    let reader: BlockReader
    /// Blocks that may not be written: those of the generations that must stay readable, and what was handed out.
    private var taken: BlockBitmap
    private var next: UInt64 = Limits.firstAllocatableBlock

    init(reader: BlockReader, keeping taken: BlockBitmap) {
        self.reader = reader
        self.taken = taken
    }

    /// Blocks that can be handed out.
    var available: UInt64 {
        let total = reader.blockCount - min(reader.blockCount, Limits.firstAllocatableBlock)
        var inUse: UInt64 = 0
        BlockBitmap.forEachRun(in: Limits.firstAllocatableBlock..<max(reader.blockCount, Limits.firstAllocatableBlock))
        {
            self.taken.word($0)
        } _: {
            inUse += UInt64($0.count)
        }
        return total - inUse
    }

    /// Also keeps these blocks.
    mutating func keep(_ blocks: Range<UInt64>) { taken.insert(blocks) }

    /// The first block of 2^level consecutive ones, aligned to their size.
    mutating func allocate(level: Int = 0) throws(CheckError) -> UInt64 {
        let size: UInt64 = 1 << UInt64(level)
        for start in [next, Limits.firstAllocatableBlock] {
            var block = (start + size - 1) / size * size
            while block + size <= reader.blockCount {
                // A whole word in use is skipped at once.
                if block % 64 == 0, taken.word(Int(block / 64)) == .max {
                    block += max(64, size)
                    continue
                }
                if (block..<block + size).allSatisfy({ !taken.contains($0) }) {
                    taken.insert(block..<block + size)
                    if level == 0 {
                        next = block + 1
                    }
                    return block
                }
                block += size
            }
        }
        throw .noSpace(needed: size, available: available)
    }

    /// Writes plain bytes of 2^level blocks to a new place; returns the pointer to them.
    mutating func write(_ plain: AlignedBuffer, level: Int = 0, decompressedLevel: Int = 0) throws(CheckError)
        -> BlockPointer
    {
        let number = try allocate(level: level)
        let hash = SeaHash.hash(plain.bytes)
        try write(plain, to: number)
        return BlockPointer(
            address: BlockAddress(number: number, level: level, decompressedLevel: decompressedLevel), hash: hash)
    }

    /// Writes plain bytes to blocks that were handed out.
    func write(_ plain: AlignedBuffer, to number: UInt64) throws(CheckError) {
        var stored = plain
        if let cipher = reader.cipher {
            stored = AlignedBuffer(copying: plain.bytes)
            var bytes = stored.mutableBytes
            do throws(CodecError) {
                try cipher.encrypt(&bytes, firstBlock: number)
            } catch {
                throw .cipher(error)
            }
        }
        do throws(BlockDeviceError) {
            try reader.device.write(at: reader.start + number << 12, [BufferSlice(stored)])
        } catch {
            throw .device(error)
        }
    }
}
