import DiskFormat

/// The 512-byte header of a tar archive (POSIX.1-1988 ustar, with GNU's forms of numbers and of sparse files).
///
///     0 name 100, 100 mode 8, 108 uid 8, 116 gid 8, 124 size 12, 136 mtime 12, 148 checksum 8, 156 type 1,
///     157 link name 100, 257 "ustar\0" 6, 263 "00" 2, 265 user 32, 297 group 32, 329 major 8, 337 minor 8,
///     345 prefix 155; old GNU sparse: 386 four extents of 24, 482 more follow, 483 real size 12
struct TarHeader {
    static let blockByteCount = 512

    var name: [UInt8] = []
    var mode: UInt64 = 0
    var uid: UInt64 = 0
    var gid: UInt64 = 0
    var size: UInt64 = 0
    var modified: Int64 = 0
    var type: UInt8 = 0x30
    var linkName: [UInt8] = []
    var major: UInt64 = 0
    var minor: UInt64 = 0
    /// Extents of GNU's old sparse form, and whether a block with more follows.
    var sparseExtents: [Range<UInt64>] = []
    var hasMoreExtents = false
    var realSize: UInt64 = 0

    /// What a header can say wrongly.
    enum Fault: Error {
        case checksum
        case number(String)
    }

    /// A header with nothing set.
    init() {}

    /// The header in a block of 512 bytes.
    init(decoding block: [UInt8]) throws(Fault) {
        guard block.count == Self.blockByteCount, Self.checksumMatches(block) else { throw .checksum }
        mode = try Self.unsigned(block[100..<108], "mode") & 0o7777
        uid = try Self.unsigned(block[108..<116], "uid")
        gid = try Self.unsigned(block[116..<124], "gid")
        size = try Self.unsigned(block[124..<136], "size")
        guard let time = Self.number(block[136..<148]) else { throw .number("mtime") }
        modified = time
        type = block[156]
        linkName = Self.text(block[157..<257])
        name = Self.text(block[0..<100])
        let isStandard = Array(block[257..<263]) == Array("ustar\0".utf8)
        if isStandard {
            let prefix = Self.text(block[345..<500])
            if !prefix.isEmpty { name = prefix + [0x2F] + name }
        }
        if type == 0x33 || type == 0x34 {
            major = try Self.unsigned(block[329..<337], "major device number")
            minor = try Self.unsigned(block[337..<345], "minor device number")
        }
        if type == 0x53 {
            realSize = try Self.unsigned(block[483..<495], "real size")
            hasMoreExtents = block[482] != 0
            sparseExtents = try Self.extents(block[386..<482])
        }
    }

    /// The extents in an extension block of GNU's old sparse form, and whether another follows.
    static func moreExtents(_ block: [UInt8]) throws(Fault) -> (extents: [Range<UInt64>], hasMore: Bool) {
        guard block.count == blockByteCount else { throw .checksum }
        return (try extents(block[0..<504]), block[504] != 0)
    }

    /// The block. Name and link name must fit; numbers that don't are written in base 256 as GNU does.
    func encode() -> [UInt8] {
        var block = [UInt8](repeating: 0, count: Self.blockByteCount)
        func put(_ bytes: [UInt8], _ offset: Int, _ limit: Int) {
            for (index, byte) in bytes.prefix(limit).enumerated() { block[offset + index] = byte }
        }
        put(name, 0, 100)
        put(Self.digits(mode, 8), 100, 8)
        put(Self.digits(uid, 8), 108, 8)
        put(Self.digits(gid, 8), 116, 8)
        put(Self.digits(size, 12), 124, 12)
        put(Self.digits(UInt64(clamping: modified), 12), 136, 12)
        block[156] = type
        put(linkName, 157, 100)
        put(Array("ustar\000".utf8), 257, 8)
        put(Self.digits(major, 8), 329, 8)
        put(Self.digits(minor, 8), 337, 8)
        put([UInt8](repeating: 0x20, count: 8), 148, 8)
        let sum = block.reduce(UInt64(0)) { $0 + UInt64($1) }
        put(Self.digits(sum, 7) + [0x20], 148, 8)
        return block
    }

