import BlockDevice
import DiskFormat
import FileSystemCheck
import RedoxFS
import SystemPackage
import TestSupport
import Testing

/// Where several mechanisms meet: the ring wraps, the log is squashed, the disk is full or as small as it may be,
/// directories are large, hostile or churned.
@Suite struct InterplayTests {
    private func context(_ step: Int) -> RequestContext {
        RequestContext(time: Timespec(seconds: 1_700_000_000 + Int64(step), nanoseconds: 5))
    }

    private func make(_ megabytes: Int, _ options: OpenOptions = openOptions()) throws -> (MemoryDevice, FileSystem) {
        let device = MemoryDevice(byteCount: megabytes << 20)
        try FileSystem.format(device, formatOptions())
        return (device, try FileSystem(opening: device, options: options))
    }

    /// Generations beyond 256 (the ring starts again) and beyond 1024 (the reference squashes the log there).
    @Test func generationsBeyondTheRingAndTheSquash() throws {
        let (device, fileSystem) = try make(8)
        var context = context(0)
        let file = try fileSystem.create(.root, "file", kind: .file, mode: 0o644, device: 0, &context)
        var longest = 0
        for step in 0..<2200 {
            context.time.seconds += 1
            _ = try fileSystem.write(
                file.node, at: UInt64(step % 50) * 5000, noise(3000, seed: UInt64(step)).rawBytes, &context)
            _ = try fileSystem.commit()
            longest = max(longest, fileSystem.statistics().logBlocks)
            if [255, 256, 257, 1022, 1023, 1024, 1025, 2047, 2048, 2049].contains(step % 2100) || step % 300 == 0 {
                try checkImage(device)
            }
        }
        #expect(fileSystem.statistics().generation.rawValue > 2200)
        #expect(longest > 1, "the log was meant to grow between squashes")
        try fileSystem.close()
        #expect(try checkImage(device).logBlocks <= 2, "closing squashes the log")
    }

    /// Filled to the last block, then emptied: ENOSPC comes at the operation, nothing is half done, all space comes back.
    @Test(arguments: [2, 5, 40]) func fullAndEmptiedAgain(_ megabytes: Int) throws {
        let (device, fileSystem) = try make(megabytes)
        var context = context(1)
        let before = fileSystem.statistics().freeBlocks
        for round in 0..<3 {
            var names: [String] = []
            var isFull = false
            while !isFull {
                let name = "file-\(names.count)"
                do {
                    let file = try fileSystem.create(
                        .root, name, kind: .file, mode: 0o600, device: 0, &context)
                    names.append(name)
                    let bytes = noise([100, 5000, 70_000, 300_000][names.count % 4], seed: UInt64(names.count))
                    _ = try fileSystem.write(file.node, at: 0, bytes.rawBytes, &context)
                } catch {
                    #expect(error == .noSpace, "\(error)")
                    isFull = true
                }
            }
            _ = try fileSystem.commit()
            try checkImage(device)
            #expect(names.count > megabytes)
            for name in names { try fileSystem.unlink(.root, name, &context) }
            _ = try fileSystem.commit()
            try checkImage(device)
            #expect(fileSystem.statistics().freeBlocks + 40 >= before, "round \(round) lost space")
        }
        try fileSystem.close()
        try checkImage(device)
    }

    /// The smallest image that can be made works, and one block less is refused with the size that is needed.
    @Test func smallestImage() throws {
        var minimum: UInt64 = 0
        do {
            try FileSystem.format(MemoryDevice(byteCount: 4096), formatOptions())
            Issue.record("an image of one block was made")
        } catch .tooSmall(let needed) {
            minimum = needed
        } catch { Issue.record("\(error)") }
        #expect(throws: FileSystemError.self) {
            try FileSystem.format(MemoryDevice(byteCount: Int(minimum) - 4096), formatOptions())
        }
        let device = MemoryDevice(byteCount: Int(minimum))
        try FileSystem.format(device, formatOptions())
        try checkImage(device)
        let fileSystem = try FileSystem(opening: device, options: openOptions())
        var context = context(1)
        for number in 0..<20 {
            do {
                _ = try fileSystem.create(.root, "\(number)", kind: .file, mode: 0o600, device: 0, &context)
                _ = try fileSystem.commit()
            } catch { #expect(error == .noSpace, "\(error)") }
            try checkImage(device)
        }
        try fileSystem.close()
        try checkImage(device)
    }

