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

    /// A repetition after a death has files open earlier than they were opened the first time. Nodes get the same numbers all the same.
    @Test func aRepetitionGivesTheSameNumbers() throws {
        func numbers(opensEarly: Bool) throws -> [NodeID] {
            let (_, system) = try make(stay: 4, megabytes: 3)
            var context = RequestContext(time: Timespec(seconds: 2))
            var nodes: [NodeID] = []
            for step in 0..<600 {
                let old = try system.create(.root, "file", &context).node
                nodes.append(old)
                let isOpened = step % 5 == 0
                if isOpened, opensEarly { try system.open(old) }
                try system.unlink(.root, "file", &context)
                nodes.append(try system.create(.root, "other", &context).node)
                if isOpened, !opensEarly { try system.open(old) }
                try system.unlink(.root, "other", &context)
                if isOpened { try system.close(old, &context) }
                #expect(system.brokenInvariant() == nil)
            }
            return nodes
        }
        #expect(try numbers(opensEarly: false) == numbers(opensEarly: true))
    }

    /// Without the option nothing stays: tools that work alone need no such thing.
    @Test func nothingStaysUnlessWanted() throws {
        let (_, system) = try make(stay: 0)
        var context = RequestContext(time: Timespec(seconds: 2))
        let old = try replaced(system, [1], &context)
        #expect(throws: FileSystemError.notFound) { try system.attributes(old) }
    }
}
