import BlockCodec
import BlockDevice
import DiskFormat
import FileSystemCheck
import Platform
import TestSupport
import Testing

/// Changes single structures of an image and makes all hashes right again, up to the header: what remains is one broken
/// rule and nothing else.
final class Surgeon {
    /// The device that is operated on.
    let device: OverlayDevice
    let password: [UInt8]?
    private let start: UInt64
    private let cipher: BlockCipher?
    private(set) var header: Header

    init(_ image: GoldenImage) throws {
        device = OverlayDevice(over: try Self.original(image))
        password = image.password
        start = try image.manifest().header.block
        let newest = try Self.newestHeader(device, start: start)
        header = newest
        cipher = try password.flatMap { try KeySlots.unlock(newest, password: $0)?.cipher }
    }

    /// Goes on with an image whose header has changed.
    init(continuing other: Surgeon) throws {
        device = other.device
        password = other.password
        start = other.start
        cipher = other.cipher
        header = try Self.newestHeader(other.device, start: other.start)
    }

    private static func newestHeader(_ device: any BlockDevice, start: UInt64) throws -> Header {
        var headers: [Header] = []
        for block in 0..<Limits.ringBlocks {
            let bytes = try device.readBytes(at: (start + block) << 12, count: 4096)
            if let header = try? Header(decoding: bytes.rawBytes) {
                headers.append(header)
            }
        }
        return try #require(headers.max { $0.generation < $1.generation })
    }

    private static let originals = Locked<[GoldenImage: MemoryDevice]>([:])

    /// The image as it was made; unpacked once for all tests.
    static func original(_ image: GoldenImage) throws -> MemoryDevice {
        if let device = originals.withLock({ $0[image] }) { return device }
        let device = try image.device(isWritable: false)
        originals.withLock { $0[image] = device }
        return device
    }

    // MARK: Blocks

    /// The plain bytes of blocks.
    func read(_ block: UInt64, count: Int = 1) throws -> [UInt8] {
        var bytes = try device.readBytes(at: (start + block) << 12, count: count << 12)
        if let cipher {
            try bytes.withMutableRawBytes { span throws(CodecError) in try cipher.decrypt(&span, firstBlock: block) }
        }
        return bytes
    }

    /// Stores plain bytes in blocks, without any change to pointers.
    func write(_ block: UInt64, _ plain: [UInt8]) throws {
        var bytes = plain
        if let cipher {
            try bytes.withMutableRawBytes { span throws(CodecError) in try cipher.encrypt(&span, firstBlock: block) }
        }
        try device.writeBytes(at: (start + block) << 12, bytes)
    }

    /// Stores bytes in a block of the ring.
    func writeRing(_ block: UInt64, _ bytes: [UInt8]) throws {
        try device.writeBytes(at: (start + block) << 12, bytes)
    }

    /// Flips a bit of a header where it lies, whatever that does to its hashes.
    func flip(_ header: Header, bit: Int) throws {
        var bytes = header.bytes
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        try writeRing(header.generation.ringBlock, bytes)
    }

    /// Makes a block unreadable for who checks hashes.
    func ruin(_ block: UInt64) throws {
        var bytes = try device.readBytes(at: (start + block) << 12, count: 4096)
        bytes[100] ^= 0x40
        try device.writeBytes(at: (start + block) << 12, bytes)
    }

    // MARK: Places: the offsets of the pointers from the header down

    static let top = [48]
    static let log = [64]
    static let releaseList = [3152]

    /// The tree block of a level, 3 at the top, on the way to a node.
    static func tree(_ node: UInt32, level: Int) -> [Int] {
        top + stride(from: 3, to: level, by: -1).map { NodeID(node).treeIndex(level: $0) * 16 }
    }

    static func node(_ node: UInt32) -> [Int] { tree(node, level: -1) }

    /// What one of a node's 248 pointers points to.
    static func slot(_ node: UInt32, _ slot: Int) -> [Int] { self.node(node) + [128 + slot * 16] }

    /// A hash-tree block's entry.
    static func entry(_ index: Int) -> Int { index * 20 + 4 }

    /// The pointer at the end of a place.
    func pointer(_ place: [Int]) throws -> BlockPointer {
        var bytes = header.bytes
        var pointer = BlockPointer.null
        for (index, offset) in place.enumerated() {
            pointer = BlockPointer(bytes.rawBytes, at: offset)
            if index < place.count - 1 {
                bytes = try read(pointer.address.number)
            }
        }
        return pointer
    }

    /// Changes the block at a place where it is, and the hashes above it.
    func edit(_ place: [Int], _ body: (inout [UInt8]) throws -> Void) throws {
        let pointer = try pointer(place)
        var bytes = try read(pointer.address.number, count: Int(pointer.address.blockCount))
        try body(&bytes)
        try write(pointer.address.number, bytes)
        try setPointer(place, BlockPointer(address: pointer.address, hash: SeaHash.hash(bytes.rawBytes)))
    }

    /// Changes a pointer, and the hashes above it.
    func setPointer(_ place: [Int], _ pointer: BlockPointer) throws {
        let offset = place[place.count - 1]
        if place.count == 1 {
            try editHeader { header in
                switch offset {
                case 48: header.tree = pointer
                case 64: header.allocationLog = pointer
                default: header.releaseList = pointer
                }
            }
            return
        }
        try edit(Array(place.dropLast())) { $0.setPointer(pointer, at: offset) }
    }

