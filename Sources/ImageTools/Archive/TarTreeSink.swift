import DiskFormat

/// A tar archive as a destination: pax headers carry what ustar's can't (long names, nanoseconds, extended attributes),
/// files with holes are stored in GNU's sparse form 1.0. GNU tar and bsdtar read it.
public final class TarTreeSink: TreeSink {
    private let writer: ByteWriter
    private let warn: (String) -> Void
    private var remaining: [Range<UInt64>] = []
    private var padding = 0

    /// - Parameters:
    ///   - writer: where the archive goes.
    ///   - warn: called for sockets, which are left out, as tar programs do.
    public init(_ writer: ByteWriter, warn: @escaping (String) -> Void = { _ in }) {
        self.writer = writer
        self.warn = warn
    }

    /// Writes the headers.
    public func begin(_ entry: TreeEntry) throws(ToolFailure) {
        remaining = []
        padding = 0
        guard entry.kind != .socket else {
            warn("\(entry.displayPath): socket left out: a tar archive can't hold it")
            return
        }
        var pax = PaxRecords()
        var header = TarHeader()
        header.mode = UInt64(entry.mode)
        var path = entry.path.isEmpty ? [0x2E] : entry.joinedPath
        if entry.kind == .directory { path.append(0x2F) }
        var sparseMap: [UInt8] = []
        if let first = entry.hardLink {
            header.type = 0x31
            setLink(&header, &pax, Array(first.joined(separator: [0x2F])))
        } else {
            header.type = Self.type(entry.kind)
            if entry.kind == .symbolicLink { setLink(&header, &pax, entry.target) }
            if entry.kind == .file {
                remaining = entry.extents ?? (entry.size > 0 ? [0..<entry.size] : [])
                let stored = SparseMap.byteCount(remaining)
                header.size = stored
                if stored < entry.size {
                    sparseMap = Self.map(remaining, size: entry.size)
                    header.size += UInt64(sparseMap.count)
                    pax.append("GNU.sparse.major", "1")
                    pax.append("GNU.sparse.minor", "0")
                    pax.append("GNU.sparse.name", path)
                    pax.append("GNU.sparse.realsize", String(entry.size))
                }
            }
            if entry.kind.isDevice {
                header.major = UInt64(entry.device.major)
                header.minor = UInt64(entry.device.minor)
            }
        }
        setName(&header, &pax, path, isSparse: !sparseMap.isEmpty)
        setNumbers(&header, &pax, entry)
        for attribute in entry.attributes where entry.hardLink == nil {
            pax.append("SCHILY.xattr." + String(decoding: attribute.name, as: UTF8.self), attribute.value)
            // GNU tar takes lists in this form alone.
            if let key = AccessControlText.key(attribute.name), let text = AccessControlText.text(attribute.value) {
                pax.append(key, text)
            }
        }
        if !pax.records.isEmpty { try write(pax, for: path) }
        try writer.write(header.encode())
        try writer.write(sparseMap)
        padding = Int((512 - header.size % 512) % 512)
    }

    /// Writes content; what the source leaves out of an extent becomes zeros.
    public func write(at offset: UInt64, _ bytes: RawSpan) throws(ToolFailure) {
        if bytes.byteCount == 0 { return }
        try fill(upTo: offset)
        guard let extent = remaining.first, extent.lowerBound == offset,
            UInt64(bytes.byteCount) <= extent.upperBound - offset
        else { throw ToolFailure("content outside of the announced places, at byte \(offset)") }
        try writer.write(bytes)
        advance(UInt64(bytes.byteCount))
    }

    /// Fills up to a block.
    public func end() throws(ToolFailure) {
        try fill(upTo: .max)
        try writer.writeZeros(padding)
        padding = 0
    }

    /// Ends the archive: two blocks of zeros, filled to 10 KiB as tar programs do.
    public func finish() throws(ToolFailure) {
        try writer.writeZeros(1024)
        let record: UInt64 = 10240
        try writer.writeZeros(Int((record - writer.position % record) % record))
        try writer.flush()
    }

