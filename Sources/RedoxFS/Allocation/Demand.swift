/// How many blocks of each level are promised to what is waiting to be written: the worst case.
struct Demand: Hashable, Sendable {
    private var counts = SIMD8<Int64>()

    /// Nothing.
    static var none: Demand { Demand() }

    /// Some blocks of level 0.
    static func blocks(_ count: Int) -> Demand {
        var demand = Demand()
        demand[0] = count
        return demand
    }

    /// How many blocks of a level, 0 to 5.
    subscript(level: Int) -> Int {
        @inline(__always) get { Int(counts[level & 7]) }
        @inline(__always) set { counts[level & 7] = Int64(newValue) }
    }

    /// How many 4 KiB blocks in total.
    var blockCount: Int {
        var total = 0
        for level in 0..<6 { total &+= self[level] &<< level }
        return total
    }

    static func + (a: Demand, b: Demand) -> Demand {
        var result = a
        result.counts = a.counts &+ b.counts
        return result
    }

    static func += (a: inout Demand, b: Demand) { a.counts &+= b.counts }
    static func -= (a: inout Demand, b: Demand) { a.counts &-= b.counts }

    /// Whether free chunks can serve all of it: for every level, what is wanted at that level and above fits into the
    /// chunks of that level and above. Taking each block from the smallest chunk that is large enough keeps this true,
    /// in whatever order: where a larger chunk is broken, no chunk lay between, so both sides of the inequalities
    /// between were multiples of that level's size and differed by at least the piece that is lost.
    func isFeasible(in index: BuddyIndex) -> Bool {
        var wanted: Int64 = 0
        for level in (0..<6).reversed() {
            wanted &+= counts[level] &<< Int64(level)
            if wanted > 0, UInt64(wanted) > index.freeBlocks(atLeast: level) { return false }
        }
        return true
    }
}
