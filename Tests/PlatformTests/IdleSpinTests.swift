import Platform
import Testing

@Suite struct IdleSpinTests {
    @Test func itDoesNotLookBeforeItPays() {
        var spin = IdleSpin()
        var looks = 0
        let found = spin.run {
            looks += 1
            return true
        }
        #expect(!found && looks == 0)
    }

    @Test(.enabled(if: Processors.count > 1, "one processor: nobody looks"))
    func shortSleepsMakeItLookAndLongOnesStopIt() {
        var spin = IdleSpin()
        for _ in 0..<10 { spin.slept(1000) }
        #expect(spin.budget == IdleSpin.limit)
        let found = spin.run { true }
        #expect(found)
        var budgets: [UInt64] = []
        while spin.budget > 0 {
            spin.slept(IdleSpin.limit)
            budgets.append(spin.budget)
        }
        #expect(budgets.count > 1 && budgets.last == 0)
    }

    @Test(.enabled(if: Processors.count > 1, "one processor: nobody looks"))
    func aSearchInVainEnds() {
        var spin = IdleSpin()
        spin.slept(1000)
        let found = spin.run { false }
        #expect(!found)
    }

    @Test func aThreadCanBeKeptAndLetGo() throws {
        let here = try #require(Processors.current)
        let thread = try spawnThread(name: "kept") {
            #expect(Processors.keepThread(on: here))
            #expect(Processors.current == here)
            #expect(!Processors.keepThread(on: 1 << 20), "no such processor")
            Processors.releaseThread()
        }
        thread.join()
    }
}
