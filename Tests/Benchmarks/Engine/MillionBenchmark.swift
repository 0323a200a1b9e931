import BlockDevice
import DiskFormat
import Platform
import RedoxFS

/// A directory of a million names.
struct MillionBenchmark {
    let place: Place
    private let count = 1_000_000
    private let lookups = 200_000

    func run() throws {
        var system = try place.makeFileSystem()
        var context = Contexts.next()
        let directory = try system.create(.root, "million", kind: .directory, mode: 0o755, &context).node
        let names = (0..<count).map { Array("file-\($0).txt".utf8) }
        try Report.once(
            "creates with their commit, a million", with: .block(count, place), figure: Report.rate(count)
        ) {
            for name in names { _ = try system.create(directory, name.rawBytes, kind: .file, mode: 0o644, &context) }
            try system.commit()
        }
        var generator = SplitMix(seed: 3)
        let order = (0..<lookups).map { _ in Int.random(in: 0..<names.count, using: &generator) }
        // The directory's blocks come into memory first.
        let wanted = order.map { names[$0] }
        for name in wanted { _ = try system.lookupNode(directory, name.rawBytes) }
        try Report.compare(
            "lookups of names among a million", with: .block(lookups, place), figure: Report.rate(lookups)
        ) { _ in
            for name in wanted { _ = try system.lookupNode(directory, name.rawBytes) }
        }
        try Report.compare(
            "lookups that read the node, too", with: .block(lookups, place), figure: Report.rate(lookups)
        ) { _ in
            for name in wanted { _ = try system.lookup(directory, name.rawBytes) }
        }
        try system.close()
        try Report.compare(
            "open with a million nodes", with: .block(1, place), figure: Report.latency()
        ) { _ in system = try place.open() }
        var seen = 0
        try Report.once("entries read, with their kind", with: .block(count, place), figure: Report.rate(count)) {
            try system.readDirectory(directory, from: .start, count: 1024) { _ in
                seen += 1
                return true
            }
        }
        if seen != count { Report.line("entries are missing", "\(count - seen)") }
        try system.close()
    }
}
