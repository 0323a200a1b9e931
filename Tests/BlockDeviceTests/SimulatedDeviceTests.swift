import BlockDevice
import Platform
import SystemPackage
import TestSupport
import Testing

@Suite struct SimulatedDeviceTests {
    private static let block = 4096

    private func block(_ value: UInt8) -> [UInt8] { [UInt8](repeating: value, count: Self.block) }

    @Test func flushedWritesSurviveInEveryState() throws {
        let device = SimulatedDevice(byteCount: 1 << 20)
        for index in 0..<20 {
            try device.writeBytes(at: UInt64(index * Self.block), block(1))
        }
        try device.flush()
        let durable = device.recordedCount
        for index in 0..<20 {
            try device.writeBytes(at: UInt64(index * Self.block), block(2))
        }
        var states = device.crashStates()
        var lost = 0
        var kept = 0
        var torn = 0
        for point in durable...states.lastPoint {
            for seed in UInt64(0)..<40 {
                let state = try states.state(at: point, seed: seed)
                #expect(state.unflushedCount == point - durable)
                for index in 0..<20 {
                    let bytes = try state.device.readBytes(at: UInt64(index * Self.block), count: Self.block)
                    // Each sector is the old or the new one, never anything else.
                    var new = 0
                    for sector in 0..<8 {
                        let part = bytes[(sector * 512)..<(sector * 512 + 512)]
                        let first = try #require(part.first)
                        try #require(first == 1 || (first == 2 && index < point - durable))
                        try #require(part.allSatisfy { $0 == first })
                        if first == 2 { new += 1 }
                    }
                    if new == 0 { lost += 1 } else if new == 8 { kept += 1 } else { torn += 1 }
                }
            }
        }
        #expect(lost > 0 && kept > 0 && torn > 0)
        for seed in UInt64(0)..<3 {
            let early = try states.state(at: 0, seed: seed)
            #expect(try early.device.readBytes(at: 0, count: 1 << 20).allSatisfy { $0 == 0 })
        }
    }

    @Test func seedGivesTheSameStateAgain() throws {
        let seed: UInt64 = 7
        let device = SimulatedDevice(byteCount: 1 << 18)
        var generator = SeededGenerator(seed: seed)
        for step in 0..<100 {
            let offset = UInt64.random(in: 0..<60, using: &generator) * 4096
            try device.writeBytes(at: offset, noise(4096, seed: UInt64(step)))
            if generator.chance(0.1) { try device.flush() }
        }
        var rising = device.crashStates()
        var jumping = device.crashStates()
        for point in stride(from: 0, through: rising.lastPoint, by: 3) {
            let one = try rising.state(at: point, seed: 99)
            _ = try jumping.state(at: jumping.lastPoint - point, seed: 5)
            let two = try jumping.state(at: point, seed: 99)
            let same =
                try one.device.readBytes(at: 0, count: 1 << 18) == two.device.readBytes(at: 0, count: 1 << 18)
            #expect(same, "point \(point)")
        }
    }

    @Test func orderOfUnflushedWritesIsFree() throws {
        let device = SimulatedDevice(byteCount: 8192)
        try device.writeBytes(at: 0, block(1))
        try device.writeBytes(at: 0, block(2))
        var states = device.crashStates()
        let swapped = try states.state(at: 2, fates: [.kept, .kept], order: [1, 0])
        #expect(try swapped.device.readBytes(at: 0, count: 1) == [1])
        let torn = try states.state(at: 2, fates: [.kept, .torn([false, true])], order: [0, 1])
        #expect(try torn.device.readBytes(at: 511, count: 2) == [1, 2])
        #expect(try torn.device.readBytes(at: 1024, count: 1) == [1])
        let seen = try Set((UInt64(0)..<60).map { try states.state(at: 2, seed: $0).device.readBytes(at: 0, count: 1) })
        #expect(seen == [[0], [1], [2]])
    }

    @Test func statesAreIndependentOfEachOtherAndOfTheDevice() throws {
        let device = SimulatedDevice(byteCount: 8192)
        try device.writeBytes(at: 0, block(1))
        try device.flush()
        var states = device.crashStates()
        let one = try states.state(at: 1, seed: 1)
        let two = try states.state(at: 2, seed: 0)
        try one.device.writeBytes(at: 0, block(9))
        try device.writeBytes(at: 0, block(8))
        try device.flush()
        #expect(states.lastPoint == 2)
        #expect(try two.device.readBytes(at: 0, count: 1) == [1])
        #expect(try device.currentContents().readBytes(at: 0, count: 1) == [8])
    }

    @Test func nthOperationFails() throws {
        for number in 0..<6 {
            let device = SimulatedDevice(byteCount: 8192, seed: 3)
            try device.writeBytes(at: 0, block(1))
            device.failure = SimulatedDevice.Failure(after: number)
            var failed: [Int] = []
            for step in 0..<6 {
                do {
                    switch step % 3 {
                    case 0: _ = try device.readBytes(at: 0, count: 16)
                    case 1: try device.writeBytes(at: 4096, block(3))
                    default: try device.flush()
                    }
                } catch .io(let code, _, _, _) {
                    #expect(code == .ioError)
                    failed.append(step)
                }
            }
            #expect(failed == [number])
            #expect(device.failuresSeen == 1)
        }
    }

    @Test func permanentFailureEndsWhenLifted() throws {
        let device = SimulatedDevice(byteCount: 8192)
        device.failure = SimulatedDevice.Failure(
            after: 1, duration: .permanent, operations: [.write], errno: .noSpace)
        try device.writeBytes(at: 0, block(1))
        for _ in 0..<3 {
            #expect(throws: BlockDeviceError.io(.noSpace, offset: 0, length: 4096, operation: .write)) {
                try device.writeBytes(at: 0, block(2))
            }
        }
        _ = try device.readBytes(at: 0, count: 1)
        device.failure = nil
        try device.writeBytes(at: 0, block(3))
        #expect(try device.readBytes(at: 0, count: 4096) == block(3))
        #expect(device.counts.writes == 5)
        #expect(device.counts.bytesWritten == 5 * 4096)
    }

    @Test func failedFlushMakesNothingDurable() throws {
        let device = SimulatedDevice(byteCount: 8192)
        try device.writeBytes(at: 0, block(1))
        device.failure = SimulatedDevice.Failure(after: 0, operations: [.flush])
        #expect(throws: BlockDeviceError.self) { try device.flush() }
        var states = device.crashStates()
        let lost = try states.state(at: states.lastPoint, seed: 0)
        #expect(try lost.device.readBytes(at: 0, count: 1) == [0])
    }

    @Test func manyStatesAreCheap() throws {
        let device = SimulatedDevice(byteCount: 64 << 20)
        for index in 0..<4000 {
            try device.writeBytes(at: UInt64(index * Self.block), block(1))
            if index % 40 == 39 { try device.flush() }
        }
        var states = device.crashStates()
        var count = 0
        for point in 0...states.lastPoint {
            for seed in UInt64(2)..<7 {
                let state = try states.state(at: point, seed: seed)
                #expect(state.device.changedPageCount <= state.unflushedCount)
                count += 1
            }
        }
        #expect(count > 20_000)
    }
}
