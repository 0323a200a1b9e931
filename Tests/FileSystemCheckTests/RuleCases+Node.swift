import DiskFormat
import FileSystemCheck
import TestSupport

extension RuleCase {
    static let nodes: [RuleCase] = [
        RuleCase(.nodeModeInvalid) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile)) { $0.set16(0x3000 | 0o644, at: 0) }
        },
        RuleCase(.nodeModeInvalid, "directory", along: [.nodeOrphaned, .pointerLevelInvalid]) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.emptyDirectory)) { $0.set16(0xF000 | 0o755, at: 0) }
        },
        RuleCase(.nodeLinksWrong, "too many") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.threeNames)) { $0.set32(4, at: 10) }
        },
        RuleCase(.nodeLinksWrong, "none") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile)) { $0.set32(0, at: 10) }
        },
        RuleCase(.nodeLinksWrong, "directory") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.deep)) { $0.set32(2, at: 10) }
        },
        RuleCase(.nodeBlocksTooHigh) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.twoRecords)) { $0.set64(40, at: 22) }
        },
        RuleCase(.nodeBlocksTooLow) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.twoRecords)) { $0.set64(1, at: 22) }
        },
        RuleCase(.nodeBlocksTooLow, "directory") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.many)) { $0.set64(1, at: 22) }
        },
        RuleCase(.nodeRecordLevelInvalid, "file") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.twoRecords)) { $0.set32(6, at: 66) }
        },
        RuleCase(.nodeRecordLevelInvalid, "directory") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.many)) { $0.set32(5, at: 66) }
        },
        RuleCase(.nodeFlagsInvalid, "unknown flag") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile)) { $0.set32(3, at: 70) }
        },
        RuleCase(.nodeFlagsInvalid, "inline directory") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.many)) { $0.set32(1, at: 70) }
        },
        RuleCase(.nodeSizeInvalid) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.twoRecords)) { $0.set64(1 << 62, at: 14) }
        },
        RuleCase(.nodeTimeInvalid) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile)) { $0.set32(1_000_000_000, at: 50) }
        },
        RuleCase(.nodeSecondsInvalid) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile)) { $0.set64(UInt64(bitPattern: -5), at: 42) }
        },
        RuleCase(.nodeOrphaned) { surgeon in
            try surgeon.editList(SmallTree.list(SmallTree.many)) { entries in
                entries.removeAll { $0.node == SmallTree.otherFile }
            }
        },
        RuleCase(.nodeOrphaned, "directory") { surgeon in
            try surgeon.editList(SmallTree.list(SmallTree.deep)) { $0.removeAll() }
            try surgeon.setPointer(Surgeon.slot(SmallTree.deep, 1), .null)
            try surgeon.edit(Surgeon.node(SmallTree.deep)) { bytes in
                for index in 128..<144 { bytes[index] = 0 }
                bytes.set64(0, at: 14)
                bytes.set64(1, at: 22)
            }
            let list = try surgeon.check().findings.first { $0.rule == .blockLeaked }?.block
            try surgeon.log(list ?? 0, 1)
        },
    ]

    static let records: [RuleCase] = [
        RuleCase(.listUnreadable, image: .sparse, along: [.blockLeaked]) { surgeon in
            try surgeon.ruin(surgeon.pointer(Surgeon.slot(2, 128)).address.number)
        },
        RuleCase(.listEmpty, image: .sparse) { surgeon in
            let free = (192..<224).first { (try? surgeon.pointer(Surgeon.slot(3, $0)).isNull) == true } ?? 200
            try surgeon.place(Surgeon.slot(3, free), [UInt8](repeating: 0, count: 4096))
            try surgeon.edit(Surgeon.node(3)) { $0.set64($0.get64(22) + 1, at: 22) }
        },
        RuleCase(.recordLevelInvalid, "larger than the node's records") { surgeon in
            // A symbolic link of 4095 bytes has records of one block.
            let place = Surgeon.slot(70, 0)
            let old = try surgeon.pointer(place)
            let content = try surgeon.read(old.address.number)
            try surgeon.place(place, content + [UInt8](repeating: 0, count: 4096), level: 1)
            try surgeon.log(old.address.number, 1)
            try surgeon.edit(Surgeon.node(70)) { $0.set64($0.get64(22) + 1, at: 22) }
        },
        RuleCase(.recordsBeyondEnd) { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.twoRecords)) { $0.set64(100_000, at: 14) }
        },
        RuleCase(.recordUnreadable, verifiesData: true) { surgeon in
            try surgeon.ruin(surgeon.pointer(Surgeon.slot(SmallTree.twoRecords, 0)).address.number + 7)
        },
        RuleCase(.compressedRecordInvalid, verifiesData: true) { surgeon in
            try surgeon.edit(Surgeon.slot(SmallTree.compressed, 0)) { bytes in
                bytes.set16(UInt16.max, at: 0)
            }
        },
    ]

    static let releaseList: [RuleCase] = [
        RuleCase(.releaseListUnreadable, image: .unclean, along: unclean.union([.nodeOrphaned])) { surgeon in
            try surgeon.ruin(surgeon.header.releaseList.address.number)
        },
        RuleCase(.releaseEntryDangling) { surgeon in
            try surgeon.placeReleaseList([7777])
        },
        RuleCase(.releaseEntryNamed) { surgeon in
            try surgeon.placeReleaseList([SmallTree.inlineFile])
        },
        RuleCase(.releaseEntryTwice, image: .unclean, along: unclean) { surgeon in
            try surgeon.edit(Surgeon.releaseList) { bytes in
                let first = (0..<1020).first { bytes.get32(16 + $0 * 4) != 0 } ?? 0
                let unused = (0..<1020).first { bytes.get32(16 + $0 * 4) == 0 } ?? 0
                bytes.set32(bytes.get32(16 + first * 4), at: 16 + unused * 4)
            }
        },
        RuleCase(.releasedDirectoryNotEmpty) { surgeon in
            try surgeon.editList(SmallTree.list(1)) { $0.removeAll { $0.node == SmallTree.deep } }
            try surgeon.placeReleaseList([SmallTree.deep])
        },
        RuleCase(.releaseListLong) { surgeon in
            try surgeon.placeReleaseList([])
            var bytes = [UInt8](repeating: 0, count: 4096)
            bytes.setPointer(try surgeon.pointer(Surgeon.releaseList), at: 0)
            try surgeon.place(Surgeon.releaseList, bytes)
        },
        RuleCase(.releasedNodeLinks) { surgeon in
            try surgeon.editList(SmallTree.list(SmallTree.many)) { $0.removeAll { $0.node == SmallTree.otherFile } }
            try surgeon.placeReleaseList([SmallTree.otherFile])
        },
    ]

    /// What is found in the image of a killed writer anyway.
    private static let unclean: Set<Rule> = [.blockLeaked, .recordsBeyondEnd, .nodeBlocksTooHigh, .releasedNodeLinks]

    static let attributes: [RuleCase] = [
        RuleCase(.extensionInvalid) { surgeon in
            try surgeon.placeAttributes(SmallTree.inlineFile, ["user.one": [1, 2, 3]])
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile)) { $0.set32(0xFFFF_FFFF, at: 94) }
        },
        RuleCase(.extensionInvalid, "of an earlier node") { surgeon in
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile)) { bytes in
                bytes[74] = 0x53
                bytes[75] = 0x42
                bytes[76] = 1
                bytes.set32(12345, at: 82)
            }
        },
        RuleCase(.attributesUnreadable) { surgeon in
            try surgeon.ruin(surgeon.placeAttributes(SmallTree.inlineFile, ["user.one": [1, 2, 3]]))
        },
        RuleCase(.attributesInvalid, "wrong owner") { surgeon in
            try surgeon.placeAttributes(SmallTree.inlineFile, ["user.one": [1, 2, 3]])
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile) + [102]) { $0.set32(7, at: 12) }
        },
        RuleCase(.attributesInvalid, "wrong count") { surgeon in
            try surgeon.placeAttributes(SmallTree.inlineFile, ["user.one": [1, 2, 3]])
            try surgeon.edit(Surgeon.node(SmallTree.inlineFile) + [102]) { $0.set16(9, at: 6) }
        },
    ]
}

