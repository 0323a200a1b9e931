import BlockDevice
import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

@Suite struct Repairs {
    private static let time = Timespec(seconds: 1_800_000_000)

    /// The SHA-256 of all metadata and content that a generation reaches, by the paths of its nodes.
    private func inspector(_ surgeon: Surgeon, _ generation: Generation? = nil) throws -> Inspector {
        try Inspector(surgeon.device, CheckOptions(generation: generation, password: surgeon.password))
    }

    // MARK: Falling back

    @Test(arguments: [GoldenImage.smallTree, .encrypted])
    func lostBlockUnderTheNewestHeaderFallsBack(_ image: GoldenImage) throws {
        var surgeon = try Surgeon(image)
        if image == .encrypted {
            // Its older generations were wiped out: it gets one.
            try surgeon.edit(Surgeon.node(1)) { $0.set64(9, at: 22) }
            #expect(try surgeon.repair().generation == surgeon.header.generation.next)
            surgeon = try Surgeon(continuing: surgeon)
        }
        let newest = surgeon.header.generation
        // The top tree block is new in every commit: only the newest generation has it.
        try surgeon.ruin(surgeon.header.tree.address.number)
        let found = try surgeon.check()
        #expect(found.generation == newest)
        #expect(found.counts[.treeBlockUnreadable] == 1)
        #expect(found.counts[.generationNotWhole] == 1)
        let whole = try #require(found.wholeGeneration)
        #expect(whole < newest)
        // Nothing can be said about what the newest had: that is not the same as that it had nothing.
        #expect(!found.changesSinceWhole.isEmpty && found.changesSinceWhole.allSatisfy { $0.kind == .lost })

        let report = try surgeon.repair()
        #expect(report.source == whole)
        #expect(report.generation == newest.next)
        #expect(report.after.isClean)
        #expect(report.isComplete)
        #expect(try surgeon.check(verifyData: true).isClean)
        // The generation that it went back to is still there, with the same nodes.
        let before = try surgeon.check(generation: whole)
        #expect(before.nodes == report.after.nodes)
    }

    @Test func changesThatAreGivenUpAreNamed() throws {
        var surgeon = try Surgeon(.smallTree)
        // A new generation with a new directory, lost+found, of which a block is lost then.
        try surgeon.editList(SmallTree.list(SmallTree.many)) { $0.removeAll { $0.node == SmallTree.otherFile } }
        try surgeon.repair()
        let before = surgeon.header.generation
        surgeon = try Surgeon(continuing: surgeon)
        try surgeon.ruin(surgeon.pointer(Surgeon.slot(1, 1)).address.number)
        let found = try surgeon.check()
        #expect(found.counts[.directoryListUnreadable] == 1)
        #expect(found.wholeGeneration == before)
        let directory = try #require(found.changesSinceWhole.first { $0.path == "/" })
        #expect(directory.kind == .changed)
        // Its name is lost with the list, so it has a number only.
        #expect(found.changesSinceWhole.contains { $0.kind == .added && $0.path.hasPrefix("#") })
        let finding = try #require(found.findings.first { $0.rule == .generationNotWhole })
        #expect(finding.detail.contains("changed /"))
        let report = try surgeon.repair()
        #expect(report.source == before)
        #expect(report.changesGivenUp == found.changesSinceWhole)
        #expect(report.after.isClean)
    }

    @Test func blockLostInAllGenerationsIsRepairedInPlace() throws {
        let surgeon = try Surgeon(.smallTree)
        // Written once, long before the oldest header of the ring.
        try surgeon.ruin(surgeon.pointer(Surgeon.node(SmallTree.level00)).address.number)
        let found = try surgeon.check()
        #expect(found.counts[.nodeUnreadable] == 1)
        #expect(found.wholeGeneration == nil)
        let report = try surgeon.repair()
        #expect(report.source == found.generation)
        #expect(report.losses.contains { $0.node == SmallTree.level00 })
        // What was in the directory is in lost+found.
        #expect(report.attached == [4])
        let inspector = try inspector(surgeon)
        #expect(try inspector.node(at: "/lost+found/#4") == 4)
        #expect(throws: CheckError.self) { try inspector.node(at: "/deep/level00") }
        #expect(try surgeon.check(verifyData: true).isClean)
    }

    /// A node that is lost is told by the name that still leads to it.
    @Test func lostNodesAreNamed() throws {
        let surgeon = try Surgeon(.smallTree)
        let place = Surgeon.node(20)
        let old = try surgeon.pointer(place)
        try surgeon.setPointer(place, BlockPointer(address: BlockAddress(number: 1 << 40, level: 0), hash: old.hash))
        let found = try surgeon.check()
        #expect(found.findings.contains { $0.rule == .pointerOutOfRange && $0.path == "/sizes/c2" })
        let report = try surgeon.repair(fallsBack: false)
        #expect(report.losses.map(\.path) == ["/sizes/c2"])
    }

