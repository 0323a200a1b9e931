import ArgumentParser
import Glibc

/// Runs the same workloads in folders of several mounted file systems, in turn within each round, so that a drift of
/// the machine's speed hits all of them. Run by `Scripts/bench mount`, which makes the mounts.
@main
struct MountBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-mount", abstract: "Compares mounted file systems, side by side and interleaved.")

    @Option(
        name: .customLong("in"),
        help: "A folder to measure in, as NAME=FOLDER; the first one is compared with the others.")
    var folders: [String]

    @Option(help: "Rounds; the median counts.")
    var rounds = 3

    @Option(help: "Only lines whose name contains this text (what they need must be there).")
    var only = ""

    @Flag(help: "One JSON object per line and folder.")
    var json = false

    func run() throws {
        let targets = try folders.map { text -> (name: String, folder: String) in
            guard let sign = text.firstIndex(of: "=") else { throw ValidationError("\(text): NAME=FOLDER is expected") }
            return (String(text[..<sign]), String(text[text.index(after: sign)...]) + "/benchmark-\(getpid())")
        }
        let (path, remove) = try makeTree()
        treeArchive = path
        defer { remove() }
        for target in targets { try succeed(mkdir(target.folder, 0o755), "mkdir \(target.folder)") }
        defer { for target in targets { try? command("rm", "-rf", target.folder) } }

        var results: [String: [String: [Double]]] = [:]
        var faults: [String: [String: String]] = [:]
        for _ in 0..<rounds {
            for workload in workloads where only.isEmpty || workload.name.contains(only) {
                for target in targets {
                    do {
                        try workload.prepare(target.folder)
                        let start = now()
                        let units = try workload.run(target.folder)
                        results[workload.name, default: [:]][target.name, default: []].append(units / (now() - start))
                    } catch {
                        faults[workload.name, default: [:]][target.name] = "\(error)"
                    }
                }
            }
        }
        report(targets.map(\.name), results, faults)
    }

    private func report(
        _ names: [String], _ results: [String: [String: [Double]]], _ faults: [String: [String: String]]
    ) {
        if !json {
            print("| |unit|" + names.joined(separator: "|") + "|")
            print("|---|---" + names.map { _ in "|---:" }.joined() + "|")
        }
        for workload in workloads {
            guard let row = results[workload.name] ?? faults[workload.name].map({ _ in [:] }) else { continue }
            let medians = names.map { name in row[name].map { $0.sorted()[$0.count / 2] } }
            if json {
                for (name, median) in zip(names, medians) {
                    let value = median.map { "\($0)" } ?? "null"
                    print(
                        "{\"workload\":\"\(workload.name)\",\"unit\":\"\(workload.unit)\",\"in\":\"\(name)\",\"median\":\(value)}"
                    )
                }
                continue
            }
            let cells = medians.map { median in
                guard let median else { return "failed" }
                let figure = median < 100 ? "\((median * 100).rounded() / 100)" : "\(Int(median))"
                guard let own = medians.first ?? nil, own != median else { return figure }
                return "\(figure) (\((own / median * 100).rounded() / 100))"
            }
            print("|\(workload.name)|\(workload.unit)|" + cells.joined(separator: "|") + "|")
        }
        if !json {
            print("\nMedians of \(rounds) rounds. In brackets: how many times as fast \(names.first ?? "") is.")
        }
        for (workload, failures) in faults.sorted(by: { $0.key < $1.key }) {
            for (name, reason) in failures.sorted(by: { $0.key < $1.key }) {
                complain("\(workload) on \(name): \(reason)")
            }
        }
    }

    /// An archive of a tree of 100 MB: 2,000 files of 2 to 200 KB in 100 folders.
    private func makeTree() throws -> (path: String, remove: () -> Void) {
        let folder = "/var/tmp/saltbridge-benchmark-\(getpid())"
        try succeed(mkdir(folder, 0o755), "mkdir \(folder)")
        try succeed(mkdir("\(folder)/tree", 0o755), "mkdir")
        var generator = Generator(seed: 6)
        var left = 100_000_000
        let data = noise(200_000)
        for number in 0..<2000 where left > 0 {
            let parent = "\(folder)/tree/\(number % 100)"
            if number < 100 { try succeed(mkdir(parent, 0o755), "mkdir") }
            let size = min(left, number % 4 == 0 ? 100_000 + generator.below(100_000) : 2000 + generator.below(60_000))
            left -= size
            try withFile("\(parent)/\(number)", O_CREAT | O_WRONLY) {
                try writeAll($0, Array(data.prefix(size)), at: 0)
            }
        }
        try command("tar", "-cf", "\(folder)/tree.tar", "-C", "\(folder)/tree", ".")
        try command("rm", "-rf", "\(folder)/tree")
        return ("\(folder)/tree.tar", { try? command("rm", "-rf", folder) })
    }
}
