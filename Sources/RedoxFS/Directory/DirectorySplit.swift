import DiskFormat

/// Where full blocks of a directory are split: in the middle, moved to the nearer end of a run of equal hashes so that the
/// run stays together, unless it fills everything.
enum DirectorySplit {
    /// How many of the sorted hashes go to the first part: at least one, and not all.
    static func index(_ hashes: [UInt32]) -> Int {
        let half = hashes.count / 2
        let middle = hashes[half]
        var first = half
        while first > 0, hashes[first - 1] == middle { first -= 1 }
        var behind = half
        while behind < hashes.count, hashes[behind] == middle { behind += 1 }
        let split = half - first < behind - half ? first : behind
        if split > 0, split < hashes.count { return split }
        if first > 0 { return first }
        if behind < hashes.count { return behind }
        return half
    }

    /// As `index`, for entries of a list whose parts must both fit into a block: the nearest place where they do.
    static func index(_ hashes: [UInt32], sizes: [Int]) -> Int {
        let wanted = index(hashes)
        let total = sizes.reduce(0, +)
        var ends: [Int] = [0]
        for size in sizes { ends.append((ends.last ?? 0) + size) }
        func fits(_ split: Int) -> Bool {
            split > 0 && split < sizes.count && ends[split] <= DirectoryList.capacity
                && total - ends[split] <= DirectoryList.capacity
        }
        for distance in 0..<sizes.count {
            if fits(wanted - distance) { return wanted - distance }
            if fits(wanted + distance) { return wanted + distance }
        }
        return wanted
    }
}
