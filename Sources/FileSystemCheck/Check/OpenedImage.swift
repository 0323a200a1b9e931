import BlockCodec
import BlockDevice
import DiskFormat
import Platform

/// A file system on a device, found and unlocked, with all headers of its ring. Nothing is written.
struct OpenedImage: Sendable {
    /// What a block of the ring holds.
    enum Slot: Sendable {
        /// It was never written.
        case unused
        /// Neither zeros nor a header.
        case torn
        /// A header that belongs there.
        case header(Header)
        /// A header that belongs into another block.
        case misplaced(Header)
        /// A header of another file system.
        case foreign(Header)
    }

    let device: any BlockDevice
    /// The device's block where the file system begins.
    let startBlock: UInt64
    /// The 256 blocks of the ring.
    let slots: [Slot]
    /// The header with the highest generation, as the reference chooses it.
    let newest: Header
    let cipher: BlockCipher?
    /// Blocks of the ring whose headers have another encrypted hash than they should: no hash covers it.
    let misencrypted: Set<UInt64>

    /// Finds the file system (format: Header ring) and, unless only its headers are wanted, unlocks it.
    init(_ device: any BlockDevice, password: [UInt8]?, unlocks: Bool = true) throws(CheckError) {
        let (start, ring) = try Self.findRing(device)
        var headers: [(block: UInt64, header: Header)] = []
        for block in 0..<Limits.ringBlocks {
            let bytes = ring.bytes(Int(block) << 12..<Int(block + 1) << 12)
            if let header = try? Header(decoding: bytes) {
                headers.append((block, header))
            }
        }
        guard let newest = headers.max(by: { $0.header.generation < $1.header.generation })?.header else {
            throw .noFileSystem
        }
        var slots = (0..<Int(Limits.ringBlocks)).map { index in
            ring.bytes(index << 12..<(index + 1) << 12).isAllZero() ? Slot.unused : .torn
        }
        for (block, header) in headers {
            let isOurs = header.uuid == newest.uuid
            let isInPlace = HeaderRing.accepts(header.generation, inBlock: block)
            slots[Int(block)] = !isOurs ? .foreign(header) : isInPlace ? .header(header) : .misplaced(header)
        }
        self.device = device
        startBlock = start
        self.slots = slots
        self.newest = newest
        let ours = headers.map(\.header).filter { $0.uuid == newest.uuid }
        cipher = unlocks ? try Self.unlock(newest, among: ours, password) : nil
        var misencrypted: Set<UInt64> = []
        if unlocks {
            for case .header(let header) in slots
            where try header.encryptedHash != Self.sealed(header, cipher).encryptedHash {
                misencrypted.insert(header.generation.ringBlock)
            }
        }
        self.misencrypted = misencrypted
    }

    /// The first block of the file system, and the ring.
    private static func findRing(_ device: any BlockDevice) throws(CheckError) -> (UInt64, AlignedBuffer) {
        let blocks = device.byteCount >> 12
        let limit = min(blocks, Limits.headerScanBlocks)
        let step: UInt64 = 64
        let buffer = AlignedBuffer(uninitializedByteCount: Int(step) << 12)
        let ring = AlignedBuffer(byteCount: Int(Limits.ringBlocks) << 12)
        var at: UInt64 = 0
        while at < limit {
            let count = min(step, limit - at)
            try read(device, at, into: buffer, Int(count))
            for index in 0..<count {
                let bytes = buffer.bytes(Int(index) << 12..<Int(index + 1) << 12)
                guard Header.isValid(bytes), let header = try? Header(decoding: bytes),
                    let start = HeaderRing.start(headerAt: at + index, generation: header.generation),
                    start + Limits.firstAllocatableBlock < blocks
                else { continue }
                try read(device, start, into: ring, Int(Limits.ringBlocks))
                return (start, ring)
            }
            at += count
        }
        throw .noFileSystem
    }

    private static func read(
        _ device: any BlockDevice, _ block: UInt64, into buffer: AlignedBuffer, _ count: Int
    ) throws(CheckError) {
        do throws(BlockDeviceError) {
            try device.read(at: block << 12, into: buffer, 0..<count << 12)
            return
        } catch {
            // One by one: a place that can't be read is a torn header, not the end.
        }
        var readable = 0
        var failure: BlockDeviceError?
        for index in 0..<count {
            let range = index << 12..<(index + 1) << 12
            do throws(BlockDeviceError) {
                try device.read(at: (block + UInt64(index)) << 12, into: buffer, range)
                readable += 1
            } catch {
                failure = error
                var bytes = buffer.mutableBytes(range)
                bytes.fill(0..<bytes.byteCount, with: 0xFF)
            }
        }
        if readable == 0, let failure { throw .device(failure) }
    }

