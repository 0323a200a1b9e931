import DiskFormat

/// A tar archive as a source: ustar, pax and GNU's forms, with long names, extended attributes and sparse files. Reads
/// the stream once, from beginning to end.
public final class TarTreeSource: TreeSource {
    /// Bytes of a header's extension that are read into memory.
    private static let maximumExtension: UInt64 = 1 << 24

    private let reader: ByteReader
    private let warn: (String) -> Void
    private var global = PaxRecords()
    private var unread: UInt64 = 0
    private var padding: UInt64 = 0
    private var extents: [Range<UInt64>] = []

    /// - Parameters:
    ///   - reader: the archive, not compressed.
    ///   - warn: called for what an archive says and an image can't hold.
    public init(_ reader: ByteReader, warn: @escaping (String) -> Void) {
        self.reader = reader
        self.warn = warn
    }

    /// Reads headers up to the next entry.
    public func next() throws(ToolFailure) -> TreeEntry? {
        try reader.skip(unread)
        try reader.skip(padding)
        unread = 0
        padding = 0
        var pax = PaxRecords()
        var longName: [UInt8]?
        var longLink: [UInt8]?
        while true {
            let place = reader.position
            guard let block = try reader.read(TarHeader.blockByteCount) else {
                if place == 0 { throw reader.damaged("it is empty") }
                return nil
            }
            if block.allSatisfy({ $0 == 0 }) {
                // Two blocks of zeros end an archive; what follows is filling, which a pipe's writer wants read.
                while try reader.next(limit: 1 << 20, { (_) throws(ToolFailure) in }) > 0 {}
                return nil
            }
            let header = try decode(block, place)
            switch header.type {
            case 0x78: pax = try records(header)
            case 0x67: global = try records(header)
            case 0x4C: longName = try text(header)
            case 0x4B: longLink = try text(header)
            case 0x56, 0x4D: throw reader.damaged("it is one volume of several")
            default:
                var header = header
                if let longName { header.name = longName }
                if let longLink { header.linkName = longLink }
                return try entry(header, pax)
            }
        }
    }

    /// Reads the content that `next` has come to.
    public func readContent(_ body: (UInt64, RawSpan) throws(ToolFailure) -> Void) throws(ToolFailure) {
        for extent in extents {
            var offset = extent.lowerBound
            while offset < extent.upperBound {
                let taken = try reader.next(limit: extent.upperBound - offset) { (bytes) throws(ToolFailure) in
                    unread -= UInt64(bytes.byteCount)
                    try body(offset, bytes)
                }
                if taken == 0 { throw reader.ended() }
                offset += UInt64(taken)
            }
        }
        extents = []
    }

    private func decode(_ block: [UInt8], _ place: UInt64) throws(ToolFailure) -> TarHeader {
        do throws(TarHeader.Fault) {
            return try TarHeader(decoding: block)
        } catch .number(let what) {
            throw reader.damaged("its \(what) is not a number")
        } catch {
            if place > 0 { throw reader.damaged("a header's checksum is wrong") }
            var failure = reader.damaged("it does not begin with a header")
            if let program = Self.compressor(block) {
                failure.advice = "It is compressed: pipe it through `\(program) -dc`."
            }
            throw failure
        }
    }

    private static func compressor(_ block: [UInt8]) -> String? {
        let magics: [([UInt8], String)] = [
            ([0x1F, 0x8B], "gzip"), ([0x28, 0xB5, 0x2F, 0xFD], "zstd"), ([0xFD, 0x37, 0x7A, 0x58], "xz"),
            ([0x42, 0x5A, 0x68], "bzip2"), ([0x04, 0x22, 0x4D, 0x18], "lz4"),
        ]
        return magics.first { block.starts(with: $0.0) }?.1
    }

