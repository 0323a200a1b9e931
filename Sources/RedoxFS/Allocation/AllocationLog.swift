import DiskFormat
import Platform

/// The allocation log on disk: read when a file system is opened. What it says must be exact: the reference
/// implementation stops where a block is taken that wasn't free.
enum AllocationLog {
    /// An entry.
    typealias Entry = AllocationLogBlock.Entry

    /// A log as it was read and replayed.
    struct Replayed {
        /// The free space.
        var index = BuddyIndex()
        /// The log's blocks, oldest first.
        var blocks: [BlockPointer] = []
        /// The entries of the newest block.
        var newestEntries: [Entry] = []
    }

    /// Replays the log, oldest block first, into the state's free space.
    static func replay(
        _ header: Header, _ source: BlockSource, into state: inout EngineState
    ) throws(FileSystemError) {
        let log = try read(header, source)
        state.log.blocks = log.blocks
        state.log.newestEntries = log.newestEntries
        state.space.newestLogEntries = log.newestEntries.count
        state.space.adopt(log.index)
        state.space.emergencyBlocks = Int(min(64, max(12, log.index.freeBlocks / 64)))
    }

    /// Reads a generation's log and replays it.
    ///
    /// - Parameter maximumBlocks: a longer log is refused.
    static func read(
        _ header: Header, _ source: BlockSource, maximumBlocks: Int = .max
    ) throws(FileSystemError) -> Replayed {
        var log = Replayed()
        for (pointer, buffer) in try blocks(header, source, maximumBlocks).reversed() {
            log.blocks.append(pointer)
            log.newestEntries.removeAll(keepingCapacity: true)
            for position in 0..<AllocationLogBlock.entryCount {
                let entry = AllocationLogBlock.entry(buffer.bytes, position)
                if entry.isUnused { continue }
                log.newestEntries.append(entry)
                guard let blocks = entry.blocks(total: source.blockCount) else {
                    throw .corrupt(
                        FormatError(.allocationLog, .outOfRange, at: 16 + position * 16, value: entry.block),
                        block: pointer.address.number)
                }
                let run = BlockRun(start: blocks.lowerBound, count: UInt64(blocks.count))
                guard entry.frees ? log.index.insert(run) : log.index.remove(run) else {
                    throw .corrupt(
                        FormatError(.allocationLog, .value, at: 16 + position * 16, value: entry.block),
                        block: pointer.address.number)
                }
            }
        }
        var end: UInt64 = 0
        for chunk in log.index.sortedChunks() {
            guard chunk.start >= end else {
                throw .corrupt(FormatError(.allocationLog, .value, value: chunk.start), block: chunk.start)
            }
            end = chunk.end
        }
        return log
    }

    /// The log's blocks, newest first.
    private static func blocks(
        _ header: Header, _ source: BlockSource, _ maximumBlocks: Int
    ) throws(FileSystemError) -> [(pointer: BlockPointer, buffer: AlignedBuffer)] {
        var pointer = header.allocationLog
        var newestFirst: [(pointer: BlockPointer, buffer: AlignedBuffer)] = []
        var seen = FlatMap<UInt64, Bool>(filler: false)
        while !pointer.isNull {
            let number = pointer.address.number
            do {
                try pointer.address.checkMetadata(blocks: source.blockCount, of: .allocationLog)
            } catch {
                throw .corrupt(error, block: number)
            }
            guard seen[number] == nil, newestFirst.count < maximumBlocks else {
                throw .corrupt(FormatError(.allocationLog, .order, value: number), block: number)
            }
            seen.set(number, true)
            let buffer = try source.read(pointer, as: .allocationLog)
            newestFirst.append((pointer, buffer))
            pointer = AllocationLogBlock.previous(buffer.bytes)
        }
        return newestFirst
    }
}

/// The release list on disk: nodes without a name that were open when it was written.
enum ReleaseList {
    /// Reads the list into the state, oldest node first.
    static func read(
        _ header: Header, _ source: BlockSource, into state: inout EngineState
    ) throws(FileSystemError) {
        var pointer = header.releaseList
        var nodes: [[UInt32]] = []
        state.release.head = pointer
        while !pointer.isNull {
            let number = pointer.address.number
            do {
                try pointer.address.checkMetadata(blocks: source.blockCount, of: .releaseList)
            } catch {
                throw .corrupt(error, block: number)
            }
            guard !state.release.blocks.contains(pointer.address) else {
                throw .corrupt(FormatError(.releaseList, .order, value: number), block: number)
            }
            state.release.blocks.append(pointer.address)
            let buffer = try source.read(pointer, as: .releaseList)
            var found: [UInt32] = []
            for index in 0..<ReleaseListBlock.nodeCount {
                let node = ReleaseListBlock.node(buffer.bytes, index).rawValue
                if node != 0 { found.append(node) }
            }
            nodes.append(found)
            pointer = ReleaseListBlock.previous(buffer.bytes)
        }
        state.release.nodes = nodes.reversed().flatMap { $0 }
    }
}
