/// The sizes and limits that the format fixes.
public enum Limits {
    /// Bytes in a block, the unit of every address.
    public static let blockSize = 4096
    /// Base-two logarithm of `blockSize`.
    public static let blockShift = 12
    /// The format's version that is read and written.
    public static let version: UInt64 = 8
    /// Blocks in the header ring at the start of the file system.
    public static let ringBlocks: UInt64 = 256
    /// How many of the disk's first blocks may hold the first header.
    public static let headerScanBlocks: UInt64 = 65536
    /// The first block that the allocation log may call free: the ring and block 256 never are.
    public static let firstAllocatableBlock: UInt64 = 257
    /// Blocks of the smallest file system that can be made: ring, block 256, tree (four blocks at the first commit),
    /// log, root, and room to commit a change to them copy-on-write.
    public static let minimumBlocks: UInt64 = 272
    /// Key slots in a header.
    public static let keySlotCount = 64
    /// Record level of files: records of 128 KiB.
    public static let fileRecordLevel: UInt32 = 5
    /// The largest record level that is accepted.
    public static let maximumRecordLevel: UInt32 = 5
    /// Bytes in a record of the highest level.
    public static let maximumRecordSize = 4096 << 5
    /// Bytes of file content that fit into a node; content whose end reaches one byte more goes into records.
    public static let inlineCapacity = 3968
    /// Bytes in the longest name.
    public static let maximumNameLength = 252
    /// Bytes of compressed data that a compressed record can hold: its length and the two bytes of the length field
    /// may not exceed 65536.
    public static let maximumCompressedLength = 65534
    /// The squash interval: every so many generations the allocation log is rewritten.
    public static let squashInterval: UInt64 = 1024
    /// The key slots' password hash: passes of Argon2id.
    public static let keyDerivationPasses: UInt32 = 3
    /// The key slots' password hash: memory of Argon2id, in KiB.
    public static let keyDerivationKibibytes: UInt32 = 4096
}
