import BlockDevice
import DiskFormat
import TestSupport
import Testing

@testable import RedoxFS

@Suite struct Directories {
    /// Invariants: every entry is found and listed once; after each commit a check of the image finds nothing.
    @Test func thousandsOfEntriesInRandomOrder() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var generator = SplitMix(seed: seed)
        let (device, system) = try Engine.make(byteCount: 64 << 20)
        var context = Engine.context
        let directory = try system.create(.root, "directory", kind: .directory, mode: 0o755, &context).node
        var names = (0..<5_000).map { "entry \($0 * $0)\(String(repeating: "x", count: $0 % 90))" }
        names.shuffle(using: &generator)
        for (index, name) in names.enumerated() {
            try system.create(directory, name, &context)
            if index % 1000 == 0 { #expect(system.brokenInvariant() == nil) }
        }
        try system.commit()
        try Engine.expectClean(device)
        let listed = try system.entries(of: directory)
        #expect(Set(listed.map { String(decoding: $0.name, as: UTF8.self) }) == Set(names))
        #expect(listed.count == names.count)
        #expect(listed.map(\.next) == listed.map(\.next).sorted())
        names.shuffle(using: &generator)
        for (index, name) in names.enumerated() {
            try system.unlink(directory, name, &context)
            if index % 1000 == 0 {
                #expect(system.brokenInvariant() == nil)
                try system.commit()
                try Engine.expectClean(device, "after \(index)")
            }
        }
        #expect(try system.entries(of: directory).isEmpty)
        #expect(try system.attributes(directory).size == 0)
        try system.removeDirectory(.root, "directory", &context)
        try system.close()
        try Engine.expectClean(device)
    }

    /// Entries that are there all the time are listed exactly once, whatever comes and goes meanwhile.
    @Test func positionsStayValid() throws {
        let (_, system) = try Engine.make(byteCount: 32 << 20)
        var context = Engine.context
        for index in 0..<1_500 { try system.create(.root, "stays \(index)", &context) }
        for index in 0..<1_500 { try system.create(.root, "goes \(index)", &context) }
        var seen: [String: Int] = [:]
        var position = DirectoryPosition.start
        var round = 0
        while true {
            var isEnd = true
            var taken = 0
            try system.readDirectory(.root, from: position, count: 50) { entry in
                isEnd = false
                seen[String(decoding: entry.name, as: UTF8.self), default: 0] += 1
                position = entry.next
                taken += 1
                return taken < 50
            }
            if isEnd { break }
            for index in 0..<20 {
                let number = round * 20 + index
                if number < 1_500 { try system.unlink(.root, "goes \(number)", &context) }
                try system.create(.root, "new \(number)", &context)
            }
            round += 1
        }
        for index in 0..<1_500 { #expect(seen["stays \(index)"] == 1) }
        #expect(seen.values.allSatisfy { $0 == 1 })
    }

    /// Names that all have the same 32-bit hash fill more than one list.
    @Test func splitsRunsOfEqualHashes() {
        #expect(DirectorySplit.index([1, 1, 1, 1]) == 2)
        #expect(DirectorySplit.index([1, 2, 2, 2, 3]) == 1 || DirectorySplit.index([1, 2, 2, 2, 3]) == 4)
        #expect(DirectorySplit.index([1, 1, 1, 2]) == 3)
        #expect(DirectorySplit.index([1, 2]) == 1)
        let sizes = [257] + [Int](repeating: 20, count: 204)
        let split = DirectorySplit.index([UInt32](repeating: 7, count: 205), sizes: sizes)
        #expect(sizes[..<split].reduce(0, +) <= 4092 && sizes[split...].reduce(0, +) <= 4092)
    }
}
