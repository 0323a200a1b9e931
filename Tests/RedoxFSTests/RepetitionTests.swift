import BlockDevice
import DiskFormat
import Platform
import RedoxFS
import TestSupport
import Testing

/// Threads change a file system side by side. Their changes repeated one after another, in the order of their sequence
/// numbers, must give the same node numbers: recovery after the death of a server rests on it.
@Suite struct RepetitionTests {
    private enum Change {
        case create(name: String, node: NodeID)
        case unlink(name: String)
        case closeLast(node: NodeID)
    }

    @Test func repeatedChangesGiveTheSameNodeNumbers() throws {
        for round in 0..<40 {
            let fileSystem = try make()
            let changes = Locked<[(sequence: UInt64, change: Change)]>([])
            let faults = Locked<[String]>([])
            var threads: [JoinHandle] = []
            for worker in 0..<3 {
                threads.append(
                    try spawnThread(name: "worker") {
                        do {
                            for step in 0..<150 { try Self.step(fileSystem, "\(worker)-\(step)", changes) }
                        } catch { faults.withLock { $0.append("\(error)") } }
                    })
            }
            for thread in threads { thread.join() }
            #expect(faults.withLock { $0 } == [])
            try expectSame(changes.withLock { $0 }.sorted { $0.sequence < $1.sequence }, round)
        }
    }

    private func make() throws -> FileSystem {
        let device = MemoryDevice(byteCount: 32 << 20)
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: Timespec(seconds: 1)))
        return try FileSystem(opening: device)
    }

    /// Creates a file, opens it, unlinks it and closes it: the close frees the number.
    private static func step(
        _ fileSystem: FileSystem, _ name: String, _ changes: Locked<[(sequence: UInt64, change: Change)]>
    ) throws {
        var context = RequestContext(time: Timespec(seconds: 2))
        func note(_ change: Change) { changes.withLock { $0.append((context.sequence, change)) } }
        let node = try fileSystem.create(.root, name, &context).node
        note(.create(name: name, node: node))
        try fileSystem.open(node)
        try fileSystem.unlink(.root, name, &context)
        note(.unlink(name: name))
        try fileSystem.close(node, &context)
        note(.closeLast(node: node))
    }

    private func expectSame(_ changes: [(sequence: UInt64, change: Change)], _ round: Int) throws {
        let fileSystem = try make()
        var context = RequestContext(time: Timespec(seconds: 2))
        for (sequence, change) in changes {
            switch change {
            case .create(let name, let node):
                let repeated = try fileSystem.create(.root, name, &context).node
                try fileSystem.open(repeated)
                guard repeated == node else {
                    Issue.record("round \(round), change \(sequence): node \(repeated), it was \(node)")
                    return
                }
            case .unlink(let name): try fileSystem.unlink(.root, name, &context)
            case .closeLast(let node): try fileSystem.close(node, &context)
            }
        }
    }
}
