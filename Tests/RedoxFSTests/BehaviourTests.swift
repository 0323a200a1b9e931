import BlockDevice
import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

@testable import RedoxFS

@Suite struct Behaviour {
    @Test func unnamedNodesLiveUntilTheyAreClosed() throws {
        let (device, system) = try Engine.make()
        var context = Engine.context
        let file = try system.create(.root, "file", &context).node
        try system.write(file, Engine.bytes(300_000, seed: 1), &context)
        try system.open(file)
        try system.unlink(.root, "file", &context)
        try system.commit()
        #expect(try system.read(file, count: 300_000) == Engine.bytes(300_000, seed: 1))
        #expect(try system.attributes(file).links == 0)
        let unnamed = try system.createUnnamed(.root, mode: 0o600, &context).node
        try system.write(unnamed, [1, 2, 3], &context)
        let linked = try system.createUnnamed(.root, mode: 0o600, &context).node
        try system.link(linked, .root, "linked", &context)
        try system.close(linked, &context)
        try system.commit()
        let waiting = try FileSystemCheck.check(device)
        #expect(waiting.releasedNodes.count == 2)
        #expect(waiting.isConsistent, "\(waiting.findings)")
        // Not closed properly: the next opening deletes them.
        let again = try FileSystem(opening: device)
        #expect(throws: FileSystemError.notFound) { try again.attributes(file) }
        #expect(throws: FileSystemError.notFound) { try again.attributes(unnamed) }
        #expect(try again.lookup(.root, "linked").links == 1)
        try again.close()
        try Engine.expectClean(device)
    }

