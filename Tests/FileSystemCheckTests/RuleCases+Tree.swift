import DiskFormat
import FileSystemCheck
import TestSupport

extension RuleCase {
    static let ring: [RuleCase] = [
        RuleCase(.headerTorn) { surgeon in
            var bytes = surgeon.header.bytes
            bytes[50] ^= 1
            try surgeon.writeRing(surgeon.header.generation.next.ringBlock, bytes)
        },
        RuleCase(.headerTorn, "not the next one") { surgeon in
            try surgeon.writeRing(200, [UInt8](repeating: 0x5A, count: 4096))
        },
        RuleCase(.headerMisplaced) { surgeon in
            var other = surgeon.header
            other.generation = Generation(700)
            other.seal()
            try surgeon.writeRing(3, other.bytes)
        },
        RuleCase(.headerForeign) { surgeon in
            var other = Header(
                uuid: Bytes16(low: 1, high: 2), byteCount: surgeon.header.byteCount, generation: Generation(5))
            other.seal()
            try surgeon.writeRing(5, other.bytes)
        },
        RuleCase(.headerSizeWrong) { surgeon in
            try surgeon.editHeader { $0.byteCount += 77 }
        },
        RuleCase(.headerSizeWrong, "beyond the device") { surgeon in
            try surgeon.editHeader { $0.byteCount = 1 << 40 }
        },
        RuleCase(.headerSizeWrong, "none", fallsBack: true) { surgeon in
            try surgeon.editHeader { $0.byteCount = 0 }
        },
        RuleCase(.headerSizeWrong, "the ring alone", fallsBack: true) { surgeon in
            try surgeon.editHeader { $0.byteCount = 257 << 12 }
        },
        RuleCase(.headerEncryptedHashWrong, "hash") { surgeon in
            try surgeon.flip(surgeon.header, bit: 4075 * 8 + 3)
        },
        RuleCase(.headerEncryptedHashWrong, "zeros") { surgeon in
            try surgeon.flip(surgeon.header, bit: 4087 * 8 + 7)
        },
        RuleCase(.headerEncryptedHashWrong, "encrypted", image: .encrypted) { surgeon in
            // Its older generations were wiped out: it gets one.
            try surgeon.edit(Surgeon.node(1)) { $0.set64(9, at: 22) }
            try surgeon.repair()
            try surgeon.flip(Surgeon(continuing: surgeon).header, bit: 4072 * 8)
        },
        RuleCase(.headerEncryptedHashWrong, "plain on an encrypted disk", image: .encrypted) { surgeon in
            try surgeon.edit(Surgeon.node(1)) { $0.set64(9, at: 22) }
            try surgeon.repair()
            var header = try Surgeon(continuing: surgeon).header
            header.seal()
            try surgeon.writeRing(header.generation.ringBlock, header.bytes)
        },
        RuleCase(.headerEncryptedHashWrong, "an older one") { surgeon in
            let older = Generation(surgeon.header.generation.rawValue - 7)
            let bytes = try surgeon.read(older.ringBlock)
            try surgeon.flip(Header(decoding: bytes.rawBytes), bit: 4080 * 8)
        },
    ]