    private func entry(_ header: TarHeader, _ pax: PaxRecords) throws(ToolFailure) -> TreeEntry {
        func value(_ key: String) -> [UInt8]? { pax[key] ?? global[key] }
        func number(_ key: String) -> UInt64? { value(key).flatMap { UInt64(String(decoding: $0, as: UTF8.self)) } }
        let stored = number("size") ?? header.size
        unread = stored
        padding = (512 - stored % 512) % 512
        extents = []
        let name = value("GNU.sparse.name") ?? value("path") ?? header.name
        let isNamedDirectory = name.last == 0x2F
        guard let path = Self.components(name) else {
            throw ToolFailure(
                "\(ToolFailure.display(name)): a name that leads out of the archive", concernsOneEntry: true)
        }
        let kind: NodeKind
        switch header.type {
        case 0x30, 0, 0x37, 0x53, 0x31: kind = isNamedDirectory && header.type != 0x31 ? .directory : .file
        case 0x32: kind = .symbolicLink
        case 0x33: kind = .characterDevice
        case 0x34: kind = .blockDevice
        case 0x35, 0x44: kind = .directory
        case 0x36: kind = .fifo
        default:
            throw ToolFailure(
                "\(ToolFailure.display(name)): unknown type of entry '\(ToolFailure.display([header.type]))'",
                concernsOneEntry: true)
        }
        var entry = TreeEntry(path: path, kind: kind, mode: UInt16(header.mode & 0o7777))
        entry.uid = UInt32(truncatingIfNeeded: number("uid") ?? header.uid)
        entry.gid = UInt32(truncatingIfNeeded: number("gid") ?? header.gid)
        entry.modified = value("mtime").flatMap(PaxTime.decode) ?? Timespec(seconds: header.modified)
        entry.accessed = value("atime").flatMap(PaxTime.decode)
        entry.changed = value("ctime").flatMap(PaxTime.decode)
        entry.created = value("LIBARCHIVE.creationtime").flatMap(PaxTime.decode)
        entry.device = DeviceNumber(
            major: UInt32(truncatingIfNeeded: header.major), minor: UInt32(truncatingIfNeeded: header.minor))
        entry.attributes = attributes(pax, entry)
        let link = value("linkpath") ?? header.linkName
        if kind == .symbolicLink { entry.target = link }
        if header.type == 0x31 {
            guard let first = Self.components(link) else {
                throw ToolFailure(
                    "\(entry.displayPath): a link to a name that leads out of the archive", concernsOneEntry: true)
            }
            entry.hardLink = first
        } else if kind == .file {
            try setContent(&entry, header, pax, stored: stored)
        }
        return entry
    }

    /// Size and extents: plain, or one of the four ways in which tar stores a sparse file.
    private func setContent(
        _ entry: inout TreeEntry, _ header: TarHeader, _ pax: PaxRecords, stored: UInt64
    ) throws(ToolFailure) {
        func number(_ key: String) -> UInt64? { pax[key].flatMap { UInt64(String(decoding: $0, as: UTF8.self)) } }
        var map: [Range<UInt64>]
        if header.type == 0x53 {
            entry.size = header.realSize
            map = header.sparseExtents
            var hasMore = header.hasMoreExtents
            while hasMore {
                guard let block = try reader.read(TarHeader.blockByteCount) else { throw reader.ended() }
                do throws(TarHeader.Fault) {
                    let more = try TarHeader.moreExtents(block)
                    map += more.extents
                    hasMore = more.hasMore
                } catch {
                    throw reader.damaged("a map of holes is malformed")
                }
            }
        } else if number("GNU.sparse.major") == 1 {
            entry.size = number("GNU.sparse.realsize") ?? 0
            map = try mapInContent()
        } else if let size = number("GNU.sparse.size") {
            entry.size = size
            map = try mapInHeader(pax)
        } else {
            entry.size = stored
            if stored > 0 { extents = [0..<stored] }
            return
        }
        guard let checked = SparseMap.checked(map, size: entry.size), SparseMap.byteCount(checked) <= unread else {
            throw reader.damaged("the map of holes of \(entry.displayPath) is wrong")
        }
        extents = checked
        entry.extents = checked
    }