    @Test func theSameRequestsGiveTheSameBytes() throws {
        func image(threads: Int) throws -> [UInt8] {
            var options = OpenOptions()
            options.threads = threads
            options.dirtyBytes = 1 << 20
            let (device, system) = try Engine.make(byteCount: 24 << 20, options: options)
            var generator = SplitMix(seed: 42)
            var context = Engine.context
            for index in 0..<150 {
                let file = try system.create(.root, "file \(index)", &context).node
                let bytes = Engine.bytes(Int.random(in: 0..<200_000, using: &generator), seed: generator.next())
                try system.write(file, bytes, &context)
                if index % 3 == 0 { try system.unlink(.root, "file \(index / 2)", &context) }
                if index % 40 == 0 { try system.commit() }
            }
            try system.close()
            return device.snapshot()
        }
        let first = try image(threads: 0)
        for threads in [1, 3] { #expect(try image(threads: threads) == first, "with \(threads) threads") }
    }

    @Test func randomOverwritesMakeRecordsSmaller() throws {
        let (device, system) = try Engine.make(byteCount: 32 << 20)
        var context = Engine.context
        let file = try system.create(.root, "database", &context).node
        var model = Engine.bytes(3_000_000, seed: 9)
        try system.write(file, model, &context)
        #expect(try system.attributes(file).recordLevel == 5)
        var generator = SplitMix(seed: 3)
        for _ in 0..<200 {
            let page = Int.random(in: 0..<730, using: &generator) * 4096
            let bytes = Engine.bytes(4096, seed: generator.next())
            try system.write(file, at: UInt64(page), bytes, &context)
            model.replaceSubrange(page..<page + 4096, with: bytes)
        }
        #expect(try system.attributes(file).recordLevel == 2)
        #expect(system.brokenInvariant() == nil)
        try system.commit()
        try Engine.expectClean(device)
        #expect(try system.read(file, count: model.count) == model)
    }

    @Test func recordSizeIsInherited() throws {
        let (device, system) = try Engine.make()
        var context = Engine.context
        let directory = try system.create(.root, "directory", kind: .directory, mode: 0o755, &context).node
        let name = Array("user.saltbridge.record_size".utf8)
        try system.setExtendedAttribute(directory, name, Array("8192".utf8).rawBytes, &context)
        let below = try system.create(directory, "below", kind: .directory, mode: 0o755, &context).node
        let file = try system.create(below, "file", &context).node
        #expect(try system.attributes(file).recordLevel == 1)
        #expect(try system.extendedAttribute(file, name) == Array("8192".utf8))
        try system.write(file, Engine.bytes(100_000, seed: 1), &context)
        try system.close()
        let report = try FileSystemCheck.check(device, CheckOptions(verifyData: true))
        #expect(report.isConsistent, "\(report.findings)")
    }

    @Test func aThousandAttributes() throws {
        var (device, system) = try Engine.make(byteCount: 64 << 20)
        var context = Engine.context
        let file = try system.create(.root, "file", &context).node
        for index in 0..<1_000 {
            let value = Engine.bytes(index % 100 == 0 ? 65_536 : index % 50, seed: UInt64(index))
            try system.setExtendedAttribute(file, Array("user.attribute \(index)".utf8), value.rawBytes, &context)
        }
        try system.close()
        system = try FileSystem(opening: device)
        #expect(try system.listExtendedAttributes(file).count == 1_000)
        for index in 0..<1_000 {
            let value = Engine.bytes(index % 100 == 0 ? 65_536 : index % 50, seed: UInt64(index))
            #expect(try system.extendedAttribute(file, Array("user.attribute \(index)".utf8)) == value)
        }
        try Engine.expectClean(device)
        for index in 0..<1_000 {
            try system.removeExtendedAttribute(file, Array("user.attribute \(index)".utf8), &context)
        }
        try system.unlink(.root, "file", &context)
        try system.close()
        try Engine.expectClean(device)
    }

    @Test func aFullDiskCanBeEmptied() throws {
        let (device, system) = try Engine.make(byteCount: 2 << 20)
        var context = Engine.context
        var count = 0
        do {
            while true {
                let file = try system.create(.root, "file \(count)", &context).node
                count += 1
                try system.write(file, Engine.bytes(30_000, seed: UInt64(count)), &context)
            }
        } catch { #expect(error == .noSpace) }
        #expect(count > 20)
        try system.commit()
        try Engine.expectClean(device)
        for index in 0..<count { try system.unlink(.root, "file \(index)", &context) }
        try system.close()
        try Engine.expectClean(device)
    }

    @Test func timesAndModes() throws {
        let (device, system) = try Engine.make()
        var context = Engine.context
        let directory = try system.create(.root, "d", kind: .directory, mode: 0o2755, &context).node
        try system.setAttributes(directory, AttributeChanges(mode: 0o2755, gid: 77), &context)
        context.time = Timespec(seconds: 5_000_000_000, nanoseconds: 999_999_999)
        let file = try system.create(directory, "f", &context)
        #expect(file.gid == 77)
        #expect(file.ctime == context.time)
        let child = try system.create(directory, "sub", kind: .directory, mode: 0o755, &context)
        #expect(child.mode == 0o2755 && child.gid == 77)
        #expect(try system.attributes(directory).links == 3)
        let early = Timespec(seconds: -1_000_000_000, nanoseconds: 7)
        try system.setAttributes(file.node, AttributeChanges(atime: early, mtime: early), &context)
        let device2 = try system.create(.root, "null", kind: .characterDevice, mode: 0o666, device: 0x103, &context)
        try system.close()
        let again = try FileSystem(opening: device)
        let read = try again.attributes(file.node)
        #expect(read.mtime == early && read.atime == early && read.ctime == context.time)
        #expect(try again.attributes(device2.node).device == 0x103)
        #expect(try again.attributes(directory).links == 3)
        #expect(try again.parent(of: child.node) == directory)
    }

    @Test func generationsBeyondTheRingAndTheSquash() throws {
        let (device, system) = try Engine.make(byteCount: 4 << 20)
        var context = Engine.context
        let file = try system.create(.root, "file", &context).node
        for index in 0..<1_100 {
            try system.write(file, at: UInt64(index % 50) * 4096, Engine.bytes(5_000, seed: UInt64(index)), &context)
            try system.commit()
            if index % 100 == 0 || index > 1_015 && index < 1_030 { try Engine.expectClean(device, "\(index)") }
        }
        #expect(system.statistics().logBlocks < 40)
        try system.close()
        try Engine.expectClean(device)
        #expect(system.statistics().logBlocks == 1)
    }
}