    /// The same for all nodes of a lost tree block.
    @Test func nodesOfALostTreeBlockAreNamed() throws {
        let surgeon = try Surgeon(.smallTree)
        try surgeon.ruin(surgeon.pointer(Surgeon.tree(300, level: 0)).address.number)
        let before = try FileSystemCheck.check(try Surgeon.original(.smallTree))
        let report = try surgeon.repair(fallsBack: false)
        let named = Set(report.losses.compactMap(\.path))
        #expect(
            named.contains { $0.hasPrefix("/hard/") || $0 == "/links/three" }
                && named.contains { $0.hasPrefix("/many/") })
        // The block itself is one loss more.
        #expect(UInt64(report.losses.count) - 1 == before.nodes - report.before.nodes)
    }

    @Test func tornNewestHeaderIsSaid() throws {
        let surgeon = try Surgeon(.smallTree)
        let newest = surgeon.header.generation
        var bytes = surgeon.header.bytes
        bytes.replaceSubrange(512..<4096, with: [UInt8](repeating: 0, count: 3584))
        try surgeon.writeRing(newest.ringBlock, bytes)
        let found = try surgeon.check()
        #expect(found.generation.rawValue == newest.rawValue - 1)
        let finding = try #require(found.findings.first { $0.rule == .headerTorn })
        #expect(finding.detail.contains("\(newest)"))
        #expect(found.isConsistent)
        #expect(try surgeon.repair().after.isClean)
    }

    /// Eight free blocks are left, or nothing is written: with fewer the file system could not be changed any more.
    @Test(arguments: [14, 15])
    func roomIsLeft(_ shared: Int) throws {
        let surgeon = try Surgeon(.full)
        // A file claims blocks of the record of the one before, each for a record of its own: all must be copied.
        let base = try surgeon.pointer(Surgeon.slot(5, 0)).address.number
        var pointers: [BlockPointer] = []
        for number in base..<base + UInt64(shared) {
            let block = try surgeon.read(number)
            pointers.append(
                BlockPointer(address: BlockAddress(number: number, level: 0), hash: SeaHash.hash(block.rawBytes)))
        }
        try surgeon.edit(Surgeon.node(6)) { bytes in
            for (index, pointer) in pointers.enumerated() {
                bytes.setPointer(pointer, at: 128 + (index + 1) * 16)
            }
            bytes.set64(UInt64(shared + 1) << 17, at: 14)
            bytes.set64(UInt64(33 + shared), at: 22)
        }
        let before = try surgeon.device.readBytes(at: 0, count: Int(surgeon.device.byteCount))
        if shared == 14 {
            let report = try surgeon.repair(fallsBack: false)
            #expect(report.after.isClean && report.after.free == 8)
            return
        }
        var message = ""
        do {
            _ = try surgeon.repair(fallsBack: false)
        } catch {
            message = "\(error)"
        }
        #expect(message.contains("7 blocks free, at least 8"))
        #expect(try surgeon.device.readBytes(at: 0, count: before.count) == before)
    }

    // MARK: What is lost and what is not

    @Test func lostRecordsBecomeHolesAndAreNamed() throws {
        let surgeon = try Surgeon(.smallTree)
        try surgeon.ruin(surgeon.pointer(Surgeon.slot(SmallTree.manyRecords, 2)).address.number)
        try surgeon.ruin(surgeon.pointer(Surgeon.slot(SmallTree.manyRecords, 3)).address.number + 31)
        try surgeon.ruin(surgeon.pointer(Surgeon.slot(SmallTree.manyRecords, 8)).address.number)
        let report = try surgeon.repair(verifyData: true)
        let losses = report.losses.filter { $0.node == SmallTree.manyRecords }
        #expect(losses.map(\.path) == ["/sizes/r1048583", "/sizes/r1048583"])
        #expect(losses.map(\.bytes) == [262_144..<524_288, 1_048_576..<1_048_583])
        #expect(try surgeon.check(verifyData: true).isClean)
    }

    @Test func sharedRecordIsCopied() throws {
        let surgeon = try Surgeon(.smallTree)
        let first = try surgeon.pointer(Surgeon.slot(SmallTree.twoRecords, 0))
        let place = Surgeon.slot(SmallTree.manyRecords, 1)
        let old = try surgeon.pointer(place)
        try surgeon.setPointer(place, first)
        try surgeon.log(old.address.number, Int64(old.address.blockCount))
        let found = try surgeon.check()
        #expect(found.counts == [.blockUsedTwice: 1])
        let report = try surgeon.repair()
        #expect(report.losses.isEmpty)
        #expect(report.after.isClean)
        #expect(report.after.used == found.used + 32)
        #expect(try surgeon.check(verifyData: true).isClean)
    }

    @Test func largeDirectoryKeepsItsNames() throws {
        let surgeon = try Surgeon(.bigDirectory)
        // The keys are all wrong: only a new hash tree helps.
        try surgeon.edit(Surgeon.slot(2, 1) + [Surgeon.entry(0)]) { bytes in
            for index in 0..<20 { bytes.set32(bytes.get32(index * 20) / 2, at: index * 20) }
        }
        let report = try surgeon.repair()
        #expect(report.before.counts[.hashTreeKeyWrong] != nil)
        #expect(report.losses.isEmpty && report.attached.isEmpty)
        #expect(report.after.isClean)
        let manifest = try GoldenImage.bigDirectory.manifest()
        let changes = try FileSystemCheck.changes(
            surgeon.device, from: report.source, to: report.after.generation)
        #expect(changes.map(\.path) == ["/big"])
        #expect(report.after.nodes == UInt64(manifest.header.nodes))
    }

    @Test func orphansJoinTheOldLostAndFound() throws {
        let surgeon = try Surgeon(.smallTree)
        try surgeon.editList(SmallTree.list(SmallTree.many)) { $0.removeAll { $0.node == 116 } }
        #expect(try surgeon.repair().attached == [116])
        let device = surgeon.device
        let again = try Surgeon(continuing: surgeon)
        try again.editList(SmallTree.list(SmallTree.many)) { $0.removeAll { $0.node == 117 } }
        #expect(try again.repair().attached == [117])
        let inspector = try Inspector(device)
        #expect(try inspector.node(at: "/lost+found/#116") == 116)
        #expect(try inspector.node(at: "/lost+found/#117") == 117)
    }

    // MARK: Care

    @Test func repairIsUndoneByRollingBack() throws {
        let surgeon = try Surgeon(.churn)
        let before = try surgeon.check()
        let report = try surgeon.repair()
        let undone = try FileSystemCheck.rollBack(surgeon.device, to: before.generation, time: Self.time)
        #expect(undone.after.isClean)
        #expect(undone.after.nodes == before.nodes)
        #expect(undone.generation == report.generation?.next)
        let changes = try FileSystemCheck.changes(
            surgeon.device, from: before.generation, to: undone.after.generation)
        #expect(changes.isEmpty)
    }

    @Test func nearlyFullImageIsRepaired() throws {
        let surgeon = try Surgeon(.full)
        let file = try #require(GoldenImage.full.manifest().entries.first { $0.type == "file" }).node
        try surgeon.edit(Surgeon.node(file)) { $0.set64(1, at: 22) }
        let report = try surgeon.repair()
        #expect(report.after.isClean)
        #expect(report.before.counts[.nodeBlocksTooLow] == 1)
    }

    @Test func leakedSpaceIsRoomEnough() throws {
        let surgeon = try Surgeon(.full)
        for block in try surgeon.freeBlocks() { try surgeon.log(block, -1) }
        let file = try #require(GoldenImage.full.manifest().entries.first { $0.type == "file" }).node
        try surgeon.edit(Surgeon.node(file)) { $0.set64(1, at: 22) }
        let report = try surgeon.repair()
        #expect(report.after.isClean)
        #expect(report.after.free > 0)
    }

    @Test func withoutRoomNothingIsWritten() throws {
        let surgeon = try Surgeon(.full)
        let entries = try GoldenImage.full.manifest().entries
        let files = entries.filter { $0.type == "file" }
        // More nodes are wrong than there are free blocks to write them anew.
        for file in files.prefix(60) {
            try surgeon.edit(Surgeon.node(file.node)) { $0.set64(1, at: 22) }
        }
        let pages = surgeon.device.changedPageCount
        #expect {
            try surgeon.repair()
        } throws: { error in
            if case .noSpace? = error as? CheckError { true } else { false }
        }
        #expect(surgeon.device.changedPageCount == pages)
        #expect(try surgeon.check().generation == surgeon.header.generation)
    }

    @Test func failingDeviceLeavesTheOldGeneration() throws {
        let original = try Surgeon.original(.unclean)
        let before = try FileSystemCheck.check(original)
        for operation in 0..<200 {
            let base = OverlayDevice(over: original)
            let device = SimulatedDevice(over: base, recordsWrites: false)
            device.failure = .init(after: operation, operations: [.write, .flush])
            let result = Result {
                try FileSystemCheck.repair(device, CheckOptions(), RepairOptions(time: Self.time))
            }
            device.failure = nil
            let after = try FileSystemCheck.check(device.currentContents())
            switch result {
            case .success(let report):
                #expect(report.after.isClean)
                #expect(device.failuresSeen == 0)
                return
            case .failure:
                let isOld = after.generation == before.generation && after.counts == before.counts
                #expect(isOld || after.generation == before.generation.next)
            }
        }
        Issue.record("a repair makes more than 200 writes")
    }
}
