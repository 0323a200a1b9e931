import DiskFormat

// Who may use which block. Protocol:
//
//   operation   asks `canHold` before it changes anything, then `reserve`s for each object that becomes dirty and
//               `release`s for each that is dropped; blocks that it frees go to `free`
//   seal        takes real blocks with `allocate`, at most what was reserved; then `beginCommit`
//   durable     `endCommit`: what the commit freed joins the recent generations
//
// Blocks freed by a commit are never handed out before its header is on disk, and even then only when nothing else is
// left or the generation has left the header ring: until then older generations can be read in full.

/// The blocks that one commit freed.
struct RecentFrees: Sendable {
    /// The commit.
    var generation: UInt64
    /// What it freed.
    var runs: [BlockRun]
}

/// Free, reserved and recently freed space.
struct Space: Sendable {
    /// How many freed runs are kept apart at most, to bound memory.
    private static let maximumRecentRuns = 1 << 20

    /// What may be handed out.
    private(set) var index = BuddyIndex()
    /// What was freed by the last durable commits, oldest first from `recentHead` on.
    private(set) var recent: [RecentFrees] = []
    private var recentHead = 0
    private var recentRuns = 0
    private(set) var recentBlocks: UInt64 = 0
    /// What was freed since the last seal.
    private(set) var pending: [BlockRun] = []
    private(set) var pendingBlocks: UInt64 = 0
    /// What the commit that is being written freed.
    private(set) var committing: [BlockRun] = []
    private(set) var committingBlocks: UInt64 = 0
    /// The worst case of everything dirty.
    private(set) var demand = Demand.none
    /// How many objects `demand` is made of: the log needs an entry for each.
    private(set) var objects = 0
    /// Blocks kept for operations that free space, so that a full disk can be emptied.
    var emergencyBlocks = 0
    /// How many blocks the release list needs in the next commit.
    var listBlocks = 0
    /// How many entries the newest block of the allocation log has.
    var newestLogEntries = 0

    /// How many blocks are free or will be once the last commits are forgotten.
    var freeBlocks: UInt64 { index.freeBlocks &+ recentBlocks &+ pendingBlocks &+ committingBlocks }

    /// How many blocks an ordinary operation could still use.
    var availableBlocks: UInt64 {
        let kept = UInt64(demand.blockCount &+ logBlocks(extraObjects: 0) &+ emergencyBlocks)
        return freeBlocks > kept ? freeBlocks &- kept : 0
    }

    /// How many log blocks the next commit needs at most: an entry for each block taken and one for each freed. The seal
    /// takes as many as this says, so that what was promised is enough.
    func logBlocks(extraObjects: Int) -> Int {
        let entries = newestLogEntries &+ 2 &* (objects &+ extraObjects &+ listBlocks) &+ pending.count &+ 8
        return entries / AllocationLogBlock.entryCount &+ 2
    }

    /// Whether more can be promised.
    ///
    /// - Parameter isFreeing: the operation gives back more than it takes and may use the emergency blocks.
    func canHold(_ extra: Demand, objects extraObjects: Int, isFreeing: Bool) -> Bool {
        var total = demand + extra
        total[0] += logBlocks(extraObjects: extraObjects) &+ listBlocks &+ (isFreeing ? 0 : emergencyBlocks)
        return total.isFeasible(in: index)
    }

    /// Promises blocks to one object.
    @inline(__always)
    mutating func reserve(level: Int) {
        demand[level] += 1
        objects &+= 1
    }

    /// Takes a promise back.
    @inline(__always)
    mutating func release(level: Int) {
        demand[level] -= 1
        objects &-= 1
    }

    /// Promises blocks to several objects.
    mutating func reserve(_ more: Demand, objects count: Int) {
        demand += more
        objects &+= count
    }

    /// Takes promises back.
    mutating func release(_ less: Demand, objects count: Int) {
        demand -= less
        objects &-= count
    }

    /// Notes that a block on disk is no longer used once the next commit is durable.
    @inline(__always)
    mutating func free(_ address: BlockAddress) {
        guard !address.isNull, !address.isVirtual else { return }
        pending.append(BlockRun(start: address.number, count: address.blockCount))
        pendingBlocks &+= address.blockCount
    }

