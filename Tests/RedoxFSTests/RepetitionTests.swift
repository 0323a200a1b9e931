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
        case write(node: NodeID)
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
        // A file with lists of records isn't freed in the step that takes its name.
        let large = try fileSystem.create(.root, "\(name) large", &context).node
        note(.create(name: "\(name) large", node: large))
        try fileSystem.write(large, at: listedOffset, [1, 2, 3], &context)
        note(.write(node: large))
        try fileSystem.unlink(.root, "\(name) large", &context)
        note(.unlink(name: "\(name) large"))
    }

    private static let listedOffset: UInt64 = 1 << 30

    /// A change that consists of several is repeated with the number of the last. Until all are made, the number isn't reached: a
    /// commit in between must not claim that it is.
    @Test func severalChangesReachTheirNumberTogether() throws {
        let fileSystem = try make()
        var context = RequestContext(time: Timespec(seconds: 2))
        let node = try fileSystem.create(.root, "file", &context).node
        #expect(context.sequence == 1)
        context.repeatedSequence = 7
        context.isStepOfRepetition = true
        try fileSystem.setAttributes(node, AttributeChanges(mode: 0o600), &context)
        try fileSystem.write(node, at: 0, [1], &context)
        try fileSystem.commit()
        #expect(fileSystem.statistics().durableSequence == 1)
        fileSystem.endRepetition(of: 7)
        try fileSystem.commit()
        #expect(fileSystem.statistics().durableSequence == 7)
    }

    private func expectSame(_ changes: [(sequence: UInt64, change: Change)], _ round: Int) throws {
        let fileSystem = try make()
        var context = RequestContext(time: Timespec(seconds: 2))
        for (sequence, change) in changes {
            switch change {
            case .create(let name, let node):
                let repeated = try fileSystem.create(.root, name, &context).node
                if !name.hasSuffix("large") { try fileSystem.open(repeated) }
                guard repeated == node else {
                    Issue.record("round \(round), change \(sequence): node \(repeated), it was \(node)")
                    return
                }
            case .write(let node): try fileSystem.write(node, at: Self.listedOffset, [1, 2, 3], &context)
            case .unlink(let name): try fileSystem.unlink(.root, name, &context)
            case .closeLast(let node): try fileSystem.close(node, &context)
            }
        }
    }
}
