import BlockDevice
import DiskFormat
import Platform
import RedoxFS

/// Creating, finding and removing names.
struct NameBenchmark {
    let device: any BlockDevice

    func run() throws {
        var system = try EngineBenchmark.make(device)
        var context = EngineBenchmark.context()
        let count = 100_000
        var directory = try system.create(.root, "hundred thousand", kind: .directory, mode: 0o755, &context).node
        let names = (0..<1_000_000).map { Array("file-\($0).txt".utf8) }
        let creating = try Report.seconds {
            for name in names[..<count] {
                _ = try system.create(directory, name.rawBytes, kind: .file, mode: 0o644, &context)
            }
        }
        Report.line("creates, 100,000 in a directory", Report.rate(count, creating))
        let committing = try Report.seconds { try system.commit() }
        Report.line("their commit", Report.milliseconds(committing))
        let looking = try Report.seconds {
            for name in names[..<count] { _ = try system.lookup(directory, name.rawBytes) }
        }
        Report.line("lookups in it", Report.rate(count, looking))
        let removing = try Report.seconds {
            for name in names[..<count] { try system.unlink(directory, name.rawBytes, &context) }
            try system.commit()
        }
        Report.line("removes", Report.rate(count, removing))

        directory = try system.create(.root, "million", kind: .directory, mode: 0o755, &context).node
        let filling = try Report.seconds {
            for name in names { _ = try system.create(directory, name.rawBytes, kind: .file, mode: 0o644, &context) }
            try system.commit()
        }
        Report.line("creates, a million in a directory", Report.rate(names.count, filling))
        var generator = SplitMix(seed: 3)
        let order = (0..<200_000).map { _ in Int.random(in: 0..<names.count, using: &generator) }
        let names1 = try Report.seconds {
            for index in order {
                let name = names[index]
                _ = try system.lookupNode(directory, name.rawBytes)
            }
        }
        Report.line("lookups of names among a million", Report.rate(order.count, names1))
        let names2 = try Report.seconds {
            for index in order {
                let name = names[index]
                _ = try system.lookup(directory, name.rawBytes)
            }
        }
        Report.line("lookups with attributes among a million", Report.rate(order.count, names2))
        try system.close()
        let opening = try Report.seconds { system = try FileSystem(opening: device) }
        Report.line("open with a million nodes", Report.milliseconds(opening))
        var seen = 0
        let reading = try Report.seconds {
            try system.readDirectory(directory, from: .start, count: 1024) { _ in
                seen += 1
                return true
            }
        }
        Report.line("entries read", Report.rate(seen, reading))
        try system.close()
    }
}
