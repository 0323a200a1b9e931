import BlockCodec
import DiskFormat
import Platform

/// Makes records ready for the disk. A function of the content alone: it doesn't matter who does it, and when.
enum RecordPreparation {
    /// Compresses a record if that saves blocks, and hashes what is to be stored.
    ///
    /// - Parameter level: the level of the block that holds the content; the buffer may be larger.
    static func prepare(_ buffer: AlignedBuffer, level: Int, pool: BufferPool) -> PreparedRecord {
        let plain = buffer.bytes(0..<Limits.blockSize &<< level)
        if level > 0, let compressed = compress(plain, level: level, pool: pool) {
            return compressed
        }
        return PreparedRecord(buffer: buffer, level: level, decompressedLevel: 0, hash: SeaHash.hash(plain))
    }

    private static func compress(_ plain: RawSpan, level: Int, pool: BufferPool) -> PreparedRecord? {
        // It must fit one level lower at least.
        let target = pool.take(level: level &- 1)
        var block = target.mutableBytes
        guard let stored = LZ4Record.compress(plain, into: &block) else { return nil }
        let hash = SeaHash.hash(target.bytes(0..<Limits.blockSize &<< stored))
        return PreparedRecord(buffer: target, level: stored, decompressedLevel: level, hash: hash)
    }
}
