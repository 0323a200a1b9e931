import DiskFormat
import FileSystemCheck
import TestSupport

extension RuleCase {
    static let directories: [RuleCase] = [
        RuleCase(
            .directoryPointersInvalid, "no marker",
            along: [.nodeOrphaned, .blockLeaked, .directorySizeWrong, .nodeBlocksTooHigh]
        ) {
            surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.many)) { bytes in
                for index in 128..<144 { bytes[index] = 0 }
            }
        },
        RuleCase(.directoryPointersInvalid, "a third pointer") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.many)) { bytes in
                bytes.setPointer(BlockPointer(address: BlockAddress(number: 300, level: 0), hash: 1), at: 128 + 32)
            }
        },
        RuleCase(
            .directoryPointersInvalid, "depth 15",
            along: [.nodeOrphaned, .blockLeaked, .directorySizeWrong, .nodeBlocksTooHigh]
        ) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.many)) { $0.setPointer(.marker(depth: 15), at: 128) }
        },
        RuleCase(
            .directoryPointersInvalid, "depth 15 in the root",
            along: [.nodeOrphaned, .blockLeaked, .directorySizeWrong, .nodeBlocksTooHigh], fallsBack: true
        ) { surgeon in
            try surgeon.move(Surgeon.node(1))
            try surgeon.edit(Surgeon.node(1)) { $0.setPointer(.marker(depth: 15), at: 128) }
        },
        RuleCase(
            .directoryListInvalid, "a name that is too long in the root", along: [.nodeOrphaned, .directoryNotCleared],
            fallsBack: true
        ) { surgeon in
            try surgeon.move(Surgeon.node(1))
            try surgeon.move(SmallTree.list(1))
            try surgeon.edit(SmallTree.list(1)) { $0[4] = 255 }
        },
        RuleCase(.directoryListUnreadable, along: [.nodeOrphaned]) { surgeon in
            try surgeon.ruin(surgeon.pointer(SmallTree.list(SmallTree.many)).address.number)
        },
        RuleCase(.directoryListInvalid, "count too high") { surgeon in
            try surgeon.edit(SmallTree.list(SmallTree.many)) { $0.set16($0.rawBytes.u16(at: 4092) + 1, at: 4092) }
        },
        RuleCase(.directoryListInvalid, "bytes beyond the block") { surgeon in
            try surgeon.edit(SmallTree.list(SmallTree.level00)) { $0.set16(4095, at: 4094) }
        },
        RuleCase(.directorySizeWrong) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.many)) { $0.set64(8192, at: 14) }
        },
        RuleCase(.directoryNotCleared) { surgeon in
            let block = try surgeon.take()
            let list = Surgeon.list([])
            try surgeon.write(block, list)
            try surgeon.edit(Surgeon.node(SmallTree.emptyDirectory)) { bytes in
                bytes.setPointer(.marker(depth: 0), at: 128)
                let address = BlockAddress(number: block, level: 0)
                bytes.setPointer(BlockPointer(address: address, hash: SeaHash.hash(list.rawBytes)), at: 144)
                bytes.set64(4096, at: 14)
                bytes.set64(2, at: 22)
            }
        },
        RuleCase(.directoryLinkedTwice) { surgeon in
            try surgeon.editList(SmallTree.list(1)) { $0.append((SmallTree.level00, Array("again".utf8))) }
        },
        RuleCase(.directoryLinkedTwice, "the root") { surgeon in
            try surgeon.editList(SmallTree.list(SmallTree.level00)) { $0.append((1, Array("root".utf8))) }
        },
        RuleCase(.directoryCycle) { surgeon in
            // /deep loses its name; level00 below it gets it.
            try surgeon.editList(SmallTree.list(1)) { $0.removeAll { $0.node == SmallTree.deep } }
            try surgeon.editList(SmallTree.list(SmallTree.level00)) { $0.append((SmallTree.deep, Array("up".utf8))) }
        },
        RuleCase(.entryDangling) { surgeon in
            try surgeon.editList(SmallTree.list(SmallTree.many)) { $0.append((9999, Array("ghost".utf8))) }
        },
        RuleCase(.nameInvalid, "slash") { surgeon in
            try surgeon.rename(SmallTree.otherFile, in: SmallTree.many, Array("a/b".utf8))
        },
        RuleCase(.nameInvalid, "NUL") { surgeon in
            try surgeon.rename(SmallTree.otherFile, in: SmallTree.many, [65, 0, 66])
        },
        RuleCase(.nameInvalid, "not UTF-8") { surgeon in
            try surgeon.rename(SmallTree.otherFile, in: SmallTree.many, [0xC3, 0x28])
        },
        RuleCase(.nameInvalid, "dot dot") { surgeon in
            try surgeon.rename(SmallTree.otherFile, in: SmallTree.many, Array("..".utf8))
        },
        RuleCase(.nameInvalid, "empty") { surgeon in
            try surgeon.rename(SmallTree.otherFile, in: SmallTree.many, [])
        },
        RuleCase(.nameInvalid, "253 bytes") { surgeon in
            try surgeon.rename(SmallTree.level00, in: SmallTree.deep, [UInt8](repeating: 120, count: 253))
        },
        RuleCase(.nameDuplicate) { surgeon in
            try surgeon.rename(SmallTree.otherFile, in: SmallTree.many, Array("f001".utf8))
        },
    ]

    /// The directory of 20,000 entries: two levels of hash-tree blocks above the lists.
    private static let big: UInt32 = 2
    private static let root = Surgeon.slot(big, 1)
    private static func block(_ index: Int) -> [Int] { root + [Surgeon.entry(index)] }
    private static func list(_ block: Int, _ index: Int) -> [Int] { self.block(block) + [Surgeon.entry(index)] }

    static let hashTrees: [RuleCase] = [
        RuleCase(.hashTreeBlockUnreadable, image: .bigDirectory, along: [.nodeOrphaned, .blockLeaked]) { surgeon in
            try surgeon.ruin(surgeon.pointer(block(1)).address.number)
        },
        RuleCase(.hashTreeOrderWrong, image: .bigDirectory, along: [.entryMisplaced]) { surgeon in
            try surgeon.edit(block(0)) { bytes in
                let first = Array(bytes[0..<20])
                bytes.replaceSubrange(0..<20, with: bytes[20..<40])
                bytes.replaceSubrange(20..<40, with: first)
            }
        },
        RuleCase(
            .hashTreeOrderWrong, "a gap", image: .bigDirectory,
            along: [.nodeOrphaned, .directorySizeWrong, .nodeBlocksTooHigh]
        ) {
            surgeon in
            let list = try surgeon.pointer(list(0, 3))
            try surgeon.edit(block(0)) { bytes in
                bytes.set32(.max, at: 60)
                bytes.setPointer(.null, at: 64)
            }
            try surgeon.log(list.address.number, 1)
        },
        RuleCase(.hashTreeKeyWrong, image: .bigDirectory) { surgeon in
            try surgeon.edit(block(0)) { $0.set32($0.get32(0) - 1, at: 0) }
        },
        RuleCase(
            .hashTreeBlockEmpty, image: .bigDirectory,
            along: [.nodeOrphaned, .blockLeaked, .directorySizeWrong, .nodeBlocksTooHigh]
        ) { surgeon in
            try surgeon.edit(block(1)) { bytes in
                for index in 0..<HashTreeBlock.entryCount {
                    bytes.set32(.max, at: index * 20)
                    bytes.setPointer(.null, at: index * 20 + 4)
                }
            }
        },
        RuleCase(.entryMisplaced, image: .bigDirectory, along: [.hashTreeKeyWrong]) { surgeon in
            var moved: (node: UInt32, name: [UInt8]) = (0, [])
            try surgeon.editList(list(0, 0)) { moved = $0.removeLast() }
            try surgeon.editList(list(0, 5)) { entries in
                // The list may be full: one leaves for the one that comes.
                entries.append(moved)
                if entries.reduce(0, { $0 + 5 + $1.name.count }) > 4092 { entries.removeFirst() }
            }
        },
    ]
}

extension Surgeon {
    /// Changes the name of a node in a directory of one list.
    func rename(_ node: UInt32, in directory: UInt32, _ name: [UInt8]) throws {
        try editList(SmallTree.list(directory)) { entries in
            for index in entries.indices where entries[index].node == node {
                entries[index].name = name
            }
        }
    }
}
