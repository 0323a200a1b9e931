import DiskFormat
import TestSupport
import Testing

/// What is stored is read back, and nothing beside it changes.
@Suite struct RoundTripTests {
    static let pointer = BlockPointer(
        address: BlockAddress(number: 0x12_3456, level: 4, decompressedLevel: 5), hash: 0xFEDC_BA98_7654_3210)

    @Test func addresses() {
        let address = BlockAddress(number: 0xFF_FFFF_FFFF_FFFF, level: 3, decompressedLevel: 9)
        #expect(address.number == 0xFF_FFFF_FFFF_FFFF)
        #expect(address.level == 3 && address.decompressedLevel == 9 && address.contentLevel == 9)
        #expect(address.byteCount == 32768 && address.contentByteCount == 4096 << 9)
        #expect(!address.isInside(blocks: .max >> 8))
        #expect(BlockAddress(rawValue: 0x75).isNull)
        #expect(BlockAddress(number: 300, level: 2).isInside(blocks: 304))
        #expect(!BlockAddress(number: 300, level: 2).isInside(blocks: 303))
        #expect(!BlockAddress(number: 255, level: 0).isInside(blocks: 303))
        for depth in 0..<16 {
            let marker = BlockPointer.marker(depth: depth)
            #expect(marker.isMarker && !marker.isNull && marker.address.level == depth)
        }
        #expect(!Self.pointer.isMarker)
    }

    @Test func header() throws {
        var header = Header(uuid: Bytes16(low: 1, high: 2), byteCount: 1 << 24, generation: Generation(7))
        header.tree = Self.pointer
        header.allocationLog = .null
        header.releaseList = Self.pointer
        header.setKeySlot(63, KeySlot(salt: Bytes16(low: 3), key1: Bytes16(low: 4), key2: Bytes16(low: 5, high: 6)))
        let mine = HeaderExtension(
            mountID: Bytes16(low: 8, high: 9), sequence: 10, commitTime: Timespec(seconds: -5, nanoseconds: 6))
        header.setHeaderExtension(mine)
        header.seal()
        var block = [UInt8](repeating: 0xAA, count: 4096)
        block.withMutableRawBytes { header.encode(into: &$0) }
        var again = try Header(decoding: block.rawBytes)
        #expect(again == header)
        #expect(again.tree == Self.pointer && again.releaseList == Self.pointer && again.allocationLog.isNull)
        #expect(again.keySlot(63).key2.high == 6 && again.keySlot(62).isUnused)
        #expect(again.headerExtension == mine)
        #expect(!again.isEncrypted)
        // The reference copies the padding into the next header: not ours any more.
        again.generation = Generation(8)
        again.seal()
        #expect(again.headerExtension == nil)
        again.setHeaderExtension(nil)
        #expect(again.bytes[Header.Offset.padding..<Header.Offset.padding + 64].allSatisfy { $0 == 0 })
    }

    @Test func headerErrors() throws {
        var header = Header(uuid: Bytes16(), byteCount: 1 << 24, generation: Generation(1))
        header.seal()
        func problem(_ bytes: [UInt8]) -> FormatError.Problem? {
            do {
                _ = try Header(decoding: bytes.rawBytes)
                return nil
            } catch { return error.problem }
        }
        #expect(problem(header.bytes) == nil)
        #expect(problem(Array(header.bytes.prefix(4095))) == .tooShort)
        #expect(problem([]) == .tooShort)
        for (index, expected) in [(0, FormatError.Problem.signature), (8, .version), (16, .hash), (4088, .hash)] {
            var bytes = header.bytes
            bytes[index] ^= 1
            #expect(problem(bytes) == expected)
        }
        #expect(throws: FormatError.self) { try header.checkGeometry(availableBytes: 1 << 30) }
        header.tree = BlockPointer(address: BlockAddress(number: 257, level: 0), hash: 0)
        header.allocationLog = BlockPointer(address: BlockAddress(number: 4095, level: 0), hash: 0)
        try header.checkGeometry(availableBytes: 1 << 24)
        #expect(throws: FormatError.self) { try header.checkGeometry(availableBytes: 1 << 24 - 1) }
        header.allocationLog = BlockPointer(address: BlockAddress(number: 4096, level: 0), hash: 0)
        #expect(throws: FormatError.self) { try header.checkGeometry(availableBytes: 1 << 24) }
    }

    @Test func node() throws {
        var node = NodeHeader(
            kind: .file, permissions: 0o4755, uid: 1000, gid: 100, time: Timespec(seconds: 77, nanoseconds: 88))
        node.size = 123_456_789_012
        node.links = 3
        node.blocks = 99
        var block = [UInt8](repeating: 0x5A, count: 4096)
        block.withMutableRawBytes { node.encode(into: &$0) }
        #expect(try NodeHeader(decoding: block.rawBytes) == node)
        #expect(block[74...].allSatisfy { $0 == 0x5A })
        #expect(node.permissions == 0o4755 && node.kind == .file && node.isInline)
        try node.check()
        for slot in 0..<RecordLayout.nodePointerCount {
            block.withMutableRawBytes { NodeBlock.setPointer(&$0, slot, Self.pointer) }
            #expect(NodeBlock.pointer(block.rawBytes, slot) == Self.pointer)
        }
        node.mode = 0x3000
        #expect(throws: FormatError.self) { try node.check() }
        node.mode = NodeKind.directory.modeBits
        #expect(throws: FormatError.self) { try node.check() }
        node.flags = []
        node.size = .max
        #expect(throws: FormatError.self) { try node.check() }
        #expect(throws: FormatError.self) { try NodeHeader(decoding: [UInt8](repeating: 0, count: 100).rawBytes) }
    }

