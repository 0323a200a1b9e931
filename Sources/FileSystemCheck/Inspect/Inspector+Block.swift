import DiskFormat
import Platform

extension Inspector {
    /// What a block is: what owns it, through which pointers, and what it says.
    public func printedBlock(_ number: UInt64) throws(CheckError) -> PrintedValue {
        guard number < reader.blockCount else { throw .notFound("block \(number)") }
        var fields: [PrintedValue.Field] = [.init("block", .unsigned(number))]
        if number < Limits.ringBlocks {
            let slot = image.slots[Int(number)]
            fields.append(
                .init(
                    "use",
                    .described("header ring: \(slot)", .fields([.init("kind", "ring")] + slot.printedFields))))
            return .fields(fields)
        }
        if number < Limits.firstAllocatableBlock {
            fields.append(.init("use", Self.use("never used by the format", "unused")))
            return .fields(fields)
        }
        let chains = owners(of: number)
        guard let first = chains.first, let claim = first.last else {
            var checker = Checker(reader: reader, roots: roots, options: CheckOptions(maximumFindings: 0))
            checker.checkLog()
            fields.append(
                .init(
                    "use",
                    checker.free.contains(number)
                        ? Self.use("free", "free") : Self.use("leaked: neither in use nor free", "leaked")))
            return .fields(fields)
        }
        fields.append(.init("use", .described("\(claim)", claim.printed)))
        if claim.node != 0 {
            let paths = paths(of: [claim.node])
            fields.append(.init("path", paths[claim.node].map { .text($0) } ?? .none))
        }
        let header = PrintedValue.described(
            "header of generation \(generation)",
            .fields([.init("kind", "header"), .init("generation", .unsigned(generation.rawValue))]))
        fields.append(
            .init(
                "owners",
                .list(
                    chains.map { chain in
                        .list([header] + chain.map { .described("\($0)", $0.printed) })
                    })))
        fields.append(.init("content", content(claim)))
        return .fields(fields)
    }

    private static func use(_ text: String, _ kind: String) -> PrintedValue {
        .described(text, .fields([.init("kind", .text(kind))]))
    }

    /// All ways from the header to a block; one, unless the image is damaged.
    func owners(of number: UInt64) -> [[BlockClaim]] {
        var chains: [[BlockClaim]] = []
        var visited = BlockBitmap(blockCount: reader.blockCount)
        var walk = ImageWalk(reader: reader, progress: progress)
        _ = walk.walk(
            roots,
            ImageWalk.Visitor(enter: { claim, chain in
                let blocks = claim.pointer.address.blocks
                if blocks.contains(number), !claim.pointer.isMarker {
                    chains.append(chain)
                }
                guard visited.insert(blocks) == 0, !claim.isData else { return .skip(isWhole: true) }
                return .follow
            }))
        return chains
    }

    /// The paths of nodes.
    func paths(of nodes: [UInt32]) -> [UInt32: String] {
        var checker = Checker(reader: reader, roots: roots, options: CheckOptions(maximumFindings: 0))
        checker.checkTree()
        checker.checkDirectories()
        return checker.paths(of: nodes)
    }

