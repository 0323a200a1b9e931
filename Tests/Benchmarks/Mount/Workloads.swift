import CPosix
import Glibc

/// A call that did not succeed.
struct CallFailed: Error, CustomStringConvertible {
    let description: String
    init(_ what: String) { description = "\(what): errno \(errno)" }
}

/// One line of the table: what is measured in a folder of a mounted file system.
struct Workload: Sendable {
    /// What the line says.
    let name: String
    /// What the figure counts per second.
    let unit: String
    /// Makes what the measurement needs; not measured.
    let prepare: @Sendable (String) throws -> Void
    /// Measured; returns how many units were done.
    let run: @Sendable (String) throws -> Double
}

/// Megabytes of the sequential file, and files of the lines about many files.
let sequentialMegabytes = 128
let smallFiles = 10_000

/// All lines, in the order in which they are run: later ones use what earlier ones have made.
let workloads: [Workload] = [
    Workload(name: "sequential write with fsync", unit: "MB/s", prepare: { _ in }) { folder in
        try withFile("\(folder)/large", O_CREAT | O_TRUNC | O_WRONLY) { descriptor in
            let data = noise(1 << 20)
            for number in 0..<sequentialMegabytes { try writeAll(descriptor, data, at: number << 20) }
            try succeed(fsync(descriptor), "fsync")
        }
        return Double(sequentialMegabytes) * 1.048576
    },
    Workload(name: "sequential read, not cached", unit: "MB/s", prepare: dropCaches) { folder in
        try withFile("\(folder)/large", O_RDONLY) { descriptor in
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            for number in 0..<sequentialMegabytes { try readAll(descriptor, &buffer, at: number << 20) }
        }
        return Double(sequentialMegabytes) * 1.048576
    },
    Workload(name: "random read of 4 KiB, O_DIRECT", unit: "1/s", prepare: { _ in }) { folder in
        let count = 5000
        // Where O_DIRECT is refused, uncached reads are the nearest thing.
        let probe = open("\(folder)/large", O_RDONLY | posix_direct)
        let flags = probe >= 0 ? posix_direct : 0
        if probe >= 0 { close(probe) }
        try withFile("\(folder)/large", O_RDONLY | flags) { descriptor in
            try withAlignedPage { page in
                var random = Generator(seed: 3)
                for _ in 0..<count {
                    guard pread(descriptor, page, 4096, random.below(sequentialMegabytes << 8) << 12) == 4096 else {
                        throw CallFailed("pread")
                    }
                }
            }
        }
        return Double(count)
    },
    Workload(name: "random write of 4 KiB, buffered, fsync at the end", unit: "1/s", prepare: { _ in }) { folder in
        let count = 5000
        try withFile("\(folder)/large", O_WRONLY) { descriptor in
            let page = noise(4096)
            var random = Generator(seed: 4)
            for _ in 0..<count { try writeAll(descriptor, page, at: random.below(sequentialMegabytes << 8) << 12) }
            try succeed(fsync(descriptor), "fsync")
        }
        return Double(count)
    },
    Workload(name: "write of 4 KiB and fsync", unit: "1/s", prepare: { _ in }) { folder in
        let count = 300
        try withFile("\(folder)/journal", O_CREAT | O_TRUNC | O_WRONLY) { descriptor in
            let page = noise(4096)
            for number in 0..<count {
                try writeAll(descriptor, page, at: number << 12)
                try succeed(fsync(descriptor), "fsync")
            }
        }
        return Double(count)
    },
    Workload(name: "create files of 1 KiB", unit: "1/s", prepare: { try succeed(mkdir("\($0)/small", 0o755), "mkdir") })
    {
        folder in
        let data = noise(1024)
        for number in 0..<smallFiles {
            try withFile("\(folder)/small/\(number)", O_CREAT | O_EXCL | O_WRONLY) { try writeAll($0, data, at: 0) }
        }
        return Double(smallFiles)
    },
    Workload(name: "stat, not cached", unit: "1/s", prepare: dropCaches) { try statAll($0) },
    Workload(name: "stat, cached", unit: "1/s", prepare: { _ = try statAll($0) }) { try statAll($0) },
    Workload(name: "open and read files of 1 KiB, not cached", unit: "1/s", prepare: dropCaches) { folder in
        var buffer = [UInt8](repeating: 0, count: 1024)
        for number in 0..<smallFiles {
            try withFile("\(folder)/small/\(number)", O_RDONLY) { try readAll($0, &buffer, at: 0) }
        }
        return Double(smallFiles)
    },
    // The line before dropped the caches for each in turn: without that the last one alone would have its names in memory.
    Workload(name: "remove files of 1 KiB", unit: "1/s", prepare: dropCaches) { folder in
        for number in 0..<smallFiles { try succeed(unlink("\(folder)/small/\(number)"), "unlink") }
        try succeed(rmdir("\(folder)/small"), "rmdir")
        return Double(smallFiles)
    },
    Workload(name: "unpack a tree of 100 MB with tar", unit: "MB/s", prepare: { _ in }) { folder in
        try succeed(mkdir("\(folder)/tree", 0o755), "mkdir")
        try command("tar", "-xf", treeArchive, "-C", "\(folder)/tree")
        return 100
    },
    Workload(name: "pack the tree with tar, not cached", unit: "MB/s", prepare: dropCaches) { folder in
        try command("tar", "-cf", "-", "-C", "\(folder)/tree", ".")
        return 100
    },
    Workload(name: "du of the tree, not cached", unit: "1/s", prepare: dropCaches) { folder in
        try command("du", "-s", "\(folder)/tree")
        return 1
    },
    Workload(name: "rm -rf of the tree", unit: "1/s", prepare: { _ in }) { folder in
        try command("rm", "-rf", "\(folder)/tree")
        return 1
    },
]

/// Where the archive of the tree is; the benchmark makes it.
nonisolated(unsafe) var treeArchive = ""

private func statAll(_ folder: String) throws -> Double {
    var status = stat()
    for number in 0..<smallFiles { try succeed(stat("\(folder)/small/\(number)", &status), "stat") }
    return Double(smallFiles)
}
