import BlockDevice
import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

@testable import RedoxFS

/// What a session freed is used last by the sessions after it, too: older generations stay readable.
@Suite struct RecentGenerationTests {
    private func content(_ session: Int) -> [UInt8] { Engine.bytes(200_000, seed: UInt64(session)) }

    @Test(arguments: [false, true])
    func olderGenerationsOutliveSessions(_ isEncrypted: Bool) throws {
        let password: [UInt8]? = isEncrypted ? Array("password".utf8) : nil
        let device = MemoryDevice(byteCount: 64 << 20)
        var format = FormatOptions(uuid: Bytes16(low: 1, high: 2), time: Engine.time)
        format.encryption = password.map {
            FormatOptions.Encryption(
                password: $0, salt: Bytes16(low: 3, high: 4), dataKey: Bytes16(low: 5, high: 6),
                tweakKey: Bytes16(low: 7, high: 8))
        }
        try FileSystem.format(device, format)
        var options = OpenOptions()
        options.password = password
        var generations: [Generation] = []
        for session in 0..<12 {
            let system = try FileSystem(opening: device, options: options)
            var context = Engine.context
            if session > 0 { try system.unlink(.root, "file", &context) }
            let file = try system.create(.root, "file", &context).node
            try system.write(file, content(session), &context)
            try system.close()
            generations.append(system.headerPlace.generation)
        }
        let whole = try FileSystemCheck.history(device, CheckOptions(password: password, verifyData: true))
            .filter(\.isWhole).map(\.generation)
        for (session, generation) in generations.enumerated() {
            #expect(whole.contains(generation), "session \(session)")
            options.generation = generation
            let system = try FileSystem(opening: device, options: options)
            let file = try system.lookup(.root, "file").node
            #expect(try system.read(file, count: 200_000) == content(session))
        }
        let report = try FileSystemCheck.check(device, CheckOptions(password: password, verifyData: true))
        #expect(report.isClean, "\(report.findings)")
    }

    /// It is a last resort, not lost: a session can fill the disk all the same.
    @Test func whatIsKeptIsUsedWhenNothingElseIsLeft() throws {
        let (device, first) = try Engine.make(byteCount: 8 << 20)
        var context = Engine.context
        let size = 5 << 20
        let file = try first.create(.root, "file", &context).node
        try first.write(file, Engine.bytes(size, seed: 1), &context)
        try first.close()
        let second = try FileSystem(opening: device)
        try second.unlink(.root, "file", &context)
        try second.close()
        let third = try FileSystem(opening: device)
        let other = try third.create(.root, "other", &context).node
        try third.write(other, Engine.bytes(size, seed: 2), &context)
        try third.close()
        let fourth = try FileSystem(opening: device)
        #expect(try fourth.read(try fourth.lookup(.root, "other").node, count: size) == Engine.bytes(size, seed: 2))
        try fourth.close()
        try Engine.expectClean(device)
    }

    @Test func runsAreCut() {
        var generator = SplitMix(seed: 11)
        for _ in 0..<500 {
            var sets: [Set<UInt64>] = []
            var lists: [[BlockRun]] = []
            for _ in 0..<2 {
                let list = (0..<Int.random(in: 0...6, using: &generator)).map { _ in
                    BlockRun(
                        start: UInt64.random(in: 1...60, using: &generator),
                        count: UInt64.random(in: 1...9, using: &generator))
                }
                lists.append(Space.joined(list))
                sets.append(Set(list.flatMap { $0.start..<$0.end }))
            }
            let (common, rest) = Space.split(lists[0], by: lists[1])
            #expect(Set(common.flatMap { $0.start..<$0.end }) == sets[0].intersection(sets[1]))
            #expect(Set(rest.flatMap { $0.start..<$0.end }) == sets[0].subtracting(sets[1]))
            let total = (common + rest).reduce(0) { $0 + $1.count }
            #expect(total == UInt64(sets[0].count), "nothing is in both")
        }
    }
}