    /// Puts the replayed state of the log in place.
    mutating func adopt(_ replayed: BuddyIndex) { index = replayed }

    /// Takes what earlier commits freed out of the free space and remembers it, oldest first.
    mutating func setAside(_ frees: [RecentFrees]) {
        for var frees in frees {
            frees.runs = frees.runs.filter { index.remove($0) }
            recentRuns &+= frees.runs.count
            recentBlocks &+= frees.runs.reduce(0) { $0 &+ $1.count }
            recent.append(frees)
        }
    }

    /// Takes a real block for something that was reserved.
    mutating func allocate(level: Int) -> UInt64? { index.take(level: level) }

    /// Gives back a block that was taken but is not used by the commit being built.
    mutating func giveBack(_ run: BlockRun) { index.insert(run) }

    /// The seal begins: everything dirty is about to get its blocks. Returns what was freed since the last seal, sorted
    /// and joined; what a damaged image freed twice is in it once.
    mutating func beginCommit(alsoFreed extra: [BlockRun]) -> [BlockRun] {
        let runs = Self.joined(pending + extra).filter { !index.isPartlyFree($0) }
        committing = runs
        committingBlocks = runs.reduce(0) { $0 &+ $1.count }
        pending.removeAll(keepingCapacity: true)
        pendingBlocks = 0
        demand = .none
        objects = 0
        listBlocks = 0
        return runs
    }

    /// The commit is durable.
    mutating func endCommit(_ generation: UInt64) {
        recent.append(RecentFrees(generation: generation, runs: committing))
        recentRuns &+= committing.count
        recentBlocks &+= committingBlocks
        committing = []
        committingBlocks = 0
    }

    /// Lets go of generations that can no longer be opened, and of the oldest when there are too many to remember.
    mutating func forgetGenerations(before oldest: UInt64) {
        while recentHead < recent.count,
            recent[recentHead].generation < oldest || recentRuns > Self.maximumRecentRuns
        {
            releaseOldest()
        }
    }

    /// Makes the blocks available that the oldest remembered commit freed; false if there are no more than so many.
    @discardableResult
    mutating func releaseOldest(keeping kept: Int = 0) -> Bool {
        guard recent.count &- recentHead > kept else { return false }
        let frees = recent[recentHead]
        recent[recentHead].runs = []
        recentHead &+= 1
        if recentHead > 64, recentHead &* 2 > recent.count {
            recent.removeSubrange(..<recentHead)
            recentHead = 0
        }
        recentRuns &-= frees.runs.count
        for run in frees.runs {
            recentBlocks &-= run.count
            index.insert(run)
        }
        return true
    }

    /// Everything that is free after the commit being built, as the longest possible runs.
    func allFreeRuns(and extra: [BlockRun]) -> [BlockRun] {
        var runs = index.sortedChunks()
        for frees in recent[recentHead...] { runs += frees.runs }
        runs += committing
        runs += extra
        return Self.joined(runs)
    }

    /// Sorts runs and joins what touches or overlaps.
    static func joined(_ runs: [BlockRun]) -> [BlockRun] {
        var result: [BlockRun] = []
        for run in runs.sorted(by: { $0.start < $1.start }) {
            if let last = result.last, run.start <= last.end {
                result[result.count - 1].count = max(last.end, run.end) &- last.start
            } else {
                result.append(run)
            }
        }
        return result
    }

    /// Cuts runs into what others have, too, and what they don't. All are sorted and joined.
    static func split(_ runs: [BlockRun], by others: [BlockRun]) -> (common: [BlockRun], rest: [BlockRun]) {
        var common: [BlockRun] = []
        var rest: [BlockRun] = []
        var next = 0
        for run in runs {
            var start = run.start
            while start < run.end {
                while next < others.count, others[next].end <= start { next &+= 1 }
                guard next < others.count, others[next].start < run.end else {
                    rest.append(BlockRun(start: start, count: run.end &- start))
                    break
                }
                let other = others[next]
                if other.start > start {
                    rest.append(BlockRun(start: start, count: other.start &- start))
                    start = other.start
                }
                let end = min(other.end, run.end)
                common.append(BlockRun(start: start, count: end &- start))
                start = end
            }
        }
        return (common, rest)
    }
}
