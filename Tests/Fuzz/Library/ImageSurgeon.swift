import BlockCodec
import BlockDevice
import DiskFormat

/// Changes an image block by block and puts the hashes right above what was changed, up to the header: so a change gets past
/// the checksums, and the code behind them sees it.
public struct ImageSurgeon: Sendable {
    /// A block of the image: what it is and where its pointer lies.
    public struct Piece: Sendable {
        /// What a block is.
        public enum Kind: Hashable, Sendable, CaseIterable {
            case tree, node, list, record, hashTree, directoryList, log, release, attributes, attributeValue
        }

        /// What the block is.
        public let kind: Kind
        /// The pointer that leads to it; its hash is the one of the unchanged image.
        public let pointer: BlockPointer
        /// The piece that holds the pointer; nil for the header.
        public let parent: Int?
        /// Byte offset of the pointer in the parent.
        public let offset: Int
        /// Byte offset of the pointers in this block, if it holds any.
        var pointerOffsets: [Int] = []
    }

    private let base: MemoryDevice
    /// Block of the device where the file system begins.
    public let start: UInt64
    /// The cipher of an encrypted image.
    public let cipher: BlockCipher?
    /// The current header.
    public private(set) var header: Header
    /// The blocks that the current header leads to; a pointer that can't be followed is left out.
    public private(set) var pieces: [Piece] = []
    /// Changed blocks of the device.
    private var edits: [UInt64: [UInt8]] = [:]
    /// Size of the device.
    public private(set) var byteCount: UInt64

    /// Takes an image apart; nil if no header is valid or the password is wrong.
    /// - Parameter limit: how many pieces are looked at.
    public init?(_ image: MemoryDevice, password: [UInt8]? = nil, limit: Int = 4000) throws {
        base = image
        byteCount = image.byteCount
        var found: (header: Header, start: UInt64)?
        for block in 0..<min(image.byteCount / 4096, 512) {
            let bytes = try image.readBytes(at: block * 4096, count: 4096)
            guard Header.isValid(bytes.rawBytes) else { continue }
            let header = try Header(decoding: bytes.rawBytes)
            guard let start = HeaderRing.start(headerAt: block, generation: header.generation) else { continue }
            if let newest = found, newest.header.generation > header.generation { continue }
            found = (header, start)
        }
        guard let found else { return nil }
        header = found.header
        start = found.start
        if header.isEncrypted {
            guard let password, let opened = try KeySlots.unlock(header, password: password) else { return nil }
            cipher = opened.cipher
        } else {
            cipher = nil
        }
        try collect(limit: limit)
    }

    // MARK: Reading and changing

    /// The plain bytes of the block that a pointer leads to, as they are now; empty if it lies outside.
    public func plain(_ pointer: BlockPointer) throws -> [UInt8] {
        let address = pointer.address
        guard address.level <= 5, address.isInside(blocks: header.blockCount) else { return [] }
        var bytes: [UInt8] = []
        for block in address.blocks {
            if let edit = edits[start + block] {
                bytes += edit
            } else {
                guard (start + block + 1) * 4096 <= base.byteCount else { return [] }
                bytes += try base.readBytes(at: (start + block) * 4096, count: 4096)
            }
        }
        if let cipher {
            try bytes.withMutableRawBytes { (span) throws(CodecError) in
                try cipher.decrypt(&span, firstBlock: address.number)
            }
        }
        return bytes
    }

    /// The plain bytes of a piece as they are now.
    public func plain(_ piece: Int) throws -> [UInt8] { try plain(pieces[piece].pointer) }

    /// Replaces the bytes of a piece, and with `fixing` the hashes above.
    public mutating func replace(_ piece: Int, _ bytes: [UInt8], fixing: Bool) throws {
        guard !bytes.isEmpty else { return }
        try store(pieces[piece].pointer.address, bytes)
        if fixing { try fix(above: piece, hash: SeaHash.hash(bytes.rawBytes)) }
    }

    /// Changes the bytes of a piece, and with `fixing` the hashes above.
    public mutating func edit(_ piece: Int, fixing: Bool, _ body: (inout [UInt8]) -> Void) throws {
        var bytes = try plain(piece)
        guard !bytes.isEmpty else { return }
        let count = bytes.count
        body(&bytes)
        precondition(bytes.count == count)
        try replace(piece, bytes, fixing: fixing)
    }

    /// Changes the current header and seals it.
    public mutating func editHeader(_ body: (inout Header) -> Void) throws {
        body(&header)
        try storeHeader()
    }

    /// Changes a block of the device as it lies there, whatever it is.
    public mutating func editRaw(block: UInt64, _ body: (inout [UInt8]) -> Void) throws {
        guard (block + 1) * 4096 <= base.byteCount else { return }
        var bytes = try edits[block] ?? base.readBytes(at: block * 4096, count: 4096)
        body(&bytes)
        edits[block] = bytes
    }

    /// Cuts the device off.
    public mutating func truncate(to byteCount: UInt64) { self.byteCount = min(byteCount, base.byteCount) }

    /// The changed image.
    public func device() throws -> OverlayDevice {
        let device = OverlayDevice(over: base)
        for (block, bytes) in edits { try device.writeBytes(at: block * 4096, bytes) }
        if byteCount < base.byteCount { try device.resize(to: byteCount) }
        return device
    }

