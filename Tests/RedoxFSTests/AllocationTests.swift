import TestSupport
import Testing

@testable import RedoxFS

@Suite struct Allocation {
    /// Invariants: chunks are aligned, joined, counted; what is taken was free and is taken once.
    @Test func randomTakesAndInserts() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var generator = SplitMix(seed: seed)
        var index = BuddyIndex()
        let total: UInt64 = 4096
        do {
            let result = index.insert(BlockRun(start: 300, count: total))
            #expect(result)
        }
        var used = Set<UInt64>()
        var taken: [BlockRun] = []
        for step in 0..<20_000 {
            if Bool.random(using: &generator) || taken.isEmpty {
                let level = Int.random(in: 0...5, using: &generator)
                let best = (level..<BuddyIndex.levelCount).contains { index.counts[$0] > 0 }
                guard let start = index.take(level: level) else {
                    #expect(!best)
                    continue
                }
                #expect(start % (1 << UInt64(level)) == 0)
                let run = BlockRun(start: start, count: 1 << UInt64(level))
                for block in run.start..<run.end {
                    let result = used.insert(block)
                    #expect(result.inserted)
                }
                taken.append(run)
            } else {
                let run = taken.remove(at: Int.random(in: taken.indices, using: &generator))
                for block in run.start..<run.end { used.remove(block) }
                do {
                    let result = index.insert(run)
                    #expect(result)
                }
                if step % 7 == 0 {
                    let result = index.insert(run)
                    #expect(!result, "free already")
                }
            }
            #expect(index.freeBlocks == total - UInt64(used.count))
            if step % 500 == 0 { #expect(index.brokenInvariant() == nil) }
        }
        for run in taken {
            let result = index.insert(run)
            #expect(result)
        }
        #expect(index.brokenInvariant() == nil)
        #expect(index.freeBlocks == total)
    }

    @Test func certainRunsAreRemoved() {
        var index = BuddyIndex()
        do {
            let result = index.insert(BlockRun(start: 257, count: 100_000))
            #expect(result)
        }
        do {
            let result = index.remove(BlockRun(start: 1000, count: 777))
            #expect(result)
        }
        #expect(index.brokenInvariant() == nil)
        do {
            let result = index.remove(BlockRun(start: 1776, count: 1))
            #expect(!result)
        }
        do {
            let result = index.remove(BlockRun(start: 1777, count: 1))
            #expect(result)
        }
        do {
            let result = index.insert(BlockRun(start: 1000, count: 778))
            #expect(result)
        }
        #expect(index.brokenInvariant() == nil)
        #expect(index.freeBlocks == 100_000)
    }

    /// What is feasible can be allocated, in whatever order.
    @Test func feasibleDemandsAreServed() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var generator = SplitMix(seed: seed)
        for _ in 0..<300 {
            var index = BuddyIndex()
            for _ in 0..<Int.random(in: 1...40, using: &generator) {
                let level = Int.random(in: 0...6, using: &generator)
                let start = UInt64.random(in: 1...200, using: &generator) << UInt64(level)
                index.insert(BlockRun(start: start, count: 1 << UInt64(level)))
            }
            var demand = Demand.none
            var levels: [Int] = []
            for _ in 0..<200 {
                let level = Int.random(in: 0...5, using: &generator)
                var more = demand
                more[level] += 1
                guard more.isFeasible(in: index) else { continue }
                demand = more
                levels.append(level)
            }
            levels.shuffle(using: &generator)
            for level in levels {
                let result = index.take(level: level)
                #expect(result != nil)
            }
            #expect(index.brokenInvariant() == nil)
        }
    }

    @Test func flatMapBehavesLikeADictionary() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var generator = SplitMix(seed: seed)
        var map = FlatMap<UInt64, Int>(filler: 0)
        var model: [UInt64: Int] = [:]
        for step in 0..<50_000 {
            let key = UInt64.random(in: 0..<600, using: &generator) << 20
            if Bool.random(using: &generator) {
                map.set(key, step)
                model[key] = step
            } else {
                do {
                    let result = map.remove(key)
                    #expect(result == (model.removeValue(forKey: key) != nil))
                }
            }
            #expect(map.count == model.count)
        }
        for key in 0..<600 as Range<UInt64> { #expect(map[key << 20] == model[key << 20]) }
    }
}
