#if DEBUG || TESTING
    extension BuddyIndex {
        /// What must hold between any two calls; nil if it does, else what doesn't. Compiled for tests only.
        func brokenInvariant() -> String? {
            var previousEnd: UInt64 = 0
            var total: UInt64 = 0
            var seen = [UInt64](repeating: 0, count: Self.levelCount)
            let all = sortedChunks()
            for (index, chunk) in all.enumerated() {
                guard chunk.count.nonzeroBitCount == 1 else { return "chunk at \(chunk.start) is no power of two" }
                guard chunk.start % chunk.count == 0 else { return "chunk at \(chunk.start) isn't aligned" }
                guard chunk.start >= previousEnd else { return "chunk at \(chunk.start) overlaps the one before" }
                if index > 0 {
                    let before = all[index - 1]
                    let areBuddies = before.count == chunk.count && before.start ^ chunk.count == chunk.start
                    if areBuddies, before.start != 0 {
                        return "chunks at \(before.start) and \(chunk.start) aren't joined"
                    }
                }
                previousEnd = chunk.end
                total += chunk.count
                seen[chunk.count.trailingZeroBitCount] += 1
            }
            guard total == freeBlocks else { return "\(total) blocks are free, the count says \(freeBlocks)" }
            guard seen == counts else { return "the counts by level are wrong" }
            return nil
        }
    }
#endif