    private func fill(upTo offset: UInt64) throws(ToolFailure) {
        while let extent = remaining.first, extent.lowerBound < offset {
            let count = min(min(extent.upperBound, offset) - extent.lowerBound, 1 << 16)
            try writer.writeZeros(Int(count))
            advance(count)
        }
    }

    private func advance(_ count: UInt64) {
        let extent = remaining[0]
        let start = extent.lowerBound + count
        if start == extent.upperBound {
            remaining.removeFirst()
        } else {
            remaining[0] = start..<extent.upperBound
        }
    }

    private func write(_ pax: PaxRecords, for path: [UInt8]) throws(ToolFailure) {
        let body = pax.encode()
        var header = TarHeader()
        header.type = 0x78
        header.mode = 0o644
        header.name = Array("PaxHeaders/".utf8) + Self.tail(path, 80)
        header.size = UInt64(body.count)
        try writer.write(header.encode())
        try writer.write(body)
        try writer.writeZeros((512 - body.count % 512) % 512)
    }

    private func setName(_ header: inout TarHeader, _ pax: inout PaxRecords, _ path: [UInt8], isSparse: Bool) {
        if isSparse {
            header.name = Array("GNUSparseFile.0/".utf8) + Self.tail(path, 80)
        } else if path.count <= 100 && path.allSatisfy({ $0 < 0x80 }) {
            header.name = path
        } else {
            pax.append("path", path)
            header.name = Self.tail(path, 100)
        }
    }

    private func setLink(_ header: inout TarHeader, _ pax: inout PaxRecords, _ target: [UInt8]) {
        if target.count <= 100 && target.allSatisfy({ $0 < 0x80 }) {
            header.linkName = target
        } else {
            pax.append("linkpath", target)
            header.linkName = Array(target.prefix(100))
        }
    }

    private func setNumbers(_ header: inout TarHeader, _ pax: inout PaxRecords, _ entry: TreeEntry) {
        header.uid = UInt64(entry.uid)
        header.gid = UInt64(entry.gid)
        if header.uid > 0o7777777 { pax.append("uid", String(entry.uid)) }
        if header.gid > 0o7777777 { pax.append("gid", String(entry.gid)) }
        if header.size > 0o777_7777_7777 { pax.append("size", String(header.size)) }
        header.uid = min(header.uid, 0o7777777)
        header.gid = min(header.gid, 0o7777777)
        header.modified = max(0, min(entry.modified.seconds, 0o777_7777_7777))
        if entry.modified.nanoseconds != 0 || header.modified != entry.modified.seconds {
            pax.append("mtime", PaxTime.encode(entry.modified))
        }
        if let accessed = entry.accessed { pax.append("atime", PaxTime.encode(accessed)) }
        if let changed = entry.changed { pax.append("ctime", PaxTime.encode(changed)) }
    }

    private static func map(_ extents: [Range<UInt64>], size: UInt64) -> [UInt8] {
        // A hole at the end is announced by an empty extent, as GNU tar does.
        var extents = extents
        if extents.last?.upperBound != size { extents.append(size..<size) }
        var text = "\(extents.count)\n"
        for extent in extents { text += "\(extent.lowerBound)\n\(extent.upperBound - extent.lowerBound)\n" }
        let bytes = Array(text.utf8)
        return bytes + [UInt8](repeating: 0, count: (512 - bytes.count % 512) % 512)
    }

    private static func type(_ kind: NodeKind) -> UInt8 {
        switch kind {
        case .file, .socket: 0x30
        case .symbolicLink: 0x32
        case .characterDevice: 0x33
        case .blockDevice: 0x34
        case .directory: 0x35
        case .fifo: 0x36
        }
    }

    private static func tail(_ path: [UInt8], _ count: Int) -> [UInt8] {
        Array(path.suffix(count).drop { $0 == 0x2F })
    }
}