    /// The cipher, nil if the disk isn't encrypted. What one header says about that no hash covers: all together decide.
    private static func unlock(
        _ header: Header, among headers: [Header], _ password: [UInt8]?
    ) throws(CheckError) -> BlockCipher? {
        guard HeaderRing.isEncrypted(headers) else { return nil }
        guard let password else { throw .passwordRequired }
        let cipher: BlockCipher?
        do throws(CodecError) {
            cipher = try KeySlots.unlock(header, among: headers, password: password)?.cipher
        } catch {
            throw .cipher(error)
        }
        guard let cipher else { throw .passwordWrong }
        return cipher
    }

    /// A header with hashes that are right.
    static func sealed(_ header: Header, _ cipher: BlockCipher?) throws(CheckError) -> Header {
        var header = header
        do throws(CodecError) {
            try header.seal(with: cipher)
        } catch {
            throw .cipher(error)
        }
        return header
    }

    /// All headers that lie where they belong, the newest generation first.
    var headers: [Header] {
        slots.compactMap { slot -> Header? in
            if case .header(let header) = slot { return header }
            return nil
        }.sorted { $0.generation > $1.generation }
    }

    /// The header of a generation, the newest if none is given.
    func header(of generation: Generation?) throws(CheckError) -> Header {
        guard let generation, generation != newest.generation else { return newest }
        if let header = headers.first(where: { $0.generation == generation }) { return header }
        throw .generationNotFound(generation, available: headers.map(\.generation))
    }

    /// Blocks from the start of the file system to the end of the device.
    var deviceBlocks: UInt64 { (device.byteCount >> 12) - startBlock }

    /// How many blocks a generation can have: what its header says, as far as the device has them. If the header says what no file
    /// system can have, it is what the newest of the others says, or the whole device.
    func blockCount(of header: Header) -> UInt64 {
        let said = [header] + headers
        let possible = said.first { $0.blockCount > Limits.firstAllocatableBlock }
        return min(possible?.blockCount ?? .max, deviceBlocks)
    }

    /// The bytes that the device would need to hold all of a file system, if it was cut off: a size that no other header knows is
    /// rather a wrong one.
    func neededBytes(_ header: Header) -> UInt64? {
        let others = headers.filter { $0.generation != header.generation }
        let (needed, overflow) = header.byteCount.addingReportingOverflow(startBlock << 12)
        let isKnown = others.isEmpty || others.contains { $0.byteCount == header.byteCount }
        return isKnown && !overflow && header.blockCount > deviceBlocks ? needed : nil
    }

    /// What is wrong with the size in a header; nil if nothing is.
    func sizeProblem(_ header: Header) -> String? {
        let isWhole = header.byteCount % UInt64(Limits.blockSize) == 0
        if isWhole, header.blockCount <= deviceBlocks, header.blockCount > Limits.firstAllocatableBlock { return nil }
        if let needed = neededBytes(header) {
            return
                "the image is shorter than its file system: \(device.byteCount) of \(needed) bytes; make it \(needed) bytes "
                + "long (truncate -s \(needed) IMAGE) and check again: a repair gives up what lies behind the end"
        }
        return "the header says \(header.byteCount) bytes, the device has \(deviceBlocks << 12) from there on"
    }

    /// A reader of the generation that a header describes.
    func reader(of header: Header, on other: (any BlockDevice)? = nil) -> BlockReader {
        BlockReader(
            device: other ?? device, start: startBlock << 12, blockCount: blockCount(of: header),
            cipher: cipher)
    }
}

extension Roots {
    init(_ header: Header) {
        self.init(
            generation: header.generation, tree: header.tree, log: header.allocationLog, releaseList: header.releaseList
        )
    }
}

extension Checker {
    /// Checks what the ring itself says.
    mutating func checkRing(_ image: OpenedImage, _ header: Header) {
        for (index, slot) in image.slots.enumerated() {
            let block = UInt64(index)
            switch slot {
            case .unused, .header:
                continue
            case .torn:
                let next = header.generation.next
                findings.add(
                    .headerTorn, block: block,
                    next.ringBlock == block
                        ? "the header of generation \(next) is torn: what that commit changed is lost"
                        : "no header can be made out")
            case .misplaced(let other):
                findings.add(
                    .headerMisplaced, block: block,
                    "the header of generation \(other.generation) belongs into block \(other.generation.ringBlock)")
            case .foreign(let other):
                findings.add(
                    .headerForeign, block: block, "a header of another file system, generation \(other.generation)")
            }
            damage.ringBlocks.insert(block)
        }
        for block in image.misencrypted.sorted() {
            findings.add(
                .headerEncryptedHashWrong, block: block,
                image.cipher == nil
                    ? "the header says that the disk is encrypted, and it isn't: others ask for a password that doesn't exist"
                    : "the header's encrypted hash doesn't fit the disk's keys: others refuse the right password")
        }
        if let problem = image.sizeProblem(header) {
            findings.add(.headerSizeWrong, block: header.generation.ringBlock, problem)
            damage.headerIsWrong = true
            damage.sizeIsImpossible = header.blockCount <= Limits.firstAllocatableBlock
        }
    }
}