    /// 20,000 entries made and removed in random order.
    @Test func largeDirectoryInRandomOrder() throws {
        let (device, fileSystem) = try make(128)
        var context = context(1)
        var random = SeededGenerator(seed: seed(41))
        var numbers = Array(0..<20_000)
        numbers.shuffle(using: &random)
        for number in numbers {
            _ = try fileSystem.create(
                .root, "entry-\(number)", kind: number % 10 == 0 ? .directory : .file, mode: 0o700,
                device: 0, &context)
        }
        _ = try fileSystem.commit()
        try checkImage(device)
        #expect(try entries(of: .root, in: fileSystem, atATime: 77).count == 20_000)
        #expect(try fileSystem.attributes(.root).links == 2002 || fileSystem.attributes(.root).links == 1)
        numbers.shuffle(using: &random)
        for (index, number) in numbers.enumerated() {
            let name = "entry-\(number)"
            if number % 10 == 0 {
                try fileSystem.removeDirectory(.root, name, &context)
            } else {
                try fileSystem.unlink(.root, name, &context)
            }
            if index % 2500 == 0 {
                _ = try fileSystem.commit()
                try checkImage(device)
                #expect(try entries(of: .root, in: fileSystem, atATime: 500).count == 19_999 - index)
            }
        }
        #expect(try fileSystem.attributes(.root).size == 0)
        try fileSystem.close()
        try checkImage(device)
    }

    /// Reading a directory goes on at a position while entries come and go: what was there all the time is seen once.
    @Test func positionsStayValidWhileEntriesComeAndGo() throws {
        let (_, fileSystem) = try make(64)
        var context = context(1)
        func create(_ name: String) throws {
            _ = try fileSystem.create(.root, name, kind: .file, mode: 0o600, device: 0, &context)
        }
        for number in 0..<3000 { try create("stays-\(number)") }
        for number in 0..<1000 { try create("goes-\(number)") }
        var seen: [[UInt8]: Int] = [:]
        var position = DirectoryPosition.start
        var round = 0
        var isComplete = false
        while !isComplete {
            var taken = 0
            try fileSystem.readDirectory(.root, from: position) { entry in
                seen[entry.name, default: 0] += 1
                position = entry.next
                taken += 1
                return taken < 50
            }
            isComplete = taken < 50
            for _ in 0..<10 where round < 1000 {
                try fileSystem.unlink(.root, "goes-\(round)", &context)
                try create("comes-\(round)")
                round += 1
            }
        }
        for number in 0..<3000 { #expect(seen[Array("stays-\(number)".utf8)] == 1, "stays-\(number)") }
        #expect(seen.values.allSatisfy { $0 == 1 })
    }

    /// Names that all have the same hash: as many as the format can hold, then ENOSPC, and everything else goes on.
    @Test func namesThatCollide() throws {
        let (device, fileSystem) = try make(16)
        var context = context(1)
        let names = namesWithEqualHash(count: 600)
        #expect(Set(names.map { SeaHash.hash(Array($0.utf8).rawBytes) }).count == 1)
        for number in 0..<500 {
            _ = try fileSystem.create(.root, "plain-\(number)", kind: .file, mode: 0o600, device: 0, &context)
        }
        var made: [String] = []
        for name in names {
            do {
                _ = try fileSystem.create(.root, name, kind: .file, mode: 0o600, device: 0, &context)
                made.append(name)
            } catch { #expect(error == .noSpace, "\(error)") }
        }
        #expect(made.count >= 150)
        _ = try fileSystem.commit()
        try checkImage(device)
        let listed = try entries(of: .root, in: fileSystem, atATime: 13)
        #expect(listed.count == made.count + 500)
        for name in made { _ = try fileSystem.lookup(.root, name) }
        for name in made.reversed() { try fileSystem.unlink(.root, name, &context) }
        #expect(try entries(of: .root, in: fileSystem, atATime: 100).count == 500)
        try fileSystem.close()
        try checkImage(device)
    }

    /// A thousand attributes, values of 64 KiB, on one node; all are there after reopening and gone after removal.
    @Test func manyExtendedAttributes() throws {
        let (device, fileSystem) = try make(160)
        var context = context(1)
        let file = try fileSystem.create(.root, "file", kind: .file, mode: 0o600, device: 0, &context)
        let free = fileSystem.statistics().freeBlocks
        func value(_ number: Int) -> [UInt8] { noise(number % 10 == 0 ? 65_536 : number % 700, seed: UInt64(number)) }
        for number in 0..<1000 {
            try fileSystem.setExtendedAttribute(
                file.node, Array("user.attribute-\(number)".utf8), value(number).rawBytes, &context)
        }
        try fileSystem.close()
        try checkImage(device)
        let second = try FileSystem(opening: device, options: openOptions())
        #expect(try second.listExtendedAttributes(file.node).count == 1000)
        for number in 0..<1000 {
            let stored = try second.extendedAttribute(file.node, Array("user.attribute-\(number)".utf8))
            #expect(stored == value(number), "attribute \(number)")
        }
        #expect(throws: FileSystemError.self) {
            try second.setExtendedAttribute(
                file.node, Array("user.large".utf8), noise(65_537, seed: 1).rawBytes, &context)
        }
        for number in 0..<1000 {
            try second.removeExtendedAttribute(file.node, Array("user.attribute-\(number)".utf8), &context)
        }
        try second.close()
        let report = try checkImage(device)
        #expect(report.free + 40 >= free, "blocks of removed attributes are free again")
    }
}