extension Surgeon {
    /// Makes a release list of one block.
    func placeReleaseList(_ nodes: [UInt32]) throws {
        var bytes = [UInt8](repeating: 0, count: 4096)
        for (index, node) in nodes.enumerated() {
            bytes.set32(node, at: 16 + index * 4)
        }
        try place(Self.releaseList, bytes)
    }

    /// Gives a node extended attributes in one table; returns the table's block.
    @discardableResult
    func placeAttributes(_ node: UInt32, _ attributes: [String: [UInt8]]) throws -> UInt64 {
        var table = [UInt8](repeating: 0, count: 4096)
        table.withMutableRawBytes { bytes in
            AttributeTable.clear(&bytes, owner: NodeID(node))
            for (name, value) in attributes.sorted(by: { $0.key < $1.key }) {
                _ = AttributeTable.append(&bytes, name: Array(name.utf8).rawBytes, value: value.rawBytes)
            }
        }
        let block = try take()
        try write(block, table)
        let pointer = BlockPointer(address: BlockAddress(number: block, level: 0), hash: SeaHash.hash(table.rawBytes))
        try edit(Self.node(node)) { bytes in
            bytes.withMutableRawBytes { span in
                var fields = NodeExtension(span.bytes)
                fields.attributes = pointer
                fields.encode(into: &span)
            }
            bytes.set64(bytes.get64(22) + 1, at: 22)
        }
        return block
    }
}
