import DiskFormat
import Platform

/// How the space of a file system is used.
public struct SpaceUsage: Sendable {
    /// What blocks are used for.
    public enum Use: String, Sendable, CaseIterable, Codable {
        case ring, tree, nodes, lists, directories, attributes
        case allocationLog = "allocation_log"
        case releaseList = "release_list"
        case content, free, leaked
    }

    /// Blocks of the file system.
    public var blocks: UInt64 = 0
    /// Blocks by what they are used for. Block 256, which nothing ever uses, counts to the ring.
    public var byUse: [Use: UInt64] = [:]
    /// Nodes by type.
    public var nodes: [NodeKind: UInt64] = [:]
    /// Records that are stored plain and compressed.
    public var plainRecords: UInt64 = 0
    /// Records that are stored compressed.
    public var compressedRecords: UInt64 = 0
    /// Bytes that the compressed records have after decompression.
    public var compressedContentBytes: UInt64 = 0
    /// Bytes that the compressed records take on the disk.
    public var compressedStoredBytes: UInt64 = 0
    /// Bytes of all files' sizes, and of those whose content lies in their nodes.
    public var fileBytes: UInt64 = 0
    /// Bytes of content that lies in nodes.
    public var inlineBytes: UInt64 = 0
    /// Files by the number of pieces in which their records lie on the disk: 1, 2, 3 to 4, 5 to 8, and so on.
    public var filesByPieces: [Int: UInt64] = [:]
    /// Free runs by the power of two at or below their number of blocks.
    public var freeRunsBySize: [Int: UInt64] = [:]
    /// Whether something could not be read, so that the figures are too low.
    public var isIncomplete = false

    /// Bytes of content per byte on the disk, of what is compressed; 1 if nothing is.
    public var compressionRatio: Double {
        compressedStoredBytes == 0 ? 1 : Double(compressedContentBytes) / Double(compressedStoredBytes)
    }

    /// As a structure to print.
    public var printed: PrintedValue {
        .fields([
            .init("blocks", .unsigned(blocks)),
            .init("use", .fields(Use.allCases.map { .init($0.rawValue, .unsigned(byUse[$0] ?? 0)) })),
            .init(
                "nodes",
                .fields(
                    nodes.sorted { $0.key.rawValue < $1.key.rawValue }.map { .init($0.key.word, .unsigned($0.value)) })),
            .init("file_bytes", .unsigned(fileBytes)),
            .init("inline_bytes", .unsigned(inlineBytes)),
            .init("plain_records", .unsigned(plainRecords)),
            .init("compressed_records", .unsigned(compressedRecords)),
            .init("compressed_content_bytes", .unsigned(compressedContentBytes)),
            .init("compressed_stored_bytes", .unsigned(compressedStoredBytes)),
            .init("compression_ratio", .text(Self.hundredths(compressionRatio))),
            .init("files_by_pieces", Self.histogram(filesByPieces) { "\(Self.range($0))" }),
            .init("free_runs_by_blocks", Self.histogram(freeRunsBySize) { "\(1 << $0) to \((2 << $0) - 1)" }),
            .init("incomplete", .flag(isIncomplete)),
        ])
    }

    private static func histogram(_ counts: [Int: UInt64], _ name: (Int) -> String) -> PrintedValue {
        .fields(counts.sorted { $0.key < $1.key }.map { .init(name($0.key), .unsigned($0.value)) })
    }

    /// The numbers of a bucket: 1, 2, 3 to 4, 5 to 8.
    private static func range(_ bucket: Int) -> String {
        bucket < 2 ? "\(bucket + 1)" : "\((1 << (bucket - 1)) + 1) to \(1 << bucket)"
    }

    /// The bucket of a number from 1 on.
    static func bucket(ofPieces count: Int) -> Int {
        count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount
    }

    private static func hundredths(_ value: Double) -> String {
        let scaled = UInt64((value * 100).rounded())
        return "\(scaled / 100).\(scaled % 100 < 10 ? "0" : "")\(scaled % 100)"
    }
}

extension Inspector {
    /// Measures how space is used. Reads all metadata and no content of files.
    public func usage() -> SpaceUsage {
        var usage = SpaceUsage()
        usage.blocks = reader.blockCount
        usage.byUse[.ring] = min(Limits.firstAllocatableBlock, reader.blockCount)
        var used = BlockBitmap(blockCount: reader.blockCount)
        var current: (node: UInt32, pieces: Int, end: UInt64) = (0, 0, 0)
        func finishFile(_ usage: inout SpaceUsage) {
            if current.pieces > 0 {
                usage.filesByPieces[SpaceUsage.bucket(ofPieces: current.pieces), default: 0] += 1
            }
            current = (0, 0, 0)
        }
        var walk = ImageWalk(reader: reader, progress: progress)
        let isWhole = walk.walk(
            roots,
            ImageWalk.Visitor(
                enter: { claim, _ in
                    let address = claim.pointer.address
                    guard used.insert(address.blocks) == 0 else { return .skip(isWhole: false) }
                    usage.byUse[claim.use, default: 0] += address.blockCount
                    guard claim.isData else { return .follow }
                    if case .record = claim.kind {
                        if current.node != claim.node {
                            finishFile(&usage)
                            current = (claim.node, 0, 0)
                        }
                        current.pieces += address.number == current.end ? 0 : 1
                        current.end = address.blocks.upperBound
                        usage.count(address)
                    }
                    return .skip(isWhole: true)
                },
                content: { claim, bytes in
                    if case .node = claim.kind {
                        usage.count(NodeFields(bytes))
                    }
                }))
        finishFile(&usage)
        usage.isIncomplete = !isWhole
        var checker = Checker(reader: reader, roots: roots, options: CheckOptions(maximumFindings: 0))
        checker.checkLog()
        let free = checker.free
        let range = Limits.firstAllocatableBlock..<max(reader.blockCount, Limits.firstAllocatableBlock)
        BlockBitmap.forEachRun(in: range) {
            free.word($0)
        } _: { run in
            usage.byUse[.free, default: 0] += UInt64(run.count)
            usage.freeRunsBySize[Int.bitWidth - 1 - run.count.leadingZeroBitCount, default: 0] += 1
        }
        BlockBitmap.forEachRun(in: range) {
            ~(free.word($0) | used.word($0))
        } _: { run in
            usage.byUse[.leaked, default: 0] += UInt64(run.count)
        }
        return usage
    }
}

extension SpaceUsage {
    mutating func count(_ address: BlockAddress) {
        if address.isCompressed {
            compressedRecords += 1
            compressedContentBytes += UInt64(address.contentByteCount)
            compressedStoredBytes += UInt64(address.byteCount)
        } else {
            plainRecords += 1
        }
    }

    mutating func count(_ fields: NodeFields) {
        guard let kind = fields.kind else { return }
        nodes[kind, default: 0] += 1
        guard kind == .file else { return }
        fileBytes &+= fields.size
        if fields.isInline {
            inlineBytes &+= min(fields.size, UInt64(Limits.inlineCapacity))
        }
    }
}

extension BlockClaim {
    /// What the block is used for.
    public var use: SpaceUsage.Use {
        switch kind {
        case .tree: .tree
        case .node: .nodes
        case .list: .lists
        case .record: .content
        case .hashTree, .directoryList: .directories
        case .attributeTable, .attributeValue: .attributes
        case .allocationLog: .allocationLog
        case .releaseList: .releaseList
        }
    }
}