    /// Version 0.1: "offset,length,..."; version 0.0: one record for each number.
    private func mapInHeader(_ pax: PaxRecords) throws(ToolFailure) -> [Range<UInt64>] {
        var numbers: [UInt64?] = []
        if let list = pax["GNU.sparse.map"] {
            numbers = list.split(separator: 0x2C).map { UInt64(String(decoding: $0, as: UTF8.self)) }
        } else {
            for (key, value) in pax.records where key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes" {
                numbers.append(UInt64(String(decoding: value, as: UTF8.self)))
            }
        }
        return try ranges(numbers)
    }

    /// Version 1.0: decimal numbers in lines before the data, filled up to a block.
    private func mapInContent() throws(ToolFailure) -> [Range<UInt64>] {
        var numbers: [UInt64?] = []
        var wanted: Int?
        var digits: [UInt8] = []
        while wanted.map({ numbers.count < $0 * 2 }) ?? true {
            guard unread >= 512, UInt64(numbers.count) < Self.maximumExtension,
                let block = try reader.read(TarHeader.blockByteCount)
            else { throw reader.damaged("a map of holes is malformed") }
            unread -= 512
            for byte in block {
                if byte != 0x0A {
                    digits.append(byte)
                    continue
                }
                let number = UInt64(String(decoding: digits, as: UTF8.self))
                digits = []
                if wanted == nil {
                    guard let count = number.flatMap({ Int(exactly: $0) }), count < 1 << 24 else {
                        throw reader.damaged("a map of holes is malformed")
                    }
                    wanted = count
                } else {
                    numbers.append(number)
                }
                if let wanted, numbers.count == wanted * 2 { break }
            }
        }
        return try ranges(numbers)
    }

    private func ranges(_ numbers: [UInt64?]) throws(ToolFailure) -> [Range<UInt64>] {
        var result: [Range<UInt64>] = []
        guard numbers.count % 2 == 0 else { throw reader.damaged("a map of holes is malformed") }
        for index in stride(from: 0, to: numbers.count, by: 2) {
            guard let offset = numbers[index], let count = numbers[index + 1],
                let range = SparseMap.range(offset, count)
            else { throw reader.damaged("a map of holes is malformed") }
            result.append(range)
        }
        return result
    }

    private func attributes(_ pax: PaxRecords, _ entry: TreeEntry) -> [ExtendedAttribute] {
        var result: [ExtendedAttribute] = []
        let prefix = "SCHILY.xattr."
        var lists: [(name: String, text: [UInt8])] = []
        for (key, value) in pax.records {
            if key.hasPrefix(prefix) {
                result.append(ExtendedAttribute(name: Array(key.dropFirst(prefix.count).utf8), value: value))
            } else if let name = AccessControlText.attributeName(key) {
                lists.append((name, value))
            }
        }
        // Many archives have a list in both forms; the kernel's own needs no interpretation.
        for list in lists where !result.contains(where: { $0.name == Array(list.name.utf8) }) {
            if let value = AccessControlText.attributeValue(String(decoding: list.text, as: UTF8.self)) {
                result.append(ExtendedAttribute(name: Array(list.name.utf8), value: value))
            } else {
                warn("\(entry.displayPath): an access control list can't be understood and is not kept")
            }
        }
        return result
    }

    private func records(_ header: TarHeader) throws(ToolFailure) -> PaxRecords {
        guard let records = PaxRecords(decoding: try body(header)) else {
            throw reader.damaged("an extended header is malformed")
        }
        return records
    }

    private func text(_ header: TarHeader) throws(ToolFailure) -> [UInt8] {
        Array(try body(header).prefix { $0 != 0 })
    }

    private func body(_ header: TarHeader) throws(ToolFailure) -> [UInt8] {
        guard header.size <= Self.maximumExtension else {
            throw reader.damaged("an extended header of \(header.size) bytes")
        }
        if header.size == 0 { return [] }
        guard let body = try reader.read(Int(header.size)) else { throw reader.ended() }
        try reader.skip((512 - header.size % 512) % 512)
        return body
    }

    /// The names of a path; nil if one of them is "..".
    private static func components(_ path: [UInt8]) -> [[UInt8]]? {
        let names = path.split(separator: 0x2F).map { Array($0) }.filter { $0 != [0x2E] }
        return names.contains([0x2E, 0x2E]) ? nil : names
    }
}