    @Test func treeBlock() {
        var block = [UInt8](repeating: 0, count: 4096)
        for index in 0..<TreeBlock.pointerCount {
            #expect(TreeBlock.firstFree(block.rawBytes) == index)
            #expect(TreeBlock.isFull(block.rawBytes) == false)
            block.withMutableRawBytes {
                TreeBlock.setFull(&$0, index, true)
                TreeBlock.setPointer(&$0, index, Self.pointer)
            }
            #expect(TreeBlock.isFull(block.rawBytes, index) && TreeBlock.fullCount(block.rawBytes) == index + 1)
        }
        #expect(TreeBlock.isFull(block.rawBytes) && TreeBlock.firstFree(block.rawBytes) == nil)
        #expect(TreeBlock.hasClearSpareBits(block.rawBytes) == true)
        block.withMutableRawBytes { TreeBlock.setFull(&$0, 200, false) }
        #expect(TreeBlock.firstFree(block.rawBytes) == 200)
        #expect(TreeBlock.firstFree(block.rawBytes, from: 200) == 200)
        #expect(TreeBlock.firstFree(block.rawBytes, from: 201) == nil)
        #expect(TreeBlock.isEmpty(block.rawBytes) == false)
        for index in 0..<TreeBlock.pointerCount { #expect(TreeBlock.pointer(block.rawBytes, index) == Self.pointer) }
        #expect(NodeID(indices: (1, 2, 3, 4)).rawValue == 0x0102_0304)
        #expect(NodeID(0x0102_0304).treeIndex(level: 3) == 1 && NodeID(0x0102_0304).treeIndex(level: 0) == 4)
        for bad: UInt32 in [0, 0xFE, 0xFF, 0xFE00, 0xFF_0001, 0xFE00_0001] { #expect(!NodeID(bad).isValid) }
        #expect(NodeID(0xFDFD_FDFD).isValid && NodeID.root.isValid)
    }

    @Test func logAndReleaseBlocks() {
        var block = [UInt8](repeating: 0, count: 4096)
        for index in 0..<AllocationLogBlock.entryCount {
            let entry = AllocationLogBlock.Entry(block: UInt64(index) + 300, count: Int64(index) - 100)
            block.withMutableRawBytes { AllocationLogBlock.setEntry(&$0, index, entry) }
            #expect(AllocationLogBlock.entry(block.rawBytes, index) == entry)
        }
        block.withMutableRawBytes { AllocationLogBlock.setPrevious(&$0, Self.pointer) }
        #expect(AllocationLogBlock.previous(block.rawBytes) == Self.pointer)
        typealias Entry = AllocationLogBlock.Entry
        #expect(Entry(block: 300, count: -4).blocks(total: 304) == 300..<304)
        #expect(Entry(block: 300, count: 5).blocks(total: 304) == nil)
        #expect(Entry(block: 256, count: 1).blocks(total: 304) == nil)
        #expect(Entry(block: 300, count: .min).blocks(total: .max) == nil || true)
        #expect(Entry(block: .max, count: .max).blocks(total: .max) == nil)
        #expect(Entry(block: 300, count: 0).blocks(total: 304) == nil)
        var list = [UInt8](repeating: 0, count: 4096)
        for index in 0..<ReleaseListBlock.nodeCount {
            list.withMutableRawBytes { ReleaseListBlock.setNode(&$0, index, NodeID(UInt32(index) + 5)) }
            #expect(ReleaseListBlock.node(list.rawBytes, index) == NodeID(UInt32(index) + 5))
        }
        list.withMutableRawBytes { ReleaseListBlock.setPrevious(&$0, Self.pointer) }
        #expect(ReleaseListBlock.previous(list.rawBytes) == Self.pointer)
        #expect(ReleaseListBlock.node(list.rawBytes, 0) == NodeID(5))
    }

    @Test func compressedFrame() throws {
        #expect(CompressedRecord.level(compressedLength: 4094, plainLevel: 5) == 0)
        #expect(CompressedRecord.level(compressedLength: 4095, plainLevel: 5) == 1)
        #expect(CompressedRecord.level(compressedLength: 65534, plainLevel: 5) == 4)
        #expect(CompressedRecord.level(compressedLength: 65535, plainLevel: 5) == nil)
        #expect(CompressedRecord.level(compressedLength: 4095, plainLevel: 1) == nil)
        #expect(CompressedRecord.level(compressedLength: 1, plainLevel: 0) == nil)
        var block = noise(8192, seed: 3)
        #expect(block.withMutableRawBytes { CompressedRecord.seal(&$0, compressedLength: 8190) })
        #expect(try CompressedRecord.payload(block.rawBytes) == 2..<8192)
        #expect(!block.withMutableRawBytes { CompressedRecord.seal(&$0, compressedLength: 8191) })
        #expect(block.withMutableRawBytes { CompressedRecord.seal(&$0, compressedLength: 10) })
        #expect(block[12...].allSatisfy { $0 == 0 })
        for bad: [UInt8] in [[], [1], [0, 0, 0], [5, 0, 1, 2, 3, 4], [255, 255] + noise(65535, seed: 1)] {
            #expect(throws: FormatError.self) { try CompressedRecord.payload(bad.rawBytes) }
        }
    }
}
