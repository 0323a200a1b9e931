import BlockDevice
import DiskFormat
import Platform

/// What a header says about its generation.
struct Roots: Sendable, Equatable {
    var generation: Generation
    var tree: BlockPointer
    var log: BlockPointer
    var releaseList: BlockPointer
}

/// One pass over the metadata of one generation that holds every rule against it.
///
/// The order is: allocation log, tree with nodes and their lists, directories (when all nodes are known), release
/// list, links and reachability, then what is in use against what is free. No structure is descended into twice, so
/// the work is bounded by the device's size whatever the image says.
struct Checker {
    let reader: BlockReader
    let roots: Roots
    let options: CheckOptions

    var findings: FindingList
    /// Blocks that something points to.
    var used: BlockBitmap
    /// Blocks that the allocation log calls free.
    var free: BlockBitmap
    var nodes = NodeTable()
    /// Directories whose entries are still to be read.
    var directories: [DirectoryRoot] = []
    var damage = Damage()
    var records: RecordQueue
    var released: [UInt32] = []
    var logBlocks: UInt64 = 0
    var logEntries: UInt64 = 0
    /// Set when progress was last told.
    var progressStep: UInt64 = 0

    /// A directory's hash tree and what its node says about it.
    struct DirectoryRoot {
        let node: UInt32
        let block: UInt64
        /// Levels of hash-tree blocks above the lists.
        let depth: Int
        /// The one list, or the top hash-tree block; null if there are no entries.
        let pointer: BlockPointer
        let size: UInt64
        /// The node's block count less what was counted already.
        let blocks: UInt64
        let expectedOtherBlocks: UInt64
    }

    init(reader: BlockReader, roots: Roots, options: CheckOptions) {
        self.reader = reader
        self.roots = roots
        self.options = options
        findings = FindingList(limit: options.maximumFindings)
        used = BlockBitmap(blockCount: reader.blockCount)
        free = BlockBitmap(blockCount: reader.blockCount)
        records = RecordQueue(reader: reader, threads: options.threads, isEnabled: options.verifyData)
    }

    /// Checks everything.
    mutating func run() {
        checkTree()
        checkDirectories()
        checkReleaseList()
        // Behind what it is about: a log that leads into the tree loses its own blocks, not the tree's.
        checkLog()
        checkReachability()
        checkLinks()
        checkRecordContents()
        checkUse()
        findings.setPaths(paths(of: findings.findings.compactMap(\.node)))
    }

    // MARK: Pointers

    /// What is wrong with a pointer to a block of metadata, apart from its content.
    enum PointerProblem {
        case outOfRange, level, usedTwice
    }

    /// Notes that the blocks of a pointer are in use; says what is wrong with it, nil if it can be followed.
    mutating func claim(
        _ pointer: BlockPointer, of what: @autoclosure () -> String, node: UInt32? = nil, isRecord: Bool = false
    ) -> PointerProblem? {
        let address = pointer.address
        guard address.isInside(blocks: reader.blockCount), address.number >= Limits.firstAllocatableBlock else {
            findings.add(
                .pointerOutOfRange, block: address.number, node: node,
                "\(what()) points to \(address), outside of the \(reader.blockCount) blocks that can be used")
            return .outOfRange
        }
        if !isRecord, address.level != 0 || address.isCompressed {
            findings.add(
                .pointerLevelInvalid, block: address.number, node: node,
                "\(what()) points to \(address), it should be one block")
            return .level
        }
        let before = used.insert(address.blocks)
        if before > 0 {
            findings.add(
                .blockUsedTwice, block: address.number, node: node,
                "\(what()) points to \(address), of which \(before) are in use by something else")
            return .usedTwice
        }
        return nil
    }

    /// Looks at a null pointer to metadata: one that carries a level is as good as none, but the reference takes
    /// the level for that of a new block there, and fails. Returns whether it does.
    @discardableResult
    mutating func checkNull(
        _ pointer: BlockPointer, of what: @autoclosure () -> String, block: UInt64, node: UInt32? = nil
    ) -> Bool {
        guard pointer.isNull, pointer.address.level != 0 || pointer.address.isCompressed else { return false }
        findings.add(
            .nullPointerLevels, block: block, node: node, "\(what()) is null with level \(pointer.address.level)")
        return true
    }

    /// Follows the pointers and hands each block with its index to `body`; what can't be read is reported by `lost`.
    ///
    /// Each pointer must have been claimed.
    mutating func forEachBlock(
        _ pointers: [(index: Int, pointer: BlockPointer)],
        lost: (inout Checker, Int, BlockPointer, BlockReader.Fault) -> Void,
        body: (inout Checker, Int, BlockPointer, RawSpan) -> Void
    ) {
        var from = 0
        while from < pointers.count {
            let to = min(from + BlockReader.batchSize, pointers.count)
            let loaded = reader.readBatch(pointers[from..<to].map(\.pointer))
            for position in from..<to {
                let (index, pointer) = pointers[position]
                if let fault = loaded.faults[position - from] {
                    lost(&self, index, pointer, fault)
                } else {
                    body(&self, index, pointer, loaded.bytes(position - from))
                }
            }
            from = to
        }
    }

    /// Tells how far the check is, every few thousand steps.
    mutating func tell(_ phase: CheckProgress.Phase, _ done: UInt64, of total: UInt64) {
        guard let progress = options.progress, done >> 12 != progressStep else { return }
        progressStep = done >> 12
        progress(CheckProgress(phase: phase, done: done, total: total))
    }
}
