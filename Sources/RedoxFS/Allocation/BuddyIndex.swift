// Free space as chunks of 2^level blocks at multiples of their size from the start of the file system. Two neighbours
// that make up a larger chunk are always joined. Therefore: an aligned piece of free space lies in exactly one chunk
// of its own level or a higher one.
//
// A flat map knows the level of the chunk that starts at a block; for each level a heap gives the lowest one. Every
// operation costs the logarithm of the number of chunks; nothing depends on the size of the disk.

/// A run of blocks.
struct BlockRun: Hashable, Sendable {
    /// The first block.
    var start: UInt64
    /// How many blocks.
    var count: UInt64
    /// The block behind the last.
    var end: UInt64 { start &+ count }
}

/// Free chunks by level and position.
struct BuddyIndex: Sendable {
    /// Levels that can occur: block numbers have 56 bits.
    static let levelCount = 57

    private var chunks = FlatMap<UInt64, UInt8>(filler: 0)
    private var heaps = [ChunkHeap](repeating: ChunkHeap(), count: levelCount)
    /// How many chunks of each level are free.
    private(set) var counts = [UInt64](repeating: 0, count: levelCount)
    /// How many blocks are free.
    private(set) var freeBlocks: UInt64 = 0

    /// How many free blocks lie in chunks of at least a level.
    @inline(__always)
    func freeBlocks(atLeast level: Int) -> UInt64 {
        var result = freeBlocks
        for lower in 0..<level { result &-= counts[lower] &<< UInt64(truncatingIfNeeded: lower) }
        return result
    }

    /// Makes a run free. Says no, and changes nothing, where part of it is known to be free already.
    @discardableResult
    mutating func insert(_ run: BlockRun) -> Bool {
        guard run.count > 0, run.start > 0, run.end > run.start else { return false }
        var isNew = true
        Self.forEachPiece(of: run) { start, level in
            if isNew, isPartlyFree(start, level) { isNew = false }
        }
        guard isNew else { return false }
        Self.forEachPiece(of: run) { start, level in join(start, level) }
        return true
    }

    /// Takes the lowest chunk of the smallest level that is large enough; what is not needed stays free.
    mutating func take(level wanted: Int) -> UInt64? {
        for level in wanted..<Self.levelCount where counts[level] > 0 {
            guard let start = lowest(level) else { return nil }
            removeChunk(start, level)
            // The lower half is used, the upper halves stay free.
            for split in (wanted..<level).reversed() { addChunk(start &+ 1 &<< UInt64(split), split) }
            return start
        }
        return nil
    }

    /// Takes a certain run. Says no, and may have taken a part, where it isn't free.
    mutating func remove(_ run: BlockRun) -> Bool {
        guard run.count > 0, run.start > 0, run.end > run.start else { return false }
        var isFree = true
        Self.forEachPiece(of: run) { start, level in
            if isFree, !removePiece(start, level) { isFree = false }
        }
        return isFree
    }

    /// Whether any block of a run is free; looks at the pieces of the run, not at every block.
    func isPartlyFree(_ run: BlockRun) -> Bool {
        var found = false
        Self.forEachPiece(of: run) { start, level in if isPartlyFree(start, level) { found = true } }
        return found
    }

    /// All chunks, in order of position.
    func sortedChunks() -> [BlockRun] {
        var result: [BlockRun] = []
        result.reserveCapacity(chunks.count)
        chunks.forEach { start, level in result.append(BlockRun(start: start, count: 1 &<< UInt64(level))) }
        result.sort { $0.start < $1.start }
        return result
    }

    /// Cuts a run into aligned pieces, each as large as possible.
    private static func forEachPiece(of run: BlockRun, _ body: (UInt64, Int) -> Void) {
        var start = run.start
        var left = run.count
        while left > 0 {
            let level = min(start.trailingZeroBitCount, 63 &- left.leadingZeroBitCount, levelCount &- 1)
            body(start, level)
            start &+= 1 &<< UInt64(level)
            left &-= 1 &<< UInt64(level)
        }
    }

    /// The chunk that contains an aligned piece.
    private func container(_ start: UInt64, _ level: Int) -> (start: UInt64, level: Int)? {
        for candidate in level..<Self.levelCount {
            let aligned = start & ~((1 &<< UInt64(candidate)) &- 1)
            if aligned == 0 { return nil }
            if let found = chunks[aligned], Int(found) == candidate { return (aligned, candidate) }
        }
        return nil
    }

    private func isPartlyFree(_ start: UInt64, _ level: Int) -> Bool {
        if container(start, level) != nil { return true }
        // Smaller chunks inside: looked for only in pieces of ordinary size. Replay checks large ones at its end.
        guard level <= 6 else { return false }
        for block in start..<(start &+ 1 &<< UInt64(level)) where chunks[block] != nil { return true }
        return false
    }

    private mutating func join(_ pieceStart: UInt64, _ pieceLevel: Int) {
        var start = pieceStart
        var level = pieceLevel
        while level < Self.levelCount &- 1 {
            let buddy = start ^ (1 &<< UInt64(level))
            guard buddy != 0, let found = chunks[buddy], Int(found) == level else { break }
            removeChunk(buddy, level)
            start &= ~(1 &<< UInt64(level))
            level &+= 1
        }
        addChunk(start, level)
    }

    private mutating func removePiece(_ start: UInt64, _ level: Int) -> Bool {
        guard let (outer, outerLevel) = container(start, level) else { return false }
        removeChunk(outer, outerLevel)
        // Halve until only the piece is left; the halves without it stay free.
        var remaining = outer
        for split in (level..<outerLevel).reversed() {
            let half = 1 as UInt64 &<< UInt64(split)
            if start & half == 0 {
                addChunk(remaining &+ half, split)
            } else {
                addChunk(remaining, split)
                remaining &+= half
            }
        }
        return true
    }

    private mutating func addChunk(_ start: UInt64, _ level: Int) {
        chunks.set(start, UInt8(truncatingIfNeeded: level))
        counts[level] &+= 1
        freeBlocks &+= 1 &<< UInt64(level)
        heaps[level].insert(start)
        // Outdated entries are dropped before they outnumber the others.
        if heaps[level].count > 64, UInt64(heaps[level].count) > counts[level] &* 3 {
            let chunks = chunks
            heaps[level].rebuild { start in chunks[start].map { Int($0) == level } ?? false }
        }
    }

    private mutating func removeChunk(_ start: UInt64, _ level: Int) {
        chunks.remove(start)
        counts[level] &-= 1
        freeBlocks &-= 1 &<< UInt64(level)
    }

    private mutating func lowest(_ level: Int) -> UInt64? {
        while let start = heaps[level].lowest {
            if let found = chunks[start], Int(found) == level { return start }
            heaps[level].removeLowest()
        }
        return nil
    }
}
