import BlockDevice
import DiskFormat
import Platform

/// Looks into an image without changing it: prints every structure, says what owns a block, measures how space is used.
public struct Inspector: Sendable {
    let image: OpenedImage
    let header: Header
    let reader: BlockReader
    let roots: Roots
    let progress: (@Sendable (CheckProgress) -> Void)?

    /// Opens the newest generation, or the one that the options name.
    ///
    /// - Parameter unlocks: without, of an encrypted file system only `printedHeader` can be used, and no password is needed.
    public init(
        _ device: any BlockDevice, _ options: CheckOptions = CheckOptions(), unlocks: Bool = true
    ) throws(CheckError) {
        image = try OpenedImage(device, password: options.password, unlocks: unlocks)
        header = try image.header(of: options.generation)
        reader = image.reader(of: header)
        roots = Roots(header)
        progress = options.progress
    }

    /// The generation that is looked at.
    public var generation: Generation { header.generation }

    // MARK: Finding things

    /// The node of a path from the root; empty parts are ignored.
    ///
    /// - Throws: `notFound` or, if something on the way can't be read, `unreadable`.
    public func node(at path: String) throws(CheckError) -> UInt32 {
        var node = NodeID.root.rawValue
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            let name = Array(part)
            let block = try nodeBlock(node)
            guard NodeFields(block.bytes).kind == .directory else { throw .notFound(path) }
            guard let found = try entries(block, of: node).first(where: { $0.name == name }) else {
                throw .notFound(path)
            }
            node = found.node
        }
        return node
    }

    /// Where a node lies.
    func pointer(to node: UInt32) throws(CheckError) -> BlockPointer {
        var pointer = roots.tree
        let id = NodeID(node)
        guard id.isValid else { throw .notFound("node \(node)") }
        for level in (0..<TreeBlock.levelCount).reversed() {
            guard !pointer.isNull else { throw .notFound("node \(node)") }
            let block = try read(pointer, "tree block of level \(level)")
            pointer = TreeBlock.pointer(block.bytes, id.treeIndex(level: level))
        }
        guard !pointer.isNull else { throw .notFound("node \(node)") }
        return pointer
    }

    func nodeBlock(_ node: UInt32) throws(CheckError) -> AlignedBuffer {
        try read(try pointer(to: node), "node \(node)")
    }

    /// A block of metadata.
    func read(_ pointer: BlockPointer, _ what: String) throws(CheckError) -> AlignedBuffer {
        do throws(BlockReader.Fault) {
            guard pointer.address.level == 0, !pointer.address.isCompressed else { throw .pointer }
            return try reader.readVerified(pointer)
        } catch {
            throw .unreadable("\(what) at \(pointer.address): \(error)")
        }
    }

    /// The entries of a directory, in the order of their hashes.
    func entries(_ block: AlignedBuffer, of node: UInt32) throws(CheckError) -> [StoredEntry] {
        let marker = NodeFields.pointer(block.bytes, 0)
        guard marker.isMarker else { return [] }
        let checker = Checker(reader: reader, roots: roots, options: CheckOptions())
        var entries: [StoredEntry] = []
        let isComplete = checker.forEachEntry(
            under: NodeFields.pointer(block.bytes, 1), levels: marker.address.level
        ) { entries.append($0) }
        guard isComplete else { throw .unreadable("the entries of directory \(node) can't all be read") }
        return entries
    }

    // MARK: Header, log, tree

    /// The header, and what is in the ring.
    public func printedHeader() -> PrintedValue {
        var fields: [PrintedValue.Field] = [
            .init("block", .unsigned(image.startBlock + header.generation.ringBlock)),
            .init("start", .unsigned(image.startBlock)),
            .init("version", .unsigned(Limits.version)),
            .init("uuid", PrintedValue(header.uuid)),
            .init("size", .unsigned(header.byteCount)),
            .init("blocks", .unsigned(header.blockCount)),
            .init("generation", .unsigned(header.generation.rawValue)),
            .init("tree", PrintedValue(header.tree)),
            .init("allocation_log", PrintedValue(header.allocationLog)),
            .init("release_list", PrintedValue(header.releaseList)),
            .init("encrypted", .flag(HeaderRing.isEncrypted(image.headers))),
            .init(
                "key_slots",
                .list((0..<Limits.keySlotCount).filter { !header.keySlot($0).isUnused }.map { .number(Int64($0)) })),
            .init("hash", .text(String(header.storedHash, radix: 16))),
        ]
        if let note = header.headerExtension {
            fields.append(
                .init(
                    "extension",
                    .fields([
                        .init("mount", PrintedValue(note.mountID)), .init("sequence", .unsigned(note.sequence)),
                        .init("commit_time", PrintedValue(note.commitTime)),
                    ])))
        }
        let generations = image.headers.map(\.generation.rawValue)
        fields.append(
            .init(
                "ring",
                .fields([
                    .init("headers", .number(Int64(generations.count))),
                    .init("oldest", generations.min().map { .unsigned($0) } ?? .none),
                    .init("newest", generations.max().map { .unsigned($0) } ?? .none),
                    .init("other", .list(printedSlots())),
                ])))
        return .fields(fields)
    }

    /// What in the ring is no header of this file system in its place.
    private func printedSlots() -> [PrintedValue] {
        image.slots.enumerated().compactMap { index, slot in
            switch slot {
            case .unused, .header: nil
            default:
                .described(
                    "block \(index): \(slot)", .fields([.init("block", .number(Int64(index)))] + slot.printedFields))
            }
        }
    }

    /// The allocation log, the newest block first as it is chained.
    public func printedLog() throws(CheckError) -> PrintedValue {
        var blocks: [PrintedValue] = []
        var pointer = roots.log
        var seen = BlockBitmap(blockCount: reader.blockCount)
        while !pointer.isNull, seen.insert(pointer.address.blocks) == 0 {
            let block = try read(pointer, "a block of the allocation log")
            blocks.append(
                .fields([.init("block", .unsigned(pointer.address.number))] + Self.logFields(block.bytes)))
            pointer = AllocationLogBlock.previous(block.bytes)
        }
        return .fields([.init("blocks", .number(Int64(blocks.count))), .init("log", .list(blocks))])
    }

    static func logFields(_ block: RawSpan) -> [PrintedValue.Field] {
        let entries = (0..<AllocationLogBlock.entryCount).map { AllocationLogBlock.entry(block, $0) }
            .filter { !$0.isUnused }
        return [
            .init("previous", PrintedValue(AllocationLogBlock.previous(block))),
            .init(
                "entries",
                .list(
                    entries.map { entry in
                        .described(
                            "\(entry.frees ? "+" : "-")\(counted(entry.count.magnitude, "block")) from \(entry.block) on",
                            .fields([
                                .init("frees", .flag(entry.frees)), .init("block", .unsigned(entry.block)),
                                .init("count", .unsigned(UInt64(entry.count.magnitude))),
                            ]))
                    })),
        ]
    }

    /// The tree: how many blocks each level has, and where each node lies.
    public func printedTree() -> PrintedValue {
        var levels = [Int64](repeating: 0, count: TreeBlock.levelCount)
        var nodes: [PrintedValue] = []
        var visited = BlockBitmap(blockCount: reader.blockCount)
        var walk = ImageWalk(reader: reader)
        let isWhole = walk.walkTree(
            roots,
            ImageWalk.Visitor(enter: { claim, _ in
                guard visited.insert(claim.pointer.address.blocks) == 0 else { return .skip(isWhole: false) }
                if case .tree(let level, _) = claim.kind {
                    levels[level] += 1
                    return .follow
                }
                nodes.append(
                    .described(
                        "node \(claim.node): \(claim.pointer)",
                        .fields([.init("node", .unsigned(UInt64(claim.node)))] + PrintedValue.place(claim.pointer))))
                return .skip(isWhole: true)
            }))
        return .fields([
            .init("top", PrintedValue(roots.tree)),
            .init("blocks_by_level", .list(levels.map { .number($0) })),
            .init("whole", .flag(isWhole)),
            .init("nodes", .number(Int64(nodes.count))),
            .init("node_blocks", .list(nodes)),
        ])
    }
}
