import BlockCodec
import BlockDevice
import DiskFormat
import Platform

extension FileSystem {
    /// The blocks of a new file system, behind the ring and the unused block 256: the top tree block, the log, the root
    /// directory, the tree blocks between, then free space.
    private enum FirstBlock {
        static let tree: UInt64 = 257
        static let log: UInt64 = 258
        static let root: UInt64 = 259
        static let lowerTree: UInt64 = 260
        static let free: UInt64 = 263
    }

    /// Makes a new file system on a device. What was there is lost, but for the reserved blocks.
    ///
    /// - Throws: `.tooSmall`, `.invalidArgument` for a size beyond the device's, `.device`.
    public static func format(_ device: any BlockDevice, _ options: FormatOptions) throws(FileSystemError) {
        let size = options.byteCount ?? device.byteCount
        guard size <= device.byteCount else { throw .invalidArgument("the size is beyond the device's") }
        let blockSize = UInt64(Limits.blockSize)
        let total = size / blockSize
        let (minimum, overflow) = options.reservedBlocks.addingReportingOverflow(Limits.minimumBlocks)
        guard !overflow, total >= minimum else {
            throw .tooSmall(
                minimumByteCount: overflow ? .max : minimum.multipliedReportingOverflow(by: blockSize).partialValue)
        }
        let blockCount = total - options.reservedBlocks
        let start = options.reservedBlocks * blockSize
        var header = Header(
            uuid: options.uuid, byteCount: blockCount * blockSize, generation: Generation(1))
        var cipher: BlockCipher?
        if let encryption = options.encryption {
            do {
                cipher = try BlockCipher(key1: encryption.dataKey, key2: encryption.tweakKey)
                header.setKeySlot(
                    0,
                    try KeySlots.make(
                        password: encryption.password, salt: encryption.salt, key1: encryption.dataKey,
                        key2: encryption.tweakKey))
            } catch {
                throw .cipher("\(error)")
            }
        }
        let blocks = firstBlocks(options, blockCount: blockCount, header: &header)
        let source = BlockSource(
            device: device, start: start, blockCount: blockCount, cipher: cipher, pool: BufferPool())
        do throws(BlockDeviceError) {
            // Old headers would be found before the new one.
            let zeros = AlignedBuffer(byteCount: Int(Limits.ringBlocks) * Limits.blockSize)
            try device.write(at: start, [BufferSlice(zeros)])
        } catch {
            throw .device(error)
        }
        let commit = SealedCommit(generation: 1, blocks: blocks, header: header, sequence: 0, changes: 0)
        try CommitWriter(source: source).write(commit)
    }

    private static func firstBlocks(
        _ options: FormatOptions, blockCount: UInt64, header: inout Header
    ) -> [SealedCommit.Block] {
        var blocks: [SealedCommit.Block] = []
        func add(_ number: UInt64, _ fill: (inout MutableRawSpan) -> Void) -> BlockPointer {
            let buffer = AlignedBuffer(byteCount: Limits.blockSize)
            var bytes = buffer.mutableBytes
            fill(&bytes)
            blocks.append(SealedCommit.Block(number: number, slice: BufferSlice(buffer)))
            return BlockPointer(
                address: BlockAddress(number: number, level: 0), hash: SeaHash.hash(buffer.bytes))
        }
        var root = NodeHeader(
            kind: .directory, permissions: options.rootMode, uid: options.rootUID, gid: options.rootGID,
            time: options.time)
        root.links = 1
        var pointer = add(FirstBlock.root) { bytes in
            root.encode(into: &bytes)
            let times = NodeTimes(access: options.time, modification: options.time, change: options.time)
            NodeExtension.setTimes(&bytes, times)
        }
        for level in 0..<TreeBlock.levelCount {
            let number = level == 3 ? FirstBlock.tree : FirstBlock.lowerTree + UInt64(level)
            let child = pointer
            pointer = add(number) { bytes in
                // Node 0 is reserved: its slot is taken, and the root is node 1.
                let index = level == 0 ? 1 : 0
                TreeBlock.setPointer(&bytes, index, child)
                if level == 0 {
                    TreeBlock.setFull(&bytes, 0, true)
                    TreeBlock.setFull(&bytes, 1, true)
                }
            }
        }
        header.tree = pointer
        header.allocationLog = add(FirstBlock.log) { bytes in
            let count = Int64(blockCount - FirstBlock.free)
            AllocationLogBlock.setEntry(
                &bytes, 0, AllocationLogBlock.Entry(block: FirstBlock.free, count: count))
        }
        return blocks
    }
}
