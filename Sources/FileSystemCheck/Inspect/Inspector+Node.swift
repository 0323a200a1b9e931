import DiskFormat
import Platform

extension Inspector {
    /// A node: its fields, its extension, and how its content is stored.
    public func printedNode(_ node: UInt32) throws(CheckError) -> PrintedValue {
        let pointer = try pointer(to: node)
        let block = try read(pointer, "node \(node)")
        return .fields(
            [.init("node", .unsigned(UInt64(node))), .init("block", .unsigned(pointer.address.number))]
                + Self.nodeFields(block.bytes) + (try contentFields(node, block)))
    }

    /// The fields of a node block.
    static func nodeFields(_ block: RawSpan) -> [PrintedValue.Field] {
        let fields = NodeFields(block)
        let times = NodeExtension.times(block)
        var result: [PrintedValue.Field] = [
            .init("type", .text(fields.kind?.word ?? "unknown \(fields.mode >> 12)")),
            .init("mode", .text(String(fields.mode & 0o7777, radix: 8))),
            .init("uid", .unsigned(UInt64(fields.uid))),
            .init("gid", .unsigned(UInt64(fields.gid))),
            .init("links", .unsigned(UInt64(fields.links))),
            .init("size", .unsigned(fields.size)),
            .init("blocks", .unsigned(fields.blocks)),
            .init("created", PrintedValue(NodeBlock.creationTime(block))),
            .init("mtime", PrintedValue(times.modification)),
            .init("ctime", PrintedValue(times.change)),
            .init("atime", PrintedValue(times.access)),
            .init("record_level", .unsigned(UInt64(fields.recordLevel))),
            .init("inline", .flag(fields.isInline)),
            .init("extension", .text("\(NodeExtension.state(block))")),
        ]
        if NodeExtension.device(block) != 0 {
            result.append(.init("device", .unsigned(UInt64(NodeExtension.device(block)))))
        }
        let attributes = NodeExtension.attributes(block)
        if !attributes.isNull {
            result.append(.init("attributes", PrintedValue(attributes)))
        }
        return result
    }

    private func contentFields(_ node: UInt32, _ block: AlignedBuffer) throws(CheckError) -> [PrintedValue.Field] {
        let fields = NodeFields(block.bytes)
        if fields.kind == .directory {
            let marker = NodeFields.pointer(block.bytes, 0)
            let entries = try entries(block, of: node)
            return [
                .init(
                    "hash_tree",
                    marker.isMarker
                        ? .described("depth \(marker.address.level)", .number(Int64(marker.address.level))) : .none),
                .init("root", PrintedValue(NodeFields.pointer(block.bytes, 1))),
                .init("entries", .list(entries.map { Self.printedEntry($0.name, $0.node) })),
            ]
        }
        var result: [PrintedValue.Field] = []
        if fields.kind == .symbolicLink, fields.isInline, fields.size <= UInt64(Limits.inlineCapacity) {
            let target = NodeBlock.inlineContent(block.bytes).extracting(0..<Int(fields.size)).copyToArray()
            result.append(.init("target", .text(String(decoding: target, as: UTF8.self))))
        }
        if !fields.isInline {
            result.append(.init("extents", .list(extents(node, block).map { .described($0.description, $0.printed) })))
            result.append(.init("lists", .list(lists(node, block).map { .described("\($0)", $0.printed) })))
        }
        return result
    }

    /// An entry of a directory.
    static func printedEntry(_ name: [UInt8], _ node: UInt32, hash: String? = nil) -> PrintedValue {
        .described(
            "\(printable(name)) node \(node)" + (hash.map { " hash \($0)" } ?? ""),
            .fields(
                [
                    .init("name", .text(String(decoding: name, as: UTF8.self))), .init("node", .unsigned(UInt64(node))),
                ] + (hash.map { [.init("hash", .text($0))] } ?? [])))
    }

    /// A run of records that lie one after another on the disk.
    struct Extent: CustomStringConvertible {
        var firstRecord: UInt64
        var records: UInt64
        var blocks: Range<UInt64>
        var compressed: UInt64

        var description: String {
            let end = records == 1 ? "" : " to \(firstRecord + records - 1)"
            let packed = compressed == 0 ? "" : ", \(compressed) compressed"
            return "record \(firstRecord)\(end): blocks \(blocks.lowerBound) to \(blocks.upperBound - 1)\(packed)"
        }

        var printed: PrintedValue {
            .fields([
                .init("record", .unsigned(firstRecord)), .init("records", .unsigned(records)),
                .init("block", .unsigned(blocks.lowerBound)), .init("blocks", .unsigned(UInt64(blocks.count))),
                .init("compressed_records", .unsigned(compressed)),
            ])
        }
    }

    /// The records of a file, neighbours on the disk put together.
    func extents(_ node: UInt32, _ block: AlignedBuffer) -> [Extent] {
        var extents: [Extent] = []
        forEachClaim(ofNode: node, block) { claim in
            guard case .record(let record) = claim.kind else { return }
            let address = claim.pointer.address
            let compressed: UInt64 = address.isCompressed ? 1 : 0
            if let last = extents.last, last.blocks.upperBound == address.number,
                last.firstRecord + last.records == record
            {
                extents[extents.count - 1].records += 1
                extents[extents.count - 1].blocks = last.blocks.lowerBound..<address.blocks.upperBound
                extents[extents.count - 1].compressed += compressed
            } else {
                extents.append(
                    Extent(firstRecord: record, records: 1, blocks: address.blocks, compressed: compressed))
            }
        }
        return extents
    }

    private func lists(_ node: UInt32, _ block: AlignedBuffer) -> [BlockClaim] {
        var lists: [BlockClaim] = []
        forEachClaim(ofNode: node, block) { claim in
            if case .list = claim.kind {
                lists.append(claim)
            }
        }
        return lists
    }

    /// Calls `body` for all that a node points to; the content of records is not read.
    func forEachClaim(ofNode node: UInt32, _ block: AlignedBuffer, _ body: (BlockClaim) -> Void) {
        var visited = BlockBitmap(blockCount: reader.blockCount)
        withoutActuallyEscaping(body) { body in
            var walk = ImageWalk(reader: reader)
            walk.walkNode(
                node, block.bytes,
                ImageWalk.Visitor(enter: { claim, _ in
                    let isNew = visited.insert(claim.pointer.address.blocks) == 0
                    body(claim)
                    return claim.isData || !isNew ? .skip(isWhole: true) : .follow
                }))
        }
    }
}
