import BlockDevice
import DiskFormat
import TestSupport
import Testing

/// Directory lists, hash-tree blocks, attribute tables and names.
@Suite struct DirectoryTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func listAgainstModel(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var block = noise(4096, seed: seed)
        block.withMutableRawBytes { DirectoryList.clear(&$0) }
        var model: [(name: [UInt8], node: UInt32)] = []
        for step in 0..<3000 {
            if Bool.random(using: &random), !model.isEmpty {
                let index = Int.random(in: 0..<model.count, using: &random)
                let name = model.remove(at: index).name
                let entry = try #require(try DirectoryList.find(block.rawBytes, name.rawBytes))
                try block.withMutableRawBytes { (span) throws(FormatError) in try DirectoryList.remove(&span, entry) }
            } else {
                let name =
                    Array("\(step)-".utf8) + Array(repeating: 0x78, count: Int.random(in: 0...240, using: &random))
                let node = UInt32(step + 1) % 250 + 1
                let room = DirectoryList.capacity - model.reduce(0) { $0 + 5 + $1.name.count }
                let added = try block.withMutableRawBytes { (span) throws(FormatError) in
                    try DirectoryList.append(&span, node: NodeID(node), name: name.rawBytes)
                }
                #expect(added == (name.count + 5 <= room))
                if added { model.append((name, node)) }
            }
            try DirectoryList.check(block.rawBytes)
            #expect(DirectoryList.count(block.rawBytes) == model.count)
        }
        var seen: [(name: [UInt8], node: UInt32)] = []
        try DirectoryList.forEach(block.rawBytes) { entry in
            seen.append((DirectoryList.name(block.rawBytes, entry).copyToArray(), entry.node.rawValue))
            return true
        }
        #expect(seen.map(\.name) == model.map(\.name) && seen.map(\.node) == model.map(\.node))
        #expect(try DirectoryList.maximumHash(block.rawBytes) == model.map { NameHash.of($0.name.rawBytes) }.max())
        #expect(try DirectoryList.find(block.rawBytes, Array("absent".utf8).rawBytes) == nil)
    }

    @Test func listFull() throws {
        var block = [UInt8](repeating: 0, count: 4096)
        var count = 0
        let letter: [UInt8] = [0x61]
        while try block.withMutableRawBytes({ (span) throws(FormatError) in
            try DirectoryList.append(&span, node: .root, name: letter.rawBytes)
        }) { count += 1 }
        #expect(count == 4092 / 6)
        #expect(DirectoryList.used(block.rawBytes) == 4092)
        let long = [UInt8](repeating: 0x61, count: 253)
        #expect(
            try !block.withMutableRawBytes { (span) throws(FormatError) in
                DirectoryList.clear(&span)
                return try DirectoryList.append(&span, node: .root, name: long.rawBytes)
            })
    }

    @Test func hashTree() throws {
        var random = SeededGenerator(seed: 9)
        var block = noise(4096, seed: 9)
        block.withMutableRawBytes { HashTreeBlock.clear(&$0) }
        try HashTreeBlock.check(block.rawBytes)
        #expect(HashTreeBlock.insertionIndex(block.rawBytes, 5) == nil)
        var model: [UInt32] = []
        let pointer = BlockPointer(address: BlockAddress(number: 300, level: 0), hash: 1)
        for _ in 0..<HashTreeBlock.entryCount {
            let hash = UInt32.random(in: 0...400, using: &random)
            let place = HashTreeBlock.lowerBound(block.rawBytes, hash)
            #expect(place == model.firstIndex { $0 >= hash } ?? model.count)
            #expect(block.withMutableRawBytes { HashTreeBlock.insert(&$0, at: place, hash: hash, pointer) })
            model.insert(hash, at: place)
            try HashTreeBlock.check(block.rawBytes)
        }
        #expect(!block.withMutableRawBytes { HashTreeBlock.insert(&$0, at: 0, hash: 1, pointer) })
        #expect(HashTreeBlock.insertionIndex(block.rawBytes, 401) == 203)
        while !model.isEmpty {
            let index = Int.random(in: 0..<model.count, using: &random)
            model.remove(at: index)
            block.withMutableRawBytes { HashTreeBlock.remove(&$0, at: index) }
            try HashTreeBlock.check(block.rawBytes)
            #expect((0..<model.count).map { HashTreeBlock.hash(block.rawBytes, $0) } == model)
            #expect(HashTreeBlock.usedCount(block.rawBytes) == model.count)
        }
    }

    @Test func roots() throws {
        var node = [UInt8](repeating: 0, count: 4096)
        let root = BlockPointer(address: BlockAddress(number: 300, level: 0), hash: 1)
        #expect(try DirectoryRoot.content(node.rawBytes) == .empty)
        for content in [DirectoryRoot.Content.tree(depth: 0, root: root), .tree(depth: 3, root: root), .empty] {
            node.withMutableRawBytes { DirectoryRoot.store(content, into: &$0) }
            #expect(try DirectoryRoot.content(node.rawBytes) == content)
        }
        for bad in [BlockPointer.marker(depth: 7), root] {
            node.withMutableRawBytes {
                NodeBlock.setPointer(&$0, 0, bad)
                NodeBlock.setPointer(&$0, 1, root)
            }
            #expect(throws: FormatError.self) { try DirectoryRoot.content(node.rawBytes) }
        }
        node.withMutableRawBytes { DirectoryRoot.store(.tree(depth: 1, root: .null), into: &$0) }
        #expect(throws: FormatError.self) { try DirectoryRoot.content(node.rawBytes) }
    }

    @Test func names() {
        func fault(_ name: [UInt8]) -> FileName.Fault? { FileName.fault(name.rawBytes) }
        #expect(fault([]) == .empty)
        #expect(fault([UInt8](repeating: 0x61, count: 252)) == nil)
        #expect(fault([UInt8](repeating: 0x61, count: 253)) == .tooLong)
        #expect(fault(Array("a/b".utf8)) == .forbiddenByte)
        #expect(fault([0x61, 0]) == .forbiddenByte)
        #expect(fault(Array(".".utf8)) == .dots && fault(Array("..".utf8)) == .dots)
        #expect(fault(Array("...".utf8)) == nil && fault(Array(".a".utf8)) == nil && fault(Array("a:b".utf8)) == nil)
        #expect(fault(Array("name-ÄÖÜ-日本-🧂".utf8)) == nil)
    }

    /// Every scalar is accepted, and every change of two leading bytes is judged as the standard library does.
    @Test func unicode() {
        for value in stride(from: 0x80 as UInt32, through: 0x10FFFF, by: 7) {
            guard let scalar = UnicodeScalar(value) else { continue }
            #expect(FileName.isUnicode(Array(String(Character(scalar)).utf8).rawBytes) == true)
        }
        for first in 0x80...0xFF {
            for second in 0...0xFF {
                for rest in [[], [0x80], [0xBF, 0x80], [0x80, 0x41], [0x41]] as [[UInt8]] {
                    let bytes = [UInt8(first), UInt8(second)] + rest
                    #expect(FileName.isUnicode(bytes.rawBytes) == (String(validating: bytes, as: UTF8.self) != nil))
                }
            }
        }
        for bytes in [[0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0xA7], [0x61, 0xC3]] as [[UInt8]] {
            #expect(FileName.isUnicode(bytes.rawBytes) == false)
        }
    }

    @Test func attributeTable() throws {
        var table = noise(8192, seed: 4)
        table.withMutableRawBytes { AttributeTable.clear(&$0, owner: NodeID(9)) }
        let pointer = BlockPointer(address: BlockAddress(number: 400, level: 4), hash: 5)
        let names = (0..<50).map { Array("user.attribute-\($0)".utf8) }
        for (index, name) in names.enumerated() {
            let value = noise(index * 3, seed: UInt64(index))
            #expect(
                table.withMutableRawBytes {
                    index % 7 == 0
                        ? AttributeTable.append(&$0, name: name.rawBytes, valueLength: 65536, at: pointer)
                        : AttributeTable.append(&$0, name: name.rawBytes, value: value.rawBytes)
                })
        }
        try AttributeTable.check(table.rawBytes)
        #expect(AttributeTable.count(table.rawBytes) == 50 && AttributeTable.owner(table.rawBytes) == NodeID(9))
        for (index, name) in names.enumerated() {
            let entry = try #require(try AttributeTable.find(table.rawBytes, name.rawBytes))
            #expect(entry.valuePointer == (index % 7 == 0 ? pointer : nil))
            #expect(entry.valueLength == (index % 7 == 0 ? 65536 : index * 3))
            if index % 7 != 0 {
                #expect(
                    table.rawBytes.extracting(entry.valueRange).copyToArray() == noise(index * 3, seed: UInt64(index)))
            }
            table.withMutableRawBytes { AttributeTable.remove(&$0, entry) }
            try AttributeTable.check(table.rawBytes)
        }
        #expect(AttributeTable.used(table.rawBytes) == 0)
        #expect(table[32...].allSatisfy { $0 == 0 })
        let none: [UInt8] = []
        let name: [UInt8] = [1]
        let large = [UInt8](repeating: 1, count: 8192)
        #expect(!table.withMutableRawBytes { AttributeTable.append(&$0, name: name.rawBytes, value: large.rawBytes) })
        #expect(!table.withMutableRawBytes { AttributeTable.append(&$0, name: none.rawBytes, value: none.rawBytes) })
    }
}
