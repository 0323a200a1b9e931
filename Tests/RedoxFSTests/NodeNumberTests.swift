import BlockDevice
import DiskFormat
import RedoxFS
import TestSupport
import Testing

/// Whoever still has the number of a node that is gone must not be given another one by it.
@Suite struct NodeNumberTests {
    private func make(_ megabytes: Int) throws -> (MemoryDevice, FileSystem) {
        let device = MemoryDevice(byteCount: megabytes << 20)
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: Timespec(seconds: 1)))
        return (device, try FileSystem(opening: device, options: options))
    }

    private var options: OpenOptions {
        var options = OpenOptions()
        options.tellsBirthsApart = true
        return options
    }

    /// All of it in one moment of the client's clock.
    private let now = Timespec(seconds: 2, nanoseconds: 5_000_000)

    @Test(arguments: [3, 64]) func noTwoNodesHaveNumberAndGeneration(_ megabytes: Int) throws {
        let (_, system) = try make(megabytes)
        var context = RequestContext(time: now)
        var seen: Set<[UInt32]> = []
        for step in 0..<3000 {
            let new = try system.create(.root, "file", &context)
            #expect(seen.insert([new.node.rawValue, new.inodeGeneration]).inserted, "step \(step)")
            #expect(new.btime <= now)
            try system.unlink(.root, "file", &context)
        }
    }

    @Test func aNumberIsNotGivenAgainSoon() throws {
        let (_, system) = try make(1024)
        var context = RequestContext(time: now)
        var seen: Set<NodeID> = []
        for step in 0..<4000 {
            #expect(seen.insert(try system.create(.root, "file", &context).node).inserted, "step \(step)")
            try system.unlink(.root, "file", &context)
            if step % 1000 == 0 { try system.commit() }
        }
    }

    /// A small image has no room for a tree that is larger than it must be.
    @Test func theTreeDoesNotGrowWhereAnOldNumberDoes() throws {
        let (_, system) = try make(3)
        var context = RequestContext(time: now)
        var nodes: [NodeID] = []
        while nodes.count < 252 { nodes.append(try system.create(.root, "\(nodes.count)", &context).node) }
        for place in [100, 7, 200] {
            try system.unlink(.root, "\(place)", &context)
            #expect(try system.create(.root, "new \(place)", &context).node == nodes[place])
        }
        #expect(try system.create(.root, "beyond", &context).node == NodeID(256))
    }

    /// A server that repeats what came after a commit gives the same numbers and generations.
    @Test func aRepetitionFromTheLastCommitGivesTheSame() throws {
        let (device, system) = try make(64)
        var context = RequestContext(time: now)
        for number in 0..<300 { _ = try system.create(.root, "\(number)", &context) }
        for number in 0..<100 { try system.unlink(.root, "\(number)", &context) }
        try system.commit()
        let copy = MemoryDevice(contents: device.snapshot())
        func goOn(_ system: FileSystem) throws -> [Attributes] {
            var context = RequestContext(time: now)
            return try (0..<600).map { number in
                if number % 3 == 0 { try system.unlink(.root, "\(100 + number / 3)", &context) }
                return try system.create(.root, "new \(number)", &context)
            }
        }
        let first = try goOn(system)
        let again = try goOn(try FileSystem(opening: copy, options: options))
        #expect(first.map(\.node) == again.map(\.node))
        #expect(first.map(\.inodeGeneration) == again.map(\.inodeGeneration))
    }
}
