import BlockDevice
import DiskFormat
import Platform
import RedoxFS

/// Creating, finding and removing names in a directory of a hundred thousand.
struct NameBenchmark {
    let place: Place
    private let count = 100_000

    func run() throws {
        let system = try place.makeFileSystem()
        var context = Contexts.next()
        let names = (0..<count).map { Array("file-\($0).txt".utf8) }
        let directories = try (0..<Report.rounds).map {
            try system.create(.root, "directory \($0)", kind: .directory, mode: 0o755, &context).node
        }
        try Report.compare("creates, 100,000", with: .block(count, place), figure: Report.rate(count)) { round in
            for name in names {
                _ = try system.create(directories[round], name.rawBytes, kind: .file, mode: 0o644, &context)
            }
        }
        try system.commit()
        try Report.compare("lookups", with: .block(count, place), figure: Report.rate(count)) { round in
            for name in names { _ = try system.lookup(directories[round], name.rawBytes) }
        }
        try Report.compare("removes with their commit", with: .block(count, place), figure: Report.rate(count)) {
            round in
            for name in names { try system.unlink(directories[round], name.rawBytes, &context) }
            try system.commit()
        }
        try system.close()
    }
}
