import DiskFormat

/// Damages an image in ways that files, memory and other writers do it, and in ways that only malice does.
public struct ImageMutator {
    /// The image.
    public private(set) var surgeon: ImageSurgeon
    /// What was done, to tell it when a test fails.
    public private(set) var history: [String] = []
    private var choices: Choices

    /// A mutator of a copy of the image.
    public init(_ surgeon: ImageSurgeon, _ choices: Choices) {
        self.surgeon = surgeon
        self.choices = choices
    }

    /// Numbers at the edges of what fields can hold.
    static let edges: [UInt64] = [
        0, 1, 2, 5, 6, 7, 0x0F, 0x10, 0x7F, 0x80, 0xFD, 0xFE, 0xFF, 0x100, 254, 255, 256, 257, 4091, 4092, 4093, 4095,
        4096,
        0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 131072, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF, 1 << 40,
        (1 << 56) - 1, 1 << 56, 1 << 62, (1 << 63) - 1, 1 << 63, .max - 15, .max - 1, .max,
    ]

    /// Makes so many changes, one after the other.
    public mutating func mutate(times: Int) throws {
        for _ in 0..<times where !choices.isExhausted { try mutateOnce() }
    }

    private mutating func mutateOnce() throws {
        guard !surgeon.pieces.isEmpty else { return }
        switch choices.below(16) {
        case 0: try flipBits(fixing: false)
        case 1, 2: try flipBits(fixing: true)
        case 3, 4, 5, 6: try setField()
        case 7: try copyPiece(swapping: true, fixing: true)
        case 8: try copyPiece(swapping: false, fixing: true)
        case 9: try copyPiece(swapping: true, fixing: false)
        case 10, 11, 12: try splicePointer()
        case 13: try fill()
        case 14: try changeHeader()
        default: try damageDevice()
        }
    }

    /// A piece of a kind drawn first: so rare kinds are damaged as often as the common ones.
    private mutating func pickPiece() -> Int {
        let kinds = Set(surgeon.pieces.map(\.kind))
        let present = ImageSurgeon.Piece.Kind.allCases.filter(kinds.contains)
        guard let kind = choices.one(of: present) else { return 0 }
        let candidates = surgeon.pieces.indices.filter { surgeon.pieces[$0].kind == kind }
        return choices.one(of: candidates) ?? 0
    }

    private mutating func flipBits(fixing: Bool) throws {
        let piece = pickPiece()
        let count = choices.below(4) + 1
        var places: [Int] = []
        for _ in 0..<count { places.append(choices.below(4096 * 8)) }
        note("flip bits \(places) of", piece, fixing)
        try surgeon.edit(piece, fixing: fixing) { bytes in
            for place in places { bytes[place / 8] ^= 1 << (place % 8) }
        }
    }

