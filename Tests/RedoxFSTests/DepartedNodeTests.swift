import BlockDevice
import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

@testable import RedoxFS

/// Whoever found a small file's name just before another client removed or replaced it can still open and read it.
@Suite struct DepartedNodeTests {
    private func make(stay: UInt64 = 4, megabytes: Int = 16) throws -> (MemoryDevice, FileSystem) {
        let device = MemoryDevice(byteCount: megabytes << 20)
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: Timespec(seconds: 1)))
        return (device, try open(device, stay: stay))
    }

    private func open(_ device: MemoryDevice, stay: UInt64 = 4) throws -> FileSystem {
        var options = OpenOptions()
        options.departedStay = stay
        return try FileSystem(opening: device, options: options)
    }

    private func content(_ system: FileSystem, _ node: NodeID) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(try system.attributes(node).size))
        try bytes.withMutableRawBytes { (span) throws(FileSystemError) in _ = try system.read(node, at: 0, into: &span)
        }
        return bytes
    }

    /// A file with a content, and another with the same name in its place.
    private func replaced(_ system: FileSystem, _ content: [UInt8], _ context: inout RequestContext) throws -> NodeID {
        let old = try system.create(.root, "file", &context).node
        try system.write(old, content, &context)
        let new = try system.create(.root, "new", &context).node
        try system.write(new, Array("new".utf8), &context)
        try system.rename(.root, "new", .root, "file", &context)
        #expect(try system.lookup(.root, "file").node == new)
        return old
    }

    private func expectClean(_ device: MemoryDevice) throws {
        let report = try FileSystemCheck.check(device, CheckOptions(verifyData: true))
        #expect(report.findings.isEmpty)
    }

    @Test(arguments: [10, 50_000]) func aReplacedFileCanBeOpened(_ size: Int) throws {
        let (device, system) = try make()
        var context = RequestContext(time: Timespec(seconds: 2))
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let old = try replaced(system, bytes, &context)
        #expect(try system.attributes(old).links == 0)
        try system.open(old)
        // Open, it stays as long as it is open, whatever happens.
        for index in 0..<20 { try system.create(.root, "other \(index)", &context) }
        try system.commit()
        #expect(try content(system, old) == bytes)
        #expect(system.brokenInvariant() == nil)
        try system.close(old, &context)
        #expect(throws: FileSystemError.notFound) { try system.attributes(old) }
        try system.close()
        try expectClean(device)
    }

    @Test func itGoesAfterSomeChanges() throws {
        let (device, system) = try make(stay: 4)
        var context = RequestContext(time: Timespec(seconds: 2))
        let old = try replaced(system, [1, 2, 3], &context)
        for index in 0..<4 {
            #expect(try content(system, old) == [1, 2, 3], "after \(index) changes")
            try system.create(.root, "other \(index)", &context)
        }
        #expect(throws: FileSystemError.notFound) { try system.attributes(old) }
        #expect(throws: FileSystemError.notFound) { try system.open(old) }
        #expect(system.brokenInvariant() == nil)
        try system.close()
        try expectClean(device)
    }

    @Test func itGoesWithACommit() throws {
        let (device, system) = try make()
        var context = RequestContext(time: Timespec(seconds: 2))
        let old = try system.create(.root, "file", &context).node
        try system.commit()
        #expect(try system.unlink(.root, Array("file".utf8).rawBytes, &context) == old)
        #expect(try system.attributes(old).links == 0)
        try system.commit()
        #expect(throws: FileSystemError.notFound) { try system.attributes(old) }
        try system.close()
        try expectClean(device)
    }

    /// Nobody would read what is written to it, and it gets no name again; its attributes may be changed, as anywhere.
    @Test func itIsNoFileToWriteTo() throws {
        let (_, system) = try make()
        var context = RequestContext(time: Timespec(seconds: 2))
        let old = try replaced(system, [1], &context)
        #expect(throws: FileSystemError.notFound) { try system.write(old, [1], &context) }
        #expect(throws: FileSystemError.notFound) {
            try system.link(old, .root, Array("again".utf8).rawBytes, &context)
        }
        #expect(try system.setAttributes(old, AttributeChanges(mode: 0o600), &context).mode == 0o600)
    }

    /// Its space counts as free, and is there when somebody needs it.
    @Test func itsSpaceIsThereForOthers() throws {
        let (device, system) = try make(stay: 1_000_000, megabytes: 3)
        var context = RequestContext(time: Timespec(seconds: 2))
        let block = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }
        let free = system.statistics().freeBlocks
        for round in 0..<200 {
            let file = try system.create(.root, "file", &context).node
            try system.write(file, block, &context)
            if round % 7 == 0 { try system.commit() }
            try system.unlink(.root, "file", &context)
            #expect(system.brokenInvariant() == nil)
        }
        #expect(system.statistics().freeBlocks >= free - 16)
        try system.close()
        try expectClean(device)
    }

    /// A repetition after a death has files open earlier than they were opened the first time, and commits at other places. Nodes get the
    /// same numbers all the same: where numbers are few, and where tree blocks come and go.
    @Test(arguments: [0, 250, 252, 600]) func aRepetitionGivesTheSameNumbers(_ others: Int) throws {
        // With so many the first tree block is full: what departs is the last in its block, doesn't stay, and can't be opened.
        let isFull = others == 252
        func numbers(opensEarly: Bool, commitsEvery: Int, stay: UInt64 = 7) throws -> [NodeID] {
            let (_, system) = try make(stay: stay, megabytes: 6)
            var context = RequestContext(time: Timespec(seconds: 2))
            for index in 0..<others { try system.create(.root, "\(index)", &context) }
            // With so many the first tree block is full: what loses its name is the last in the second one and goes at once.
            var nodes: [NodeID] = []
            for step in 0..<900 {
                let old = try system.create(.root, "file", &context).node
                nodes.append(old)
                let isOpened = step % 5 == 0 && !isFull
                if isOpened, opensEarly { try system.open(old) }
                try system.unlink(.root, "file", &context)
                if isOpened, !opensEarly { try system.open(old) }
                nodes.append(try system.create(.root, "other", &context).node)
                if step % commitsEvery == commitsEvery - 1 { try system.commit() }
                try system.unlink(.root, "other", &context)
                if isOpened { try system.close(old, &context) }
                if let broken = system.brokenInvariant() { Issue.record("step \(step): \(broken)") }
            }
            return nodes
        }
        let usual = try numbers(opensEarly: false, commitsEvery: 1000)
        #expect(try numbers(opensEarly: true, commitsEvery: 1000) == usual)
        #expect(try numbers(opensEarly: false, commitsEvery: 3) == usual)
        #expect(try numbers(opensEarly: true, commitsEvery: 2) == usual)
        #expect(try numbers(opensEarly: true, commitsEvery: 1000, stay: 0) == usual)
    }

    /// Who wants to open what departed comes too late when its number is another node's.
    @Test func aNumberThatIsGivenAgainEndsTheStay() throws {
        let (device, system) = try make(stay: 1_000_000, megabytes: 3)
        var context = RequestContext(time: Timespec(seconds: 2))
        var gone: [NodeID] = []
        for step in 0..<400 {
            let node = try system.create(.root, "file", &context).node
            if let index = gone.firstIndex(of: node) { gone.remove(at: index) }
            try system.unlink(.root, "file", &context)
            gone.append(node)
            if let broken = system.brokenInvariant() { Issue.record("step \(step): \(broken)") }
        }
        for node in gone.suffix(3) { try system.open(node) }
        #expect(system.brokenInvariant() == nil)
        let opened = Set(gone.suffix(3))
        for index in 0..<300 { #expect(!opened.contains(try system.create(.root, "\(index)", &context).node)) }
        try system.commit()
        for node in opened { try system.close(node, &context) }
        try system.close()
        try expectClean(device)
    }

    /// Without the option nothing stays: tools that work alone need no such thing.
    @Test func nothingStaysUnlessWanted() throws {
        let (_, system) = try make(stay: 0)
        var context = RequestContext(time: Timespec(seconds: 2))
        let old = try replaced(system, [1], &context)
        #expect(throws: FileSystemError.notFound) { try system.attributes(old) }
    }
}
