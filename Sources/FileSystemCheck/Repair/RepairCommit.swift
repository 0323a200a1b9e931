import BlockCodec
import BlockDevice
import DiskFormat
import Platform

/// Turns a tree into a generation: an exact allocation log for what it reaches, and a header.
struct RepairCommit {
    let image: OpenedImage
    let reader: BlockReader
    let time: Timespec

    /// Writes a squashed log that frees all that is not in use; returns the pointer to its newest block.
    ///
    /// - Parameter used: what the new generation reaches; the log's own blocks are added.
    func writeLog(
        _ used: inout BlockBitmap, _ writer: inout BlockWriter
    ) throws(CheckError) -> BlockPointer {
        var blocks: [UInt64] = []
        var entries = freeRuns(used)
        // One more entry than needed would do no harm; a block less would.
        while blocks.isEmpty || entries.count > blocks.count * AllocationLogBlock.entryCount {
            let block = try writer.allocate()
            blocks.append(block)
            used.insert(block..<block + 1)
            entries = freeRuns(used)
        }
        var previous = BlockPointer.null
        for (index, block) in blocks.enumerated() {
            let buffer = AlignedBuffer(byteCount: Limits.blockSize)
            var bytes = buffer.mutableBytes
            AllocationLogBlock.setPrevious(&bytes, previous)
            let first = index * AllocationLogBlock.entryCount
            for (place, run) in entries.dropFirst(first).prefix(AllocationLogBlock.entryCount).enumerated() {
                AllocationLogBlock.setEntry(
                    &bytes, place, AllocationLogBlock.Entry(block: run.lowerBound, count: Int64(run.count)))
            }
            try writer.write(buffer, to: block)
            previous = BlockPointer(
                address: BlockAddress(number: block, level: 0), hash: SeaHash.hash(buffer.bytes))
        }
        return previous
    }

    private func freeRuns(_ used: BlockBitmap) -> [Range<UInt64>] {
        var runs: [Range<UInt64>] = []
        let range = Limits.firstAllocatableBlock..<max(reader.blockCount, Limits.firstAllocatableBlock)
        BlockBitmap.forEachRun(in: range) {
            ~used.word($0)
        } _: {
            runs.append($0)
        }
        return runs
    }

    /// The header of the generation behind all that the ring has, with key slots and uuid of the newest one.
    func makeHeader(tree: BlockPointer, log: BlockPointer, releaseList: BlockPointer) throws(CheckError) -> Header {
        var header = image.newest
        header.generation = image.newest.generation.next
        header.byteCount = reader.blockCount << 12
        header.tree = tree
        header.allocationLog = log
        header.releaseList = releaseList
        let last = image.newest.headerExtension
        header.setHeaderExtension(
            HeaderExtension(
                mountID: last?.mountID ?? Bytes16(), sequence: last?.sequence ?? 0, commitTime: time))
        do throws(CodecError) {
            try header.seal(with: image.cipher)
        } catch {
            throw .cipher(error)
        }
        return header
    }

    /// Writes the new blocks, then the header, each followed by a flush; then clears what is no header from the ring, and writes older
    /// headers anew whose encrypted hash is wrong.
    func write(
        _ overlay: PendingBlocks, used: BlockBitmap, header: Header, clearing ringBlocks: Set<UInt64>
    ) throws(CheckError) {
        let device = image.device
        var sealed: [Header] = []
        for old in image.headers
        where image.misencrypted.contains(old.generation.ringBlock)
            && old.generation.ringBlock != header.generation.ringBlock
        {
            sealed.append(try OpenedImage.sealed(old, image.cipher))
        }
        do throws(BlockDeviceError) {
            for (index, block) in overlay.written where used.contains(index &- image.startBlock) {
                try device.write(at: index << 12, [BufferSlice(block)])
            }
            try device.flush()
            // From here on the new generation counts.
            try device.write(
                at: (image.startBlock + header.generation.ringBlock) << 12, [BufferSlice(Self.block(header))])
            try device.flush()
            for block in ringBlocks.sorted() where block != header.generation.ringBlock {
                let zeros = AlignedBuffer(byteCount: Limits.blockSize)
                try device.write(at: (image.startBlock + block) << 12, [BufferSlice(zeros)])
            }
            for older in sealed {
                try device.write(
                    at: (image.startBlock + older.generation.ringBlock) << 12, [BufferSlice(Self.block(older))])
            }
            if !ringBlocks.isEmpty || !sealed.isEmpty {
                try device.flush()
            }
        } catch {
            throw .device(error)
        }
    }

    /// Writes a header whose blocks are on the device already, with a flush before and after.
    func write(_ header: Header) throws(CheckError) {
        do throws(BlockDeviceError) {
            try image.device.flush()
            try image.device.write(
                at: (image.startBlock + header.generation.ringBlock) << 12, [BufferSlice(Self.block(header))])
            try image.device.flush()
        } catch {
            throw .device(error)
        }
    }

    private static func block(_ header: Header) -> AlignedBuffer {
        let buffer = AlignedBuffer(byteCount: Limits.blockSize)
        var bytes = buffer.mutableBytes
        header.encode(into: &bytes)
        return buffer
    }
}