    private mutating func store(_ address: BlockAddress, _ plain: [UInt8]) throws {
        var bytes = plain
        if let cipher {
            try bytes.withMutableRawBytes { (span) throws(CodecError) in
                try cipher.encrypt(&span, firstBlock: address.number)
            }
        }
        for (index, block) in address.blocks.enumerated() {
            edits[start + block] = Array(bytes[index * 4096..<(index + 1) * 4096])
        }
    }

    private mutating func fix(above piece: Int, hash: UInt64) throws {
        var current = piece
        var hash = hash
        while let parent = pieces[current].parent {
            var bytes = try plain(parent)
            let offset = pieces[current].offset
            bytes.withMutableRawBytes { $0.setU64(hash, at: offset + 8) }
            try store(pieces[parent].pointer.address, bytes)
            hash = SeaHash.hash(bytes.rawBytes)
            current = parent
        }
        var pointer = pieces[current].pointer
        pointer.hash = hash
        switch pieces[current].offset {
        case Header.Offset.tree: header.tree.hash = hash
        case Header.Offset.allocationLog: header.allocationLog.hash = hash
        default: header.releaseList.hash = hash
        }
        try storeHeader()
    }

    private mutating func storeHeader() throws {
        try header.seal(with: cipher)
        edits[start + header.generation.ringBlock] = header.bytes
    }

    // MARK: Taking apart

    private mutating func collect(limit: Int) throws {
        try add(.tree, header.tree, parent: nil, Header.Offset.tree)
        try add(.log, header.allocationLog, parent: nil, Header.Offset.allocationLog)
        try add(.release, header.releaseList, parent: nil, Header.Offset.releaseList)
        // The level of a tree block, the depth of a list or of a hash-tree block: what lies below it.
        var below = [Int](repeating: 3, count: pieces.count)
        var next = 0
        while next < pieces.count, pieces.count < limit {
            try expand(next, below: &below)
            next += 1
        }
        while next < pieces.count {
            try findPointers(next)
            next += 1
        }
    }

    private mutating func add(_ kind: Piece.Kind, _ pointer: BlockPointer, parent: Int?, _ offset: Int) throws {
        guard !pointer.isNull, !pointer.isMarker, pointer.address.isInside(blocks: header.blockCount) else { return }
        pieces.append(Piece(kind: kind, pointer: pointer, parent: parent, offset: offset))
    }

    private mutating func findPointers(_ index: Int) throws {
        switch pieces[index].kind {
        case .tree: pieces[index].pointerOffsets = (0..<TreeBlock.pointerCount).map { $0 * 16 }
        case .list: pieces[index].pointerOffsets = (0..<ListBlock.pointerCount).map { $0 * 16 }
        case .hashTree: pieces[index].pointerOffsets = (0..<HashTreeBlock.entryCount).map { $0 * 20 + 4 }
        case .log, .release: pieces[index].pointerOffsets = [0]
        case .attributes: pieces[index].pointerOffsets = [16]
        case .node:
            pieces[index].pointerOffsets =
                [NodeExtension.Offset.attributes] + (0..<RecordLayout.nodePointerCount).map { 128 + $0 * 16 }
        case .record, .directoryList, .attributeValue: break
        }
    }

    private mutating func expand(_ index: Int, below: inout [Int]) throws {
        try findPointers(index)
        let piece = pieces[index]
        let bytes = try plain(index)
        guard bytes.count >= 4096 else { return }
        func pointer(_ offset: Int) -> BlockPointer { BlockPointer(bytes.rawBytes, at: offset) }
        var found: [(kind: Piece.Kind, offset: Int, below: Int)] = []
        let level = below[index]
        switch piece.kind {
        case .tree: found = piece.pointerOffsets.map { (level == 0 ? .node : .tree, $0, level - 1) }
        case .list: found = piece.pointerOffsets.map { (level == 0 ? .record : .list, $0, level - 1) }
        case .hashTree: found = piece.pointerOffsets.map { (level == 0 ? .directoryList : .hashTree, $0, level - 1) }
        case .log: found = [(.log, 0, 0)]
        case .release: found = [(.release, 0, 0)]
        case .attributes:
            found = [(.attributes, 16, 0)]
            var offset = AttributeTable.headerSize
            while let entry = (try? AttributeTable.entry(bytes.rawBytes, at: offset)) ?? nil {
                if entry.valuePointer != nil { found.append((.attributeValue, entry.valueRange.lowerBound, 0)) }
                offset = entry.end
            }
        case .node:
            if !NodeExtension.attributes(bytes.rawBytes).isNull {
                found.append((.attributes, NodeExtension.Offset.attributes, 0))
            }
            if NodeBlock.kind(bytes.rawBytes) == .directory {
                if case .tree(let depth, _)? = try? DirectoryRoot.content(bytes.rawBytes) {
                    found.append((depth == 0 ? .directoryList : .hashTree, 144, depth - 1))
                }
            } else if !NodeBlock.isInline(bytes.rawBytes) {
                for slot in 0..<RecordLayout.nodePointerCount {
                    let depth = RecordLayout.depth(ofSlot: slot)
                    found.append((depth == 0 ? .record : .list, 128 + slot * 16, depth - 1))
                }
            }
        case .record, .directoryList, .attributeValue: break
        }
        for place in found {
            try add(place.kind, pointer(place.offset), parent: index, place.offset)
            while below.count < pieces.count { below.append(place.below) }
        }
    }
}