    private static func checksumMatches(_ block: [UInt8]) -> Bool {
        guard let stored = number(block[148..<156]) else { return false }
        var unsigned: Int64 = 0
        var signed: Int64 = 0
        for (index, byte) in block.enumerated() {
            let counted: UInt8 = (148..<156).contains(index) ? 0x20 : byte
            unsigned += Int64(counted)
            // Some old programs added signed bytes.
            signed += Int64(Int8(bitPattern: counted))
        }
        return stored == unsigned || stored == signed
    }

    private static func unsigned(_ field: ArraySlice<UInt8>, _ what: String) throws(Fault) -> UInt64 {
        guard let value = number(field), let result = UInt64(exactly: value) else { throw .number(what) }
        return result
    }

    /// Octal digits between spaces and NULs, or base 256 if the first bit is set. Empty is 0.
    static func number(_ field: ArraySlice<UInt8>) -> Int64? {
        guard let first = field.first else { return nil }
        if first & 0x80 != 0 {
            var value: Int64 = first & 0x40 != 0 ? -1 : 0
            for (index, byte) in field.enumerated() {
                let part = index == 0 ? Int64(first & 0x7F) | (first & 0x40 != 0 ? -128 : 0) : Int64(byte)
                let (shifted, overflow) = value.multipliedReportingOverflow(by: index == 0 ? 0 : 256)
                if overflow { return nil }
                value = index == 0 ? part : shifted | part
            }
            return value
        }
        var value: Int64 = 0
        var isEnded = false
        var hasDigits = false
        for byte in field {
            switch byte {
            case 0x30...0x37 where !isEnded:
                hasDigits = true
                let (shifted, overflow) = value.multipliedReportingOverflow(by: 8)
                if overflow { return nil }
                value = shifted + Int64(byte - 0x30)
            case 0, 0x20: isEnded = hasDigits
            default: return nil
            }
        }
        return value
    }

    private static func text(_ field: ArraySlice<UInt8>) -> [UInt8] {
        Array(field.prefix { $0 != 0 })
    }

    private static func extents(_ field: ArraySlice<UInt8>) throws(Fault) -> [Range<UInt64>] {
        var result: [Range<UInt64>] = []
        var start = field.startIndex
        while start + 24 <= field.endIndex, field[start] != 0 {
            let offset = try unsigned(field[start..<start + 12], "sparse offset")
            let count = try unsigned(field[start + 12..<start + 24], "sparse length")
            guard let range = SparseMap.range(offset, count) else { throw .number("sparse extent") }
            result.append(range)
            start += 24
        }
        return result
    }

    private static func digits(_ value: UInt64, _ width: Int) -> [UInt8] {
        let text = Array(String(value, radix: 8).utf8)
        if text.count < width {
            return [UInt8](repeating: 0x30, count: width - 1 - text.count) + text + [0]
        }
        var result = [UInt8](repeating: 0, count: width)
        var rest = value
        for index in stride(from: width - 1, to: 0, by: -1) {
            result[index] = UInt8(truncatingIfNeeded: rest)
            rest >>= 8
        }
        result[0] = 0x80
        return result
    }
}

/// Where the data of a sparse file lies.
enum SparseMap {
    static func range(_ offset: UInt64, _ count: UInt64) -> Range<UInt64>? {
        let (end, overflow) = offset.addingReportingOverflow(count)
        return overflow ? nil : offset..<end
    }

    /// The map without empty extents; nil if it isn't rising or goes beyond the size.
    static func checked(_ extents: [Range<UInt64>], size: UInt64) -> [Range<UInt64>]? {
        var end: UInt64 = 0
        for extent in extents {
            guard extent.lowerBound >= end, extent.upperBound <= size else { return nil }
            end = extent.upperBound
        }
        return extents.filter { !$0.isEmpty }
    }

    static func byteCount(_ extents: [Range<UInt64>]) -> UInt64 {
        extents.reduce(0) { $0 &+ ($1.upperBound - $1.lowerBound) }
    }
}