    static let pointers: [RuleCase] = [
        RuleCase(.nullPointerLevels, "list") { surgeon in
            let null = BlockPointer(address: BlockAddress(number: 0, level: 1), hash: 0)
            try surgeon.setPointer(Surgeon.slot(SmallTree.twoRecords, 130), null)
        },
        RuleCase(.nullPointerLevels, "list below a list", image: .sparse) { surgeon in
            let null = BlockPointer(address: BlockAddress(number: 0, level: 3, decompressedLevel: 4), hash: 5)
            let slot = (192..<248).first { (try? surgeon.pointer(Surgeon.slot(3, $0)).isNull) == false } ?? 192
            let list = Surgeon.slot(3, slot)
            let free = (0..<256).first { (try? surgeon.pointer(list + [$0 * 16]).isNull) == true } ?? 0
            try surgeon.setPointer(list + [free * 16], null)
        },
        RuleCase(.nullPointerLevels, "tree") { surgeon in
            let null = BlockPointer(address: BlockAddress(number: 0, level: 2), hash: 0)
            try surgeon.setPointer(Surgeon.tree(1, level: 3) + [7 * 16], null)
        },
        RuleCase(.nullPointerLevels, "release list") { surgeon in
            try surgeon.editHeader {
                $0.releaseList = BlockPointer(address: BlockAddress(number: 0, level: 1), hash: 0)
            }
        },
        RuleCase(.pointerOutOfRange, "record") { surgeon in
            let place = Surgeon.slot(SmallTree.twoRecords, 1)
            let old = try surgeon.pointer(place)
            try surgeon.setPointer(
                place, BlockPointer(address: BlockAddress(number: 1 << 40, level: 0), hash: old.hash))
            try surgeon.log(old.address.number, 1)
        },
        RuleCase(.pointerOutOfRange, "the header's tree", along: [.blockLeaked], fallsBack: true) { surgeon in
            try surgeon.editHeader { $0.tree.address = BlockAddress(number: 1 << 30, level: 0) }
        },
        RuleCase(.pointerOutOfRange, "the header's tree in the ring", along: [.blockLeaked], fallsBack: true) {
            surgeon in
            try surgeon.editHeader { $0.tree.address = BlockAddress(number: 5, level: 0) }
        },
        RuleCase(.pointerLevelInvalid, "the header's tree", along: [.blockLeaked], fallsBack: true) { surgeon in
            try surgeon.editHeader { $0.tree.address.rawValue |= 1 }
        },
        RuleCase(
            .pointerOutOfRange, "the root's list", along: [.blockLeaked, .nodeOrphaned], fallsBack: true
        ) { surgeon in
            try surgeon.move(Surgeon.node(1))
            let old = try surgeon.pointer(SmallTree.list(1))
            try surgeon.setPointer(
                SmallTree.list(1), BlockPointer(address: BlockAddress(number: 1 << 40, level: 0), hash: old.hash))
        },
        RuleCase(
            .pointerLevelInvalid, "the root's list", along: [.blockLeaked, .nodeOrphaned], fallsBack: true
        ) { surgeon in
            try surgeon.move(Surgeon.node(1))
            let old = try surgeon.pointer(SmallTree.list(1))
            try surgeon.setPointer(
                SmallTree.list(1),
                BlockPointer(address: BlockAddress(number: old.address.number, level: 2), hash: old.hash))
        },
        RuleCase(.pointerOutOfRange, "node", along: [.entryDangling], fallsBack: true) { surgeon in
            let place = Surgeon.node(SmallTree.inlineFile)
            let old = try surgeon.pointer(place)
            try surgeon.setPointer(place, BlockPointer(address: BlockAddress(number: 3, level: 0), hash: old.hash))
            try surgeon.log(old.address.number, 1)
        },
        RuleCase(.pointerLevelInvalid, "node", along: [.entryDangling, .blockLeaked], fallsBack: true) { surgeon in
            let place = Surgeon.node(SmallTree.inlineFile)
            let old = try surgeon.pointer(place)
            try surgeon.setPointer(
                place, BlockPointer(address: BlockAddress(number: old.address.number, level: 1), hash: old.hash))
        },
        RuleCase(.pointerLevelInvalid, "record", along: [.blockLeaked]) { surgeon in
            let place = Surgeon.slot(SmallTree.twoRecords, 1)
            let old = try surgeon.pointer(place)
            try surgeon.setPointer(
                place, BlockPointer(address: BlockAddress(number: old.address.number, level: 9), hash: old.hash))
        },
        RuleCase(.blockUsedTwice, "record of another file") { surgeon in
            let shared = try surgeon.pointer(Surgeon.slot(SmallTree.twoRecords, 1))
            let place = Surgeon.slot(SmallTree.manyRecords, 8)
            let old = try surgeon.pointer(place)
            try surgeon.setPointer(place, shared)
            try surgeon.log(old.address.number, 1)
        },
        RuleCase(.blockUsedTwice, "node", along: [.entryDangling], fallsBack: true) { surgeon in
            let shared = try surgeon.pointer(Surgeon.node(SmallTree.inlineFile))
            let place = Surgeon.node(SmallTree.otherFile)
            let old = try surgeon.pointer(place)
            try surgeon.setPointer(place, shared)
            try surgeon.log(old.address.number, 1)
        },
        RuleCase(.blockUsedAndFree) { surgeon in
            try surgeon.log(surgeon.pointer(Surgeon.node(SmallTree.inlineFile)).address.number, 1)
        },
        RuleCase(.blockLeaked) { surgeon in
            _ = try surgeon.take(level: 3)
        },
    ]

