/// A set of blocks, small where it is uniform: pages of 32,768 blocks that are all in or all out take four bytes.
struct BlockBitmap: Sendable {
    private static let wordsPerPage = 512
    private static let blocksPerPage: UInt64 = 32768
    private static let allOut: Int32 = -1
    private static let allIn: Int32 = -2

    /// Blocks 0 ..< blockCount can be members.
    let blockCount: UInt64
    /// Per page: `allOut`, `allIn`, or which 512 words of `words` hold its bits.
    private var pages: [Int32]
    private var words: [UInt64] = []

    init(blockCount: UInt64) {
        self.blockCount = blockCount
        pages = [Int32](repeating: Self.allOut, count: Int((blockCount + Self.blocksPerPage - 1) / Self.blocksPerPage))
    }

    func contains(_ block: UInt64) -> Bool {
        guard block < blockCount else { return false }
        return word(Int(block / 64)) & (1 << (block % 64)) != 0
    }

    /// The 64 blocks from `index` x 64 on, as bits.
    func word(_ index: Int) -> UInt64 {
        let page = index / Self.wordsPerPage
        guard page < pages.count else { return 0 }
        let slot = pages[page]
        if slot == Self.allOut { return 0 }
        if slot == Self.allIn { return .max }
        return words[Int(slot) * Self.wordsPerPage + index % Self.wordsPerPage]
    }

    /// Adds the blocks; returns how many of them were members before. Blocks beyond the end are ignored.
    @discardableResult
    mutating func insert(_ range: Range<UInt64>) -> UInt64 { set(range, to: true) }

    /// Takes the blocks out; returns how many of them were not members before.
    @discardableResult
    mutating func remove(_ range: Range<UInt64>) -> UInt64 { set(range, to: false) }

    /// Sets the bits; returns how many had that value before.
    private mutating func set(_ range: Range<UInt64>, to value: Bool) -> UInt64 {
        let range = range.clamped(to: 0..<blockCount)
        var before: UInt64 = 0
        var at = range.lowerBound
        while at < range.upperBound {
            let page = Int(at / Self.blocksPerPage)
            let start = UInt64(page) * Self.blocksPerPage
            let end = min(range.upperBound, start + Self.blocksPerPage)
            if pages[page] == (value ? Self.allIn : Self.allOut) {
                before += end - at
            } else if end - at == Self.blocksPerPage, pages[page] < 0 {
                pages[page] = value ? Self.allIn : Self.allOut
            } else {
                before += setBits(Int(at - start)..<Int(end - start), slot: materialize(page), to: value)
            }
            at = end
        }
        return before
    }

    private mutating func materialize(_ page: Int) -> Int {
        let slot = pages[page]
        if slot >= 0 { return Int(slot) }
        let fill: UInt64 = slot == Self.allIn ? .max : 0
        let new = words.count / Self.wordsPerPage
        words.append(contentsOf: repeatElement(fill, count: Self.wordsPerPage))
        pages[page] = Int32(new)
        return new
    }

    private mutating func setBits(_ bits: Range<Int>, slot: Int, to value: Bool) -> UInt64 {
        let base = slot * Self.wordsPerPage
        var before = 0
        var at = bits.lowerBound
        while at < bits.upperBound {
            let end = min(bits.upperBound, (at / 64 + 1) * 64)
            let mask = (end - at == 64 ? UInt64.max : (1 << UInt64(end - at)) - 1) << UInt64(at % 64)
            let word = words[base + at / 64]
            before += (value ? word & mask : ~word & mask).nonzeroBitCount
            words[base + at / 64] = value ? word | mask : word & ~mask
            at = end
        }
        return UInt64(before)
    }

    /// Adds all members of another set.
    mutating func formUnion(_ other: BlockBitmap) {
        Self.forEachRun(in: 0..<min(blockCount, other.blockCount), { other.word($0) }) { insert($0) }
    }

    /// Number of members.
    var count: UInt64 {
        var total: UInt64 = 0
        Self.forEachRun(in: 0..<blockCount, { self.word($0) }) { total += UInt64($0.count) }
        return total
    }

    /// Calls `body` for each run of set bits of `word`, a function from a word's index to 64 bits, in ascending order.
    static func forEachRun(
        in range: Range<UInt64>, _ word: (Int) -> UInt64, _ body: (Range<UInt64>) -> Void
    ) {
        guard !range.isEmpty else { return }
        var open: UInt64?
        for index in Int(range.lowerBound / 64)...Int((range.upperBound - 1) / 64) {
            let start = UInt64(index) * 64
            var bits = word(index)
            if start < range.lowerBound {
                bits &= UInt64.max << (range.lowerBound - start)
            }
            if start + 64 > range.upperBound {
                bits &= (1 << (range.upperBound - start)) - 1
            }
            if bits == 0 || bits == .max {
                if bits == 0, let from = open {
                    body(from..<start)
                    open = nil
                } else if bits == .max, open == nil {
                    open = start
                }
                continue
            }
            var at: UInt64 = 0
            while at < 64 {
                if open == nil {
                    let skip = UInt64((bits >> at).trailingZeroBitCount)
                    if skip >= 64 { break }
                    at += skip
                    open = start + at
                } else {
                    let run = UInt64((~(bits >> at)).trailingZeroBitCount)
                    at += run
                    if at >= 64 { break }
                    if let from = open {
                        body(from..<start + at)
                    }
                    open = nil
                }
            }
        }
        if let from = open {
            body(from..<range.upperBound)
        }
    }
}
