import Testing

@testable import Supervisor

/// Time is a number that the tests move.
@Suite struct RestartPolicyTests {
    private let second: UInt64 = 1_000_000_000

    @Test func deathAfterGoodServiceIsAnsweredAtOnce() {
        var history = RestartPolicy.History()
        let policy = RestartPolicy()
        for round in UInt64(1)...1000 {
            let now = round * 10 * second
            #expect(history.died(at: now, readyAt: now - policy.stableAfter, policy) == .restart(at: now))
        }
    }

    @Test func attemptsFromOfflineBecomeRare() {
        let policy = RestartPolicy()
        #expect((1...7).map { policy.retryDelay(after: $0) / second } == [2, 4, 8, 16, 32, 60, 60])
        #expect(policy.retryDelay(after: .max) == 60 * second)
    }

    /// Who kills a process now and then, to see how it recovers, sees that and no wait.
    @Test func deathsNowAndThenAreAnsweredAtOnce() {
        var history = RestartPolicy.History()
        let policy = RestartPolicy()
        for round in UInt64(1)...1000 {
            let now = round * 2 * second / 5
            let decision = history.died(at: now, readyAt: now - second / 5, isOrdered: true, policy)
            #expect(decision == .restart(at: now))
        }
    }

    @Test func oneDeathASecondIsAnsweredAtOnce() {
        var history = RestartPolicy.History()
        let policy = RestartPolicy()
        for round in UInt64(1)...5000 {
            let now = round * second
            #expect(history.died(at: now, readyAt: now - second / 2, policy) == .restart(at: now))
        }
    }

    /// A process that gets ready each time and then dies of its own, say for want of memory.
    @Test(arguments: [150_000_000, 500_000_000] as [UInt64]) func diesAgainAndAgain(service: UInt64) {
        var history = RestartPolicy.History()
        let policy = RestartPolicy()
        var now = second
        var waits: [UInt64] = []
        // Far more often than it may.
        for _ in 0..<10_000 {
            guard case .restart(let at) = history.died(at: now, readyAt: now - service, policy) else { break }
            waits.append(at - now)
            now = at + service
        }
        #expect(waits.count < 1000)
        #expect(waits.prefix(100).allSatisfy { $0 == 0 }, "who tries what a death does sees no wait")
        #expect(waits.last == policy.longestDelay)
    }

    @Test func longServiceForgivesADebt() {
        var history = RestartPolicy.History()
        let policy = RestartPolicy()
        var now = second
        for _ in 0..<400 {
            guard case .restart(let at) = history.died(at: now, readyAt: now - second / 5, policy) else { break }
            now = at + second / 5
        }
        #expect(history.quickDeaths > 0)
        now += policy.stableInDebtAfter
        #expect(history.died(at: now, readyAt: now - policy.stableInDebtAfter, policy) == .restart(at: now))
        #expect(history.quickDeaths == 0)
    }

    @Test func quickDeathsBackOffAndEnd() {
        var history = RestartPolicy.History()
        let policy = RestartPolicy()
        var now: UInt64 = second
        var delays: [UInt64] = []
        var deaths = 0
        loop: while true {
            deaths += 1
            switch history.died(at: now, readyAt: now - 1000, policy) {
            case .restart(let at):
                delays.append(at - now)
                now = at + 1000
            case .offline: break loop
            }
        }
        #expect(deaths == policy.deathLimit)
        #expect(delays.prefix(policy.freeDeaths).allSatisfy { $0 == 0 })
        #expect(delays[policy.freeDeaths] == policy.firstDelay)
        #expect(delays[policy.freeDeaths + 1] == 2 * policy.firstDelay)
        #expect(zip(delays, delays.dropFirst()).allSatisfy { $0 <= $1 })
        #expect(delays.last == policy.longestDelay)
    }

    @Test func failedStartsBackOffAndEnd() {
        var history = RestartPolicy.History()
        let policy = RestartPolicy()
        for failure in 1..<policy.failedStartLimit {
            #expect(
                history.died(at: second, readyAt: nil, policy) == .restart(at: second + policy.delay(after: failure)))
        }
        #expect(history.died(at: second, readyAt: nil, policy) == .offline)
        history.reset()
        #expect(history.died(at: second, readyAt: nil, policy) == .restart(at: second + policy.firstDelay))
    }

    @Test func goodServiceForgivesQuickDeaths() {
        var history = RestartPolicy.History()
        let policy = RestartPolicy()
        for _ in 0..<20 { _ = history.died(at: second, readyAt: second - 1, policy) }
        let later = 100 * second
        #expect(history.died(at: later, readyAt: later - 2 * second, policy) == .restart(at: later))
        #expect(history.died(at: later, readyAt: later - 1, policy) == .restart(at: later))
    }

    @Test func delaysDoNotOverflow() {
        var policy = RestartPolicy()
        policy.firstDelay = .max / 2
        policy.longestDelay = .max
        #expect(policy.delay(after: 0) == 0)
        #expect(policy.delay(after: 50) == .max)
    }
}
