import BlockDevice
import DiskFormat
import TestSupport
import Testing

/// Decoding any bytes gives a value or an error: nothing traps. What the functions return doesn't matter here.
@Suite struct HostileBytesTests {
    /// Random blocks, blocks with few distinct bytes, and damaged blocks of real images.
    static func blocks(count: Int, seed: UInt64) throws -> [[UInt8]] {
        var random = SeededGenerator(seed: seed)
        let images = try [GoldenImage.empty, .smallTree].map { try $0.bytes() }
        return (0..<count).map { index in
            switch index % 4 {
            case 0: return noise(4096, seed: random.next())
            case 1:
                let alphabet: [UInt8] = [0, 1, 5, 0x0F, 0x80, 0xFC, 0xFD, 0xFE, 0xFF]
                return (0..<4096).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            default:
                let image = images[index % images.count]
                let start = Int.random(in: 0..<image.count / 4096, using: &random) * 4096
                var block = Array(image[start..<start + 4096])
                for _ in 0..<Int.random(in: 0...8, using: &random) {
                    block[Int.random(in: 0..<4096, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                return block
            }
        }
    }

    @Test func everyDecoder() throws {
        for block in try Self.blocks(count: 4000, seed: 0xD15C) { try Self.decodeAll(block) }
        for count in [0, 1, 7, 73, 127, 128, 4095] { try Self.decodeChecked(noise(count, seed: 6)) }
    }

    /// The decoders that check a span's length themselves.
    static func decodeChecked(_ bytes: [UInt8]) throws {
        let span = bytes.rawBytes
        _ = Header.isValid(span)
        _ = try? Header(decoding: span)
        _ = try? NodeHeader(decoding: span).check()
        _ = try? DirectoryList.check(span)
        _ = try? HashTreeBlock.check(span)
        _ = try? AttributeTable.check(span)
        _ = try? CompressedRecord.payload(span)
        _ = FileName.fault(span)
        _ = HeaderExtension(decoding: span, generation: Generation(1))
        _ = SeaHash.hash(span)
    }

    static func decodeAll(_ block: [UInt8]) throws {
        try decodeChecked(block)
        let span = block.rawBytes
        let node = NodeExtension(span)
        _ = node.attributes.address.description
        _ = NodeExtension.device(span)
        _ = try? DirectoryRoot.content(span)
        for slot in 0..<RecordLayout.nodePointerCount { exercise(NodeBlock.pointer(span, slot)) }
        for index in 0..<TreeBlock.pointerCount { exercise(TreeBlock.pointer(span, index)) }
        _ = TreeBlock.firstFree(span, from: Int(block[0]))
        for index in 0..<ListBlock.pointerCount { exercise(ListBlock.pointer(span, index)) }
        let name = Array("name".utf8)
        _ = try? DirectoryList.find(span, name.rawBytes)
        _ = try? DirectoryList.maximumHash(span)
        _ = try? DirectoryList.entry(span, at: Int(block[1]))
        _ = try? DirectoryList.forEach(span) { FileName.fault(DirectoryList.name(span, $0)) == nil }
        _ = HashTreeBlock.insertionIndex(span, NameHash.of(name.rawBytes))
        for index in 0..<AllocationLogBlock.entryCount {
            _ = AllocationLogBlock.entry(span, index).blocks(total: 1 << 20)
        }
        for index in 0..<ReleaseListBlock.nodeCount { _ = ReleaseListBlock.node(span, index).isValid }
        if (try? AttributeTable.check(span)) != nil { _ = try? AttributeTable.find(span, name.rawBytes) }
        var copy = block
        copy.withMutableRawBytes { span in
            _ = try? DirectoryList.append(&span, node: .root, name: name.rawBytes)
            if let entry = (try? DirectoryList.entry(span.bytes, at: 0)) ?? nil {
                _ = try? DirectoryList.remove(&span, entry)
            }
            _ = HashTreeBlock.insert(&span, at: 100, hash: 5, .null)
            HashTreeBlock.remove(&span, at: 3)
            _ = AttributeTable.append(&span, name: name.rawBytes, value: name.rawBytes)
            NodeExtension.setTimes(
                &span,
                NodeTimes(
                    access: Timespec(seconds: .min), modification: Timespec(seconds: .max),
                    change: Timespec(seconds: 1, nanoseconds: .max)))
        }
    }

    static func exercise(_ pointer: BlockPointer) {
        _ = pointer.address.isInside(blocks: 4096)
        _ = try? pointer.address.checkRecord(blocks: 4096, recordLevel: 5)
        _ = try? pointer.address.checkMetadata(blocks: 4096, of: .tree)
        _ = pointer.address.blocks
        _ = pointer.isMarker
        _ = pointer.address.byteOffset &+ UInt64(pointer.address.contentByteCount)
    }
}
