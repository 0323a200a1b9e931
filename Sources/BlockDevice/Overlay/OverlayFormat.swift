import Platform

// An overlay file: which blocks of a base image were written, and their contents.
//
//     block 0            header: magic, version, size and fingerprint of the base
//     block 1            table of segment 0: 512 entries of 8 bytes
//     blocks 2...513     the 512 blocks that the table speaks of
//     block 514          table of segment 1
//     ...
//
// Entry i of a table says which block of the base the i-th block of the segment takes the place of; 0 for none. Entries are only
// ever added. An entry is written when the contents of its block are on the medium (`OverlayFileDevice.flush`), and a
// disk writes the 8 bytes of an entry as a whole: so each entry that a loss of power leaves is true, whatever became of the
// others. There is nothing else to be consistent with.

/// The numbers of the format.
enum OverlayFormat {
    static let blockBytes = 4096
    /// Blocks that a table speaks of.
    static let segmentBlocks = 512
    static let entryBytes = 8
    /// A table and its blocks.
    static let segmentBytes = UInt64((1 + segmentBlocks) * blockBytes)
    /// Bases of more blocks can't be: block numbers have 32 bits.
    static let maximumBlocks: UInt64 = 1 << 32

    /// Where the table of a segment is.
    static func tableOffset(_ segment: Int) -> UInt64 { UInt64(blockBytes) + UInt64(segment) * segmentBytes }

    /// Where the contents of a block are, by its place: counted over all segments, tables left out.
    static func offset(ofPlace place: Int) -> UInt64 {
        let (segment, index) = place.quotientAndRemainder(dividingBy: segmentBlocks)
        return tableOffset(segment) + UInt64((1 + index) * blockBytes)
    }

    /// Whole segments in a file of this size.
    static func segmentCount(byteCount: UInt64) -> Int {
        byteCount < UInt64(blockBytes) ? 0 : Int((byteCount - UInt64(blockBytes)) / segmentBytes)
    }

    /// An entry: the block of the base in the upper 40 bits, below them a check that tells an entry from noise. Never 0.
    static func entry(block: UInt64, place: Int, id: UInt64) -> UInt64 {
        block << 24 | check(block, place, id)
    }

    /// The block of an entry; nil if the entry isn't one.
    static func block(ofEntry entry: UInt64, place: Int, id: UInt64) -> UInt64? {
        let block = entry >> 24
        return entry & 0xFF_FFFF == check(block, place, id) ? block : nil
    }

    private static func check(_ block: UInt64, _ place: Int, _ id: UInt64) -> UInt64 {
        var value = id ^ (block &* 0x9E37_79B9_7F4A_7C15) ^ (UInt64(place) &* 0xC2B2_AE3D_27D4_EB4F)
        value = (value ^ (value >> 32)) &* 0xD6E8_FEB8_6659_FD93
        return (value >> 40) | 1
    }
}

/// The first block of an overlay file.
///
///      0  magic "SBovrlay"     8  version u32        12  bytes of a block u32
///     16  size of the base, bytes u64               24  id u64
///     32  fingerprint of the base u64               40  check of what stands before u64
struct OverlayHeader: Equatable {
    static let magic: UInt64 = 0x7961_6c72_766f_4253
    static let version: UInt32 = 1
    private static let checkedWords = 5

    var baseByteCount: UInt64
    /// Drawn when the overlay was made: entries of another one are noise.
    var id: UInt64
    /// Of the base when the overlay was made.
    var baseFingerprint: UInt64

    /// Writes the header over the first bytes of a block.
    func encode(into block: AlignedBuffer) {
        var bytes = block.mutableBytes
        let words = [
            Self.magic, UInt64(Self.version) | UInt64(OverlayFormat.blockBytes) << 32, baseByteCount, id,
            baseFingerprint,
        ]
        for (index, word) in words.enumerated() {
            bytes.storeBytes(of: word.littleEndian, toByteOffset: 8 * index, as: UInt64.self)
        }
        bytes.storeBytes(
            of: OverlayHash.hash(block.bytes(0..<(8 * words.count))).littleEndian, toByteOffset: 8 * words.count,
            as: UInt64.self)
    }

    /// The header in a block; nil if there is none, or a damaged one.
    init?(decoding block: AlignedBuffer) {
        let bytes = block.bytes
        func word(_ index: Int) -> UInt64 {
            UInt64(littleEndian: unsafe bytes.unsafeLoad(fromByteOffset: 8 * index, as: UInt64.self))
        }
        guard word(0) == Self.magic,
            word(1) == UInt64(Self.version) | UInt64(OverlayFormat.blockBytes) << 32,
            word(Self.checkedWords) == OverlayHash.hash(block.bytes(0..<(8 * Self.checkedWords)))
        else { return nil }
        baseByteCount = word(2)
        id = word(3)
        baseFingerprint = word(4)
    }

    init(baseByteCount: UInt64, id: UInt64, baseFingerprint: UInt64) {
        self.baseByteCount = baseByteCount
        self.id = id
        self.baseFingerprint = baseFingerprint
    }
}

/// FNV-1a over words of 8 bytes: finds accidents, not attacks.
enum OverlayHash {
    static func hash(_ bytes: RawSpan, from start: UInt64 = 0xCBF2_9CE4_8422_2325) -> UInt64 {
        var result = start
        for index in 0..<(bytes.byteCount / 8) {
            let word = UInt64(
                littleEndian: unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
            result = (result ^ word) &* 0x0000_0100_0000_01B3
            result ^= result >> 29
        }
        return result
    }
}
