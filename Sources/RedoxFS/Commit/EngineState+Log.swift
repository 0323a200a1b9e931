import DiskFormat
import Platform

extension EngineState {
    /// Adds what this commit took and freed to the allocation log, or writes the whole log anew if that is shorter. The
    /// blocks that are offered and not needed go back to the free space.
    mutating func writeLog(
        _ offered: [BlockAddress], isSquashing: Bool, _ pool: BufferPool, _ builder: inout SealBuilder
    ) {
        if isSquashing, squashLog(offered, pool, &builder) { return }
        let freed = space.beginCommit(alsoFreed: log.blocks.last.map { [Self.run($0.address)] } ?? [])
        var entries: [AllocationLogBlock.Entry] = []
        var count = 0
        repeat {
            count &+= 1
            let taken = Space.joined(builder.taken + offered.prefix(count).map(Self.run))
            entries = log.newestEntries
            entries += taken.map { AllocationLogBlock.Entry(block: $0.start, count: -Int64($0.count)) }
            entries += freed.map { AllocationLogBlock.Entry(block: $0.start, count: Int64($0.count)) }
        } while entries.count > count &* AllocationLogBlock.entryCount && count < offered.count
        for address in offered.dropFirst(count) { space.giveBack(Self.run(address)) }
        if !log.blocks.isEmpty { log.blocks.removeLast() }
        emit(entries, offered.prefix(count), pool, &builder)
    }

    /// Writes the log anew, as runs of free blocks. False, and nothing changed, if that doesn't make it shorter.
    private mutating func squashLog(
        _ offered: [BlockAddress], _ pool: BufferPool, _ builder: inout SealBuilder
    ) -> Bool {
        let oldLog = log.blocks.map { Self.run($0.address) }
        let frees = Space.joined(space.pending + oldLog)
        var places = offered
        while true {
            let runs = space.allFreeRuns(and: frees).count
            // Each block that goes back may add a run.
            let needed = (runs &+ places.count) / AllocationLogBlock.entryCount &+ 1
            if needed > max(oldLog.count, 1) {
                for address in places.dropFirst(offered.count) { space.giveBack(Self.run(address)) }
                return false
            }
            if needed <= places.count {
                for address in places.dropFirst(needed) { space.giveBack(Self.run(address)) }
                places.removeLast(places.count &- needed)
                break
            }
            // All that are missing at once: counting the runs is what takes time.
            for _ in places.count..<needed {
                guard let number = space.allocate(level: 0) else {
                    for address in places.dropFirst(offered.count) { space.giveBack(Self.run(address)) }
                    return false
                }
                places.append(BlockAddress(number: number, level: 0))
            }
        }
        _ = space.beginCommit(alsoFreed: oldLog)
        log.blocks.removeAll()
        let entries = space.allFreeRuns(and: []).map {
            AllocationLogBlock.Entry(block: $0.start, count: Int64($0.count))
        }
        emit(entries, places[...], pool, &builder)
        return true
    }

    private static func run(_ address: BlockAddress) -> BlockRun {
        BlockRun(start: address.number, count: address.blockCount)
    }

    /// Writes entries into new log blocks behind the present ones.
    private mutating func emit(
        _ entries: [AllocationLogBlock.Entry], _ places: ArraySlice<BlockAddress>, _ pool: BufferPool,
        _ builder: inout SealBuilder
    ) {
        var previous = log.blocks.last ?? .null
        var rest = entries[...]
        for address in places {
            let buffer = pool.take(level: 0)
            buffer.zero(0..<Limits.blockSize)
            var bytes = buffer.mutableBytes
            AllocationLogBlock.setPrevious(&bytes, previous)
            let part = rest.prefix(AllocationLogBlock.entryCount)
            for (index, entry) in part.enumerated() { AllocationLogBlock.setEntry(&bytes, index, entry) }
            rest = rest.dropFirst(AllocationLogBlock.entryCount)
            previous = BlockPointer(address: address, hash: SeaHash.hash(bytes.bytes))
            log.blocks.append(previous)
            log.newestEntries = Array(part)
            builder.write(address.number, buffer, level: 0)
        }
        space.newestLogEntries = log.newestEntries.count
    }
}
