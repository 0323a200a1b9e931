import BlockDevice
import DiskFormat
import FileSystemCheck
import Platform
import RedoxFS
import TestSupport
import Testing

/// A name that is removed is removed, also if the file's blocks can't be freed after that: the next opening frees them.
@Suite struct AbandonedNodeTests {
    /// Beyond what a node's own pointers reach.
    private static let listedOffset: UInt64 = 1 << 30

    private func makeImage() throws -> MemoryDevice {
        let (device, system) = try Engine.make(byteCount: 32 << 20)
        var context = Engine.context
        let file = try system.create(.root, "file", &context).node
        try system.write(file, at: Self.listedOffset, Engine.bytes(10_000, seed: 1), &context)
        try system.close()
        return device
    }

    @Test func unlinkSucceedsThoughNothingCanBeFreed() throws {
        let image = try makeImage()
        let free = try FileSystem(opening: image).statistics().freeBlocks
        var wasInterrupted = false
        // The disk refuses every read from the Nth on, until the removal needs no more of them.
        for reads in 0..<100 {
            let device = SimulatedDevice(over: image, recordsWrites: false)
            do {
                let system = try FileSystem(opening: device)
                device.failure = SimulatedDevice.Failure(after: reads, duration: .permanent, operations: [.read])
                var context = Engine.context
                let result = Result { try system.unlink(.root, "file", &context) }
                let failures = device.failuresSeen
                device.failure = nil
                switch result {
                case .failure: #expect(try system.lookup(.root, "file").size > Self.listedOffset)
                case .success:
                    #expect(throws: FileSystemError.self) { _ = try system.lookup(.root, "file") }
                    if failures > 0 { wasInterrupted = true }
                    try system.commit()
                }
                if case .failure = result { continue }
            }
            let again = try FileSystem(opening: device)
            try again.commit()
            #expect(again.statistics().freeBlocks > free)
            try again.close()
            try Engine.expectClean(device, "after \(reads) reads")
            if device.failuresSeen == 0 { break }
        }
        #expect(wasInterrupted)
    }

    /// The list on disk has room for 1,020 files that are open without a name. Of more the process that opened the file system dies, and
    /// the files are still open: the next one deletes all of them when they are closed.
    @Test func moreOpenFilesThanTheListHolds() throws {
        let (device, system) = try Engine.make(byteCount: 64 << 20)
        var context = Engine.context
        var nodes: [NodeID] = []
        for number in 0..<1500 {
            let node = try system.create(.root, "\(number)", &context).node
            try system.open(node)
            nodes.append(node)
        }
        for number in 0..<1500 { _ = try system.unlink(.root, "\(number)", &context) }
        try system.commit()
        var options = OpenOptions()
        options.keepsUnnamed = true
        let again = try FileSystem(opening: device, options: options)
        for node in nodes { try again.open(node) }
        try again.releaseUnnamed()
        for node in nodes { try again.close(node, &context) }
        for node in nodes {
            #expect(throws: FileSystemError.self) { _ = try again.attributes(node) }
        }
        try again.close()
        try Engine.expectClean(device)
    }
}
