import SchemeProtocol

/// Which pages of an area are taken: a bitmap, lowest place first, so that the same few pages are used over and over and stay
/// in the processor's caches. One thread at a time.
///
/// Runs of one or two pages are looked for from the start, longer ones from an eighth of the area on, so that long-lived names
/// don't break up the room for whole transfers. Either kind goes to the other part when its own is full.
struct PageAllocator: ~Copyable {
    /// Pages of the area.
    let pageCount: Int
    /// Pages taken.
    private(set) var takenCount = 0
    private var words: [UInt64]
    private let largeStart: Int
    /// No word before this one has a free page.
    private var lowestFree = 0

    /// An area with all pages free.
    init(byteCount: Int) {
        pageCount = byteCount / ProtocolLimits.pageBytes
        words = [UInt64](repeating: 0, count: (pageCount + 63) / 64)
        // What lies beyond the area counts as taken.
        if pageCount % 64 != 0, let last = words.indices.last { words[last] = ~0 << UInt64(pageCount % 64) }
        largeStart = pageCount / 8 / 64
    }

    /// Pages that hold `byteCount` bytes.
    static func pages(_ byteCount: Int) -> Int {
        (byteCount + ProtocolLimits.pageBytes - 1) / ProtocolLimits.pageBytes
    }

    /// Takes a run of pages: the first one's number, or nil if there is no such run.
    mutating func take(_ count: Int) -> Int? {
        guard count > 0, count <= pageCount - takenCount else { return nil }
        let isSmall = count <= 2
        let first =
            isSmall
            ? find(count, from: lowestFree, to: words.count)
            : find(count, from: max(largeStart, lowestFree), to: words.count)
                ?? find(count, from: lowestFree, to: words.count)
        guard let first else { return nil }
        set(first, count, true)
        takenCount += count
        if isSmall, count == 1 { lowestFree = max(lowestFree, min(first / 64, words.count)) }
        return first
    }

    /// Gives pages back that were taken.
    mutating func give(_ first: Int, _ count: Int) {
        guard count > 0 else { return }
        set(first, count, false)
        takenCount -= count
        lowestFree = min(lowestFree, first / 64)
    }

    /// Marks pages as taken when the state is built up from records; false if one is taken already or outside.
    mutating func claim(_ first: Int, _ count: Int) -> Bool {
        guard first >= 0, count >= 0, count <= pageCount, first <= pageCount - count else { return false }
        for page in first..<(first + count) where words[page / 64] & (1 << UInt64(page % 64)) != 0 { return false }
        set(first, count, true)
        takenCount += count
        return true
    }

    private mutating func set(_ first: Int, _ count: Int, _ taken: Bool) {
        var page = first
        let end = first + count
        while page < end {
            let bit = page % 64
            let here = min(64 - bit, end - page)
            let mask: UInt64 = here == 64 ? ~0 : ((1 << UInt64(here)) - 1) << UInt64(bit)
            if taken { words[page / 64] |= mask } else { words[page / 64] &= ~mask }
            page += here
        }
    }

    private func find(_ count: Int, from start: Int, to end: Int) -> Int? {
        var runStart = start * 64
        var run = 0
        var index = start
        while index < end {
            let word = words[index]
            if word == ~0 {
                run = 0
            } else if word == 0 {
                if run == 0 { runStart = index * 64 }
                run += 64
                if run >= count { return runStart }
            } else {
                var bit = 0
                while bit < 64 {
                    let rest = word >> UInt64(bit)
                    let free = rest == 0 ? 64 - bit : rest.trailingZeroBitCount
                    if free > 0 {
                        if run == 0 { runStart = index * 64 + bit }
                        run += free
                        if run >= count { return runStart }
                        bit += free
                    }
                    if bit < 64 {
                        run = 0
                        bit += (~(word >> UInt64(bit))).trailingZeroBitCount
                    }
                }
            }
            index += 1
        }
        return nil
    }
}
