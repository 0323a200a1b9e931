import DiskFormat

/// Every block that a generation reaches but its allocation log, with who points to it; decides which of them have to move
/// so that a file system ends at some block, and where to.
struct RelocationPlan {
    private struct Block {
        let number: UInt64
        let parent: Int32
        let level: UInt8
    }

    /// In the order of a walk: what points to a block comes before it.
    private var blocks: [Block] = []
    private let used: BlockBitmap
    /// Blocks that are wanted beyond those in use: for a new log and for what the next mount writes.
    static let slack: UInt64 = 64

    /// - Parameter used: all that the generation reaches, the log too.
    init(reader: BlockReader, roots: Roots, used: BlockBitmap) throws(CheckError) {
        self.used = used
        var found: [Block] = []
        var indices: [Int32] = []
        var walk = ImageWalk(reader: reader)
        let visitor = ImageWalk.Visitor(
            enter: { claim, chain in
                if case .allocationLog = claim.kind { return .skip(isWhole: true) }
                let depth = chain.count - 1
                indices.removeLast(max(0, indices.count - depth))
                let parent = depth == 0 ? -1 : indices[depth - 1]
                indices.append(Int32(clamping: found.count))
                found.append(
                    Block(
                        number: claim.pointer.address.number, parent: parent,
                        level: UInt8(claim.pointer.address.level)))
                return claim.isData || claim.kind == .directoryList ? .skip(isWhole: true) : .follow
            })
        guard walk.walk(roots, visitor) else { throw .unreadable("metadata") }
        blocks = found
    }

    /// Blocks that are reached, without the log.
    var blockCount: UInt64 { blocks.reduce(0) { $0 + 1 << UInt64($1.level) } }

    /// Where each block goes that has to move, so that nothing lies at or beyond `limit`; nil if the space below doesn't
    /// suffice. What points to a block that moves moves, too: nothing is overwritten that the present generation reaches.
    func destinations(limit: UInt64) -> [UInt64: UInt64]? {
        guard limit > Limits.minimumBlocks else { return nil }
        var isMoving = blocks.map { $0.number + 1 << UInt64($0.level) > limit }
        for index in blocks.indices.reversed() where isMoving[index] && blocks[index].parent >= 0 {
            isMoving[Int(blocks[index].parent)] = true
        }
        var free = FreeBlocks(used, limit: limit)
        var result: [UInt64: UInt64] = [:]
        // The large ones first: they are the hardest to place.
        for level in stride(from: UInt8(Limits.maximumRecordLevel), through: 0, by: -1) {
            for index in blocks.indices where isMoving[index] && blocks[index].level == level {
                guard let place = free.take(level: Int(level)) else { return nil }
                result[blocks[index].number] = place
            }
        }
        return free.count >= Self.slack + free.runCount / 128 ? result : nil
    }

    /// The lowest limit that `destinations` can do in one step, or nil if it can do none below the present end.
    func lowestLimit(from lowest: UInt64, below end: UInt64) -> UInt64? {
        var low = max(lowest, Limits.minimumBlocks + 1)
        var high = end
        var best: UInt64?
        while low < high {
            let middle = low + (high - low) / 2
            if destinations(limit: middle) != nil {
                best = middle
                high = middle
            } else {
                low = middle + 1
            }
        }
        return best
    }
}

/// Free space below a limit, as aligned blocks of the levels 0 to 5.
struct FreeBlocks {
    private var lists: [[UInt64]]
    /// Free blocks of 4 KiB.
    private(set) var count: UInt64 = 0
    /// How many runs there were: the new log needs an entry for each.
    private(set) var runCount: UInt64 = 0

    init(_ used: BlockBitmap, limit: UInt64) {
        let highest = Int(Limits.maximumRecordLevel)
        var lists = [[UInt64]](repeating: [], count: highest + 1)
        var total: UInt64 = 0
        var runs: UInt64 = 0
        BlockBitmap.forEachRun(in: Limits.firstAllocatableBlock..<max(limit, Limits.firstAllocatableBlock)) {
            ~used.word($0)
        } _: { run in
            runs += 1
            total += UInt64(run.count)
            var block = run.lowerBound
            while block < run.upperBound {
                var level = min(highest, block.trailingZeroBitCount)
                while block + 1 << UInt64(level) > run.upperBound { level -= 1 }
                lists[level].append(block)
                block += 1 << UInt64(level)
            }
        }
        // The lowest is taken first.
        self.lists = lists.map { $0.reversed() }
        count = total
        runCount = runs
    }

    /// An aligned block of a level; a larger one is split if there is none.
    mutating func take(level: Int) -> UInt64? {
        guard let from = (level..<lists.count).first(where: { !lists[$0].isEmpty }),
            let block = lists[from].popLast()
        else { return nil }
        for half in stride(from: from, to: level, by: -1) {
            lists[half - 1].append(block + 1 << UInt64(half - 1))
        }
        count -= 1 << UInt64(level)
        return block
    }
}