    /// What the block that a claim is about says.
    private func content(_ claim: BlockClaim) -> PrintedValue {
        let block: AlignedBuffer
        do throws(BlockReader.Fault) {
            block = try reader.readVerified(claim.pointer)
        } catch {
            return .text("\(error)")
        }
        switch claim.kind {
        case .tree:
            let pointers = Self.pointers(block, TreeBlock.pointerCount, TreeBlock.pointer)
            return .fields([
                .init("full", .number(Int64(TreeBlock.fullCount(block.bytes)))), .init("pointers", pointers),
            ])
        case .node:
            return .fields(Self.nodeFields(block.bytes))
        case .list:
            return Self.pointers(block, ListBlock.pointerCount, ListBlock.pointer)
        case .hashTree:
            let pointers = Self.pointers(block, HashTreeBlock.entryCount, HashTreeBlock.pointer)
            var hashes: [PrintedValue] = []
            for index in 0..<HashTreeBlock.entryCount where HashTreeBlock.isUsed(block.bytes, index) {
                hashes.append(.text(String(HashTreeBlock.hash(block.bytes, index), radix: 16)))
            }
            return .fields([.init("largest_hashes", .list(hashes)), .init("pointers", pointers)])
        case .directoryList:
            var entries: [PrintedValue] = []
            let list = StoredEntries(block.bytes) { _, node, name in
                let hash = String(NameHash.of(name), radix: 16)
                entries.append(Self.printedEntry(name.copyToArray(), node, hash: hash))
            }
            return .fields([
                .init("entries", .list(entries)), .init("bytes", .number(Int64(list.byteCount))),
                .init("problem", list.problem.map { .text($0) } ?? .none),
            ])
        case .allocationLog:
            return .fields(Self.logFields(block.bytes))
        case .releaseList:
            var nodes: [PrintedValue] = []
            for index in 0..<ReleaseListBlock.nodeCount {
                let node = ReleaseListBlock.node(block.bytes, index).rawValue
                if node != 0 {
                    nodes.append(.unsigned(UInt64(node)))
                }
            }
            return .fields([
                .init("previous", PrintedValue(ReleaseListBlock.previous(block.bytes))), .init("nodes", .list(nodes)),
            ])
        case .attributeTable:
            return .fields([
                .init("entries", .number(Int64(AttributeTable.count(block.bytes)))),
                .init("next", PrintedValue(AttributeTable.next(block.bytes))),
            ])
        case .record, .attributeValue:
            return Self.dump(block.bytes)
        }
    }

    /// The pointers of a block that are not null, with their places.
    private static func pointers(
        _ block: AlignedBuffer, _ count: Int, _ pointer: (RawSpan, Int) -> BlockPointer
    ) -> PrintedValue {
        var pointers: [PrintedValue] = []
        for index in 0..<count {
            let found = pointer(block.bytes, index)
            if !found.isNull {
                pointers.append(
                    .described(
                        "\(index): \(found)",
                        .fields([.init("index", .number(Int64(index)))] + PrintedValue.place(found))))
            }
        }
        return .list(pointers)
    }

    /// The first bytes in hexadecimal.
    private static func dump(_ bytes: RawSpan) -> PrintedValue {
        let first = bytes.extracting(0..<min(bytes.byteCount, 256)).copyToArray()
        return .list(
            stride(from: 0, to: first.count, by: 16).map { start in
                let line = first[start..<min(start + 16, first.count)]
                let text = line.map { $0 >= 32 && $0 < 127 ? String(UnicodeScalar($0)) : "." }.joined()
                return .text(line.map(hexadecimal).joined(separator: " ") + "  " + text)
            })
    }
}

extension OpenedImage.Slot: CustomStringConvertible {
    /// What it holds, for a person.
    var description: String {
        switch self {
        case .unused: "never written"
        case .torn: "no header"
        case .header(let header): "header of generation \(header.generation)"
        case .misplaced(let header): "misplaced header of generation \(header.generation)"
        case .foreign(let header): "header of another file system, generation \(header.generation)"
        }
    }

    /// The same for programs.
    var printedFields: [PrintedValue.Field] {
        switch self {
        case .unused: [.init("state", "unused")]
        case .torn: [.init("state", "torn")]
        case .header(let header): [.init("state", "header"), Self.generation(header)]
        case .misplaced(let header): [.init("state", "misplaced"), Self.generation(header)]
        case .foreign(let header): [.init("state", "foreign"), Self.generation(header)]
        }
    }

    private static func generation(_ header: Header) -> PrintedValue.Field {
        .init("generation", .unsigned(header.generation.rawValue))
    }
}