    private mutating func setField() throws {
        let piece = pickPiece()
        let kind = surgeon.pieces[piece].kind
        let size = [1, 2, 4, 8][choices.below(4)]
        let known = Self.fieldOffsets(kind)
        let offset = choices.below(4) == 0 ? choices.below(4096) : choices.one(of: known) ?? choices.below(4096)
        var value = choices.one(of: Self.edges) ?? 0
        if choices.below(4) == 0 { value = choices.word(bytes: size) }
        note("set \(size) bytes at \(offset) to \(value) in", piece, true)
        try surgeon.edit(piece, fixing: true) { bytes in
            for index in 0..<size where offset + index < bytes.count {
                bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(index * 8))
            }
        }
    }

    private mutating func copyPiece(swapping: Bool, fixing: Bool) throws {
        let first = pickPiece()
        let second = pickPiece()
        let one = try surgeon.plain(first)
        let other = try surgeon.plain(second)
        guard first != second, !one.isEmpty, !other.isEmpty else { return }
        note(swapping ? "swap" : "copy", first, fixing)
        note("with", second, fixing)
        func fitted(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
            Array((bytes + [UInt8](repeating: 0, count: max(0, count - bytes.count))).prefix(count))
        }
        try surgeon.replace(second, fitted(one, other.count), fixing: fixing)
        if swapping { try surgeon.replace(first, fitted(other, one.count), fixing: fixing) }
    }

    /// Makes a pointer lead to another block, with the right hash: shared blocks, blocks of the wrong kind, loops.
    private mutating func splicePointer() throws {
        let target = pickPiece()
        var holder = pickPiece()
        for _ in 0..<8 where surgeon.pieces[holder].pointerOffsets.isEmpty { holder = pickPiece() }
        let offsets = surgeon.pieces[holder].pointerOffsets
        guard
            let offset = offsets.isEmpty
                ? nil : offsets[choices.below(choices.below(2) == 0 ? 4 : offsets.count) % offsets.count]
        else { return }
        let bytes = try surgeon.plain(target)
        var pointer = surgeon.pieces[target].pointer
        pointer.hash = SeaHash.hash(bytes.rawBytes)
        switch choices.below(8) {
        case 0: pointer = .null
        case 1: pointer = .marker(depth: choices.below(16))
        case 2:
            let address = pointer.address
            pointer.address = BlockAddress(
                number: address.number, level: choices.below(16), decompressedLevel: choices.below(16))
        case 3: pointer.address.rawValue = choices.one(of: Self.edges) ?? 0
        default: break
        }
        note("point at \(offset) to \(pointer) in", holder, true)
        try surgeon.edit(holder, fixing: true) { bytes in
            bytes.withMutableRawBytes { pointer.encode(into: &$0, at: offset) }
        }
    }

    private mutating func fill() throws {
        let piece = pickPiece()
        let value = [0, 0xFF, 0x80, 0x01][choices.below(4)] as UInt8
        let start = choices.below(4096)
        let half = choices.below(2) == 0
        note("fill from \(half ? start : 0) with \(value)", piece, true)
        try surgeon.edit(piece, fixing: true) { bytes in
            for index in (half ? start : 0)..<bytes.count { bytes[index] = value }
        }
    }

    private mutating func changeHeader() throws {
        let value = choices.one(of: Self.edges) ?? 0
        let which = choices.below(6)
        let target = surgeon.pieces[pickPiece()].pointer
        history.append("header field \(which) to \(value) or \(target)")
        try surgeon.editHeader { header in
            switch which {
            case 0: header.byteCount = value
            case 1: header.generation = Generation(header.generation.rawValue &+ 256 &* value)
            case 2: header.tree = target
            case 3: header.allocationLog = target
            case 4: header.releaseList = target
            default: header.releaseList = .null
            }
        }
    }

    private mutating func damageDevice() throws {
        switch choices.below(3) {
        case 0:
            let size = UInt64(choices.below(Int(surgeon.byteCount) + 1))
            history.append("cut to \(size) bytes")
            surgeon.truncate(to: size)
        case 1:
            let block = surgeon.start + surgeon.header.generation.ringBlock
            let place = choices.below(4096)
            history.append("newest header, byte \(place)")
            try surgeon.editRaw(block: block) { $0[place] ^= 0x55 }
        default:
            let block = UInt64(choices.below(Int(surgeon.byteCount / 4096) + 1))
            history.append("zero block \(block)")
            try surgeon.editRaw(block: block) { $0 = [UInt8](repeating: 0, count: 4096) }
        }
    }

    private mutating func note(_ what: String, _ piece: Int, _ fixing: Bool) {
        let target = surgeon.pieces[piece]
        history.append("\(what) \(target.kind) at \(target.pointer.address)\(fixing ? ", hashes fixed" : "")")
    }

    /// Byte offsets of fields that decide something.
    static func fieldOffsets(_ kind: ImageSurgeon.Piece.Kind) -> [Int] {
        switch kind {
        case .tree: [0, 8, 16, 32, 4048, 4056, 4064, 4072, 4080, 4088, 4095]
        case .node:
            [
                0, 1, 2, 6, 10, 14, 18, 22, 30, 42, 50, 54, 66, 70, 74, 76, 77, 78, 82, 86, 98, 102, 110, 118, 128, 136,
                144, 152,
                2176, 3200, 3712, 3968,
            ]
        case .list: [0, 8, 16, 24, 4080, 4088]
        case .record: [0, 1, 2, 3, 4, 5, 100]
        case .hashTree: [0, 4, 12, 20, 24, 4060, 4064, 4080]
        case .directoryList: [0, 4, 5, 6, 4092, 4094]
        case .log: [0, 8, 16, 24, 32, 40, 48, 56, 4080, 4088]
        case .release: [0, 8, 16, 20, 24, 4092]
        case .attributes: [0, 4, 5, 6, 8, 12, 16, 24, 32, 33, 34, 38]
        case .attributeValue: [0]
        }
    }
}