    static let tree: [RuleCase] = [
        RuleCase(.treeBlockUnreadable, "lowest level", along: [.entryDangling, .blockLeaked]) { surgeon in
            try surgeon.ruin(surgeon.pointer(Surgeon.tree(300, level: 0)).address.number)
        },
        RuleCase(.treeBitmapWrong, "taken slot marked as free") { surgeon in
            try surgeon.edit(Surgeon.tree(1, level: 0)) { $0[TreeBlock.bitmapOffset] ^= 0x10 }
        },
        RuleCase(.treeBitmapWrong, "upper level") { surgeon in
            try surgeon.edit(Surgeon.tree(1, level: 2)) { $0[TreeBlock.bitmapOffset] ^= 0x01 }
        },
        RuleCase(.treeBitmapWrong, "spare bits") { surgeon in
            try surgeon.edit(Surgeon.top) { $0[4095] |= 0x80 }
        },
        RuleCase(.treeBlockEmpty) { surgeon in
            let block = try surgeon.take()
            let empty = [UInt8](repeating: 0, count: 4096)
            try surgeon.write(block, empty)
            let address = BlockAddress(number: block, level: 0)
            try surgeon.setPointer(
                Surgeon.tree(5 << 8, level: 0), BlockPointer(address: address, hash: SeaHash.hash(empty.rawBytes)))
        },
        RuleCase(.treeReservedSlotUsed) { surgeon in
            let block = try surgeon.take()
            try surgeon.write(block, [UInt8](repeating: 0, count: 4096))
            try surgeon.edit(Surgeon.tree(1, level: 0)) { bytes in
                bytes.setPointer(BlockPointer(address: BlockAddress(number: block, level: 0), hash: 1), at: 0)
            }
            try surgeon.log(block, 1)
        },
        RuleCase(
            .rootMissing, along: [.nodeOrphaned, .entryDangling, .blockLeaked, .treeBitmapWrong]
        ) { surgeon in
            try surgeon.edit(Surgeon.tree(1, level: 0)) { bytes in
                bytes.setPointer(.null, at: 16)
                bytes[TreeBlock.bitmapOffset] &= ~2
            }
        },
        RuleCase(
            .rootNotDirectory, "zeros",
            along: [
                .nodeModeInvalid, .nodeOrphaned, .blockLeaked, .directoryCycle, .nodeLinksWrong, .nodeBlocksTooLow,
            ], fallsBack: true
        ) { surgeon in
            try surgeon.move(Surgeon.node(1))
            try surgeon.edit(Surgeon.node(1)) { $0 = [UInt8](repeating: 0, count: 4096) }
        },
        RuleCase(
            .rootNotDirectory, "its mode",
            along: [
                .nodeOrphaned, .blockLeaked, .directoryCycle, .pointerLevelInvalid, .recordsBeyondEnd,
                .recordLevelInvalid,
            ], fallsBack: true
        ) { surgeon in
            try surgeon.move(Surgeon.node(1))
            try surgeon.edit(Surgeon.node(1)) { $0.set16(0x8000 | 0o755, at: 0) }
        },
        RuleCase(.rootNotDirectory, along: [.nodeOrphaned, .blockLeaked, .directoryCycle]) { surgeon in
            try surgeon.edit(Surgeon.node(1)) { bytes in
                bytes.set16(0x8000 | 0o644, at: 0)
                bytes.set64(3, at: 14)
                bytes.set64(1, at: 22)
                bytes.set32(1, at: 70)
                for index in 128..<4096 { bytes[index] = index < 131 ? 65 : 0 }
            }
        },
        RuleCase(.nodeUnreadable, along: [.entryDangling]) { surgeon in
            try surgeon.ruin(surgeon.pointer(Surgeon.node(SmallTree.inlineFile)).address.number)
        },
    ]

    static let log: [RuleCase] = [
        RuleCase(.logMissing, along: [.blockLeaked]) { surgeon in
            try surgeon.editHeader { $0.allocationLog = .null }
        },
        RuleCase(.logUnreadable, along: [.blockLeaked]) { surgeon in
            try surgeon.ruin(surgeon.header.allocationLog.address.number)
        },
        RuleCase(.logEntryOutOfRange, "behind the end") { surgeon in
            try surgeon.log(4090, 100)
        },
        RuleCase(.logEntryOutOfRange, "header ring") { surgeon in
            try surgeon.log(255, 1)
        },
        RuleCase(.logEntryOutOfRange, "overflow") { surgeon in
            try surgeon.log(.max - 1, .max)
        },
        RuleCase(.logAllocatesUsed) { surgeon in
            try surgeon.log(surgeon.header.tree.address.number, -1)
        },
        RuleCase(.logFreesFree) { surgeon in
            let free = try surgeon.freeBlocks()
            try surgeon.log(free[0], 1)
        },
    ]
}