    /// Changes the header and seals it again.
    func editHeader(_ body: (inout Header) -> Void) throws {
        body(&header)
        try header.seal(with: cipher)
        try writeRing(header.generation.ringBlock, header.bytes)
    }

    // MARK: Free space

    /// Free blocks in ascending order, by the allocation log.
    func freeBlocks() throws -> [UInt64] {
        var chain: [[UInt8]] = []
        var pointer = header.allocationLog
        while !pointer.isNull {
            let bytes = try read(pointer.address.number)
            chain.append(bytes)
            pointer = AllocationLogBlock.previous(bytes.rawBytes)
        }
        var free: Set<UInt64> = []
        for bytes in chain.reversed() {
            for index in 0..<AllocationLogBlock.entryCount {
                let entry = AllocationLogBlock.entry(bytes.rawBytes, index)
                let blocks = entry.block..<entry.block + entry.count.magnitude
                if entry.frees {
                    free.formUnion(blocks)
                } else {
                    free.subtract(blocks)
                }
            }
        }
        return free.sorted()
    }

    /// Appends an entry to the newest block of the allocation log.
    func log(_ block: UInt64, _ count: Int64) throws {
        try edit(Self.log) { bytes in
            let unused = (0..<AllocationLogBlock.entryCount).first {
                AllocationLogBlock.entry(bytes.rawBytes, $0).isUnused
            }
            let index = try #require(unused)
            bytes.withMutableRawBytes {
                AllocationLogBlock.setEntry(&$0, index, AllocationLogBlock.Entry(block: block, count: count))
            }
        }
    }

    /// Moves a block of metadata to a place that no generation uses, as a commit would: older generations keep theirs.
    func move(_ place: [Int]) throws {
        let old = try pointer(place)
        let bytes = try read(old.address.number)
        let block = try #require(freeBlocks().last)
        try log(block, -1)
        try write(block, bytes)
        try setPointer(place, BlockPointer(address: BlockAddress(number: block, level: 0), hash: old.hash))
        try log(old.address.number, 1)
    }

    /// Takes a free run of 2^level blocks and notes it in the log.
    func take(level: Int = 0) throws -> UInt64 {
        let size = UInt64(1) << UInt64(level)
        let free = Set(try freeBlocks())
        let found = free.sorted().first { $0 % size == 0 && ($0..<$0 + size).allSatisfy(free.contains) }
        let block = try #require(found)
        try log(block, -Int64(size))
        return block
    }

    /// Puts a new block with the given plain bytes at a place.
    @discardableResult
    func place(_ place: [Int], _ bytes: [UInt8], level: Int = 0, decompressedLevel: Int = 0) throws -> UInt64 {
        let block = try take(level: level)
        try write(block, bytes)
        let address = BlockAddress(number: block, level: level, decompressedLevel: decompressedLevel)
        try setPointer(place, BlockPointer(address: address, hash: SeaHash.hash(bytes.rawBytes)))
        return block
    }

    /// Replaces the entries of a directory list.
    func editList(_ place: [Int], _ body: (inout [(node: UInt32, name: [UInt8])]) -> Void) throws {
        try edit(place) { bytes in
            var entries: [(node: UInt32, name: [UInt8])] = []
            var position = 0
            for _ in 0..<Int(bytes.rawBytes.u16(at: 4092)) {
                let length = Int(bytes[position + 4])
                entries.append((bytes.rawBytes.u32(at: position), Array(bytes[position + 5..<position + 5 + length])))
                position += 5 + length
            }
            body(&entries)
            bytes = Self.list(entries)
        }
    }

    /// A directory list of entries.
    static func list(_ entries: [(node: UInt32, name: [UInt8])]) -> [UInt8] {
        var content: [UInt8] = []
        for entry in entries {
            content += (0..<4).map { UInt8(truncatingIfNeeded: entry.node >> ($0 * 8)) }
            content += [UInt8(entry.name.count)] + entry.name
        }
        var bytes = content + [UInt8](repeating: 0, count: 4096 - content.count)
        bytes.set16(UInt16(entries.count), at: 4092)
        bytes.set16(UInt16(content.count), at: 4094)
        return bytes
    }

    /// Checks the image as it is.
    func check(verifyData: Bool = false, generation: Generation? = nil) throws -> CheckReport {
        try FileSystemCheck.check(
            device, CheckOptions(generation: generation, password: password, verifyData: verifyData))
    }

    /// Repairs the image.
    @discardableResult
    func repair(verifyData: Bool = false, fallsBack: Bool = true) throws -> RepairReport {
        try FileSystemCheck.repair(
            device, CheckOptions(password: password, verifyData: verifyData),
            RepairOptions(fallsBack: fallsBack, time: Timespec(seconds: 1_800_000_000)))
    }
}

extension [UInt8] {
    mutating func set16(_ value: UInt16, at offset: Int) {
        withMutableRawBytes { $0.setU16(value, at: offset) }
    }
    mutating func set32(_ value: UInt32, at offset: Int) {
        withMutableRawBytes { $0.setU32(value, at: offset) }
    }
    mutating func set64(_ value: UInt64, at offset: Int) {
        withMutableRawBytes { $0.setU64(value, at: offset) }
    }
    mutating func setPointer(_ pointer: BlockPointer, at offset: Int) {
        set64(pointer.address.rawValue, at: offset)
        set64(pointer.hash, at: offset + 8)
    }
    func get32(_ offset: Int) -> UInt32 { rawBytes.u32(at: offset) }
    func get64(_ offset: Int) -> UInt64 { rawBytes.u64(at: offset) }
}
