import DiskFormat
import Platform

/// Goes through all that a header points to, whatever state it is in, and tells a visitor.
struct ImageWalk {
    /// What to do with a claim.
    enum Decision {
        /// Read it, and go through what it points to.
        case follow
        /// Leave it alone; it counts as whole, or not.
        case skip(isWhole: Bool)
    }

    /// What is told of each claim on the way.
    struct Visitor {
        /// Called first; decides whether the walk goes on from here. `chain` holds the claims above and this one.
        var enter: (_ claim: BlockClaim, _ chain: [BlockClaim]) -> Decision
        /// Called with the content of what was read and has the right hash.
        var content: (_ claim: BlockClaim, _ bytes: RawSpan) -> Void = { _, _ in }
        /// Called last, unless it was skipped: whether it could be read, and whether all below could be, too.
        var leave: (_ claim: BlockClaim, _ isRead: Bool, _ isWhole: Bool) -> Void = { _, _, _ in }
    }

    let reader: BlockReader
    /// More steps than lead to any block of a sound image; chains of attribute tables can be longer in a hostile one.
    private static let maximumDepth = 1024
    /// The claims that lead to the present one, which is the last.
    private var chain: [BlockClaim] = []

    private let progress: (@Sendable (CheckProgress) -> Void)?
    private var steps: UInt64 = 0

    /// - Parameter progress: called every few thousand claims.
    init(reader: BlockReader, progress: (@Sendable (CheckProgress) -> Void)? = nil) {
        self.reader = reader
        self.progress = progress
    }

    /// Goes through tree, allocation log and release list; returns whether all of it could be read.
    mutating func walk(_ roots: Roots, _ visitor: Visitor) -> Bool {
        var isWhole = walkTree(roots, visitor)
        isWhole = walkChain(roots.log, visitor) { .allocationLog($0) } && isWhole
        return walkChain(roots.releaseList, visitor) { .releaseList($0) } && isWhole
    }

    /// Goes through the tree alone.
    mutating func walkTree(_ roots: Roots, _ visitor: Visitor) -> Bool {
        walk(BlockClaim(pointer: roots.tree, kind: .tree(level: 3, firstNode: 0), node: 0), visitor)
    }

    /// Goes through what a node points to; `chain` begins with the pointers of the node.
    mutating func walkNode(_ node: UInt32, _ bytes: RawSpan, _ visitor: Visitor) {
        forEachChild(ofNode: node, bytes) { pointer, kind in
            if !pointer.isNull {
                _ = walk(BlockClaim(pointer: pointer, kind: kind, node: node), visitor)
            }
        }
    }

    private mutating func walkChain(
        _ first: BlockPointer, _ visitor: Visitor, _ kind: (Int) -> BlockClaim.Kind
    ) -> Bool {
        let depth = chain.count
        defer { chain.removeLast(chain.count - depth) }
        var pointer = first
        var index = 0
        while !pointer.isNull {
            let claim = BlockClaim(pointer: pointer, kind: kind(index), node: 0)
            chain.append(claim)
            if case .skip(let isWhole) = visitor.enter(claim, chain) { return isWhole }
            guard let block = read(claim) else {
                visitor.leave(claim, false, false)
                return false
            }
            visitor.content(claim, block.bytes)
            visitor.leave(claim, true, true)
            pointer = BlockPointer(block.bytes, at: 0)
            index += 1
        }
        return true
    }

    private func read(_ claim: BlockClaim) -> AlignedBuffer? {
        let address = claim.pointer.address
        let highest: Int
        switch claim.kind {
        case .record, .attributeTable, .attributeValue: highest = Int(Limits.maximumRecordLevel)
        default: highest = 0
        }
        guard address.level <= highest, address.contentLevel <= Int(Limits.maximumRecordLevel) else { return nil }
        return try? reader.readVerified(claim.pointer)
    }

    private mutating func walk(_ claim: BlockClaim, _ visitor: Visitor) -> Bool {
        chain.append(claim)
        defer { chain.removeLast() }
        steps &+= 1
        if steps & 0xFFF == 0 { progress?(CheckProgress(phase: .blocks, done: steps, total: 0)) }
        if case .skip(let isWhole) = visitor.enter(claim, chain) { return isWhole }
        guard chain.count < Self.maximumDepth, let block = read(claim) else {
            visitor.leave(claim, false, false)
            return false
        }
        visitor.content(claim, block.bytes)
        var isWhole = true
        forEachChild(claim, block.bytes) { child in
            if !walk(child, visitor) {
                isWhole = false
            }
        }
        visitor.leave(claim, true, isWhole)
        return isWhole
    }

    private func forEachChild(_ claim: BlockClaim, _ bytes: RawSpan, _ body: (BlockClaim) -> Void) {
        func give(_ pointer: BlockPointer, _ kind: BlockClaim.Kind, node: UInt32) {
            if !pointer.isNull {
                body(BlockClaim(pointer: pointer, kind: kind, node: node))
            }
        }
        switch claim.kind {
        case .tree(let level, let first):
            for index in 0..<TreeBlock.pointerCount {
                let child = first | UInt32(index) << UInt32(level * 8)
                let pointer = TreeBlock.pointer(bytes, index)
                if level > 0 {
                    give(pointer, .tree(level: level - 1, firstNode: child), node: 0)
                } else if child != 0 {
                    give(pointer, .node, node: child)
                }
            }
        case .node:
            forEachChild(ofNode: claim.node, bytes) { give($0, $1, node: claim.node) }
        case .list(let depth, let first):
            let step = RecordLayout.recordsPerPointer(depth: depth - 1)
            for index in 0..<ListBlock.pointerCount {
                let record = first + UInt64(index) * step
                let kind = depth == 1 ? BlockClaim.Kind.record(record) : .list(depth: depth - 1, firstRecord: record)
                give(ListBlock.pointer(bytes, index), kind, node: claim.node)
            }
        case .hashTree(let levels):
            for index in 0..<HashTreeBlock.entryCount {
                let kind = levels == 1 ? BlockClaim.Kind.directoryList : .hashTree(levels: levels - 1)
                give(HashTreeBlock.pointer(bytes, index), kind, node: claim.node)
            }
        case .attributeTable:
            guard (try? AttributeTable.check(bytes)) != nil else { return }
            var offset = AttributeTable.headerSize
            while let entry = try? AttributeTable.entry(bytes, at: offset) {
                offset = entry.end
                give(entry.valuePointer ?? .null, .attributeValue, node: claim.node)
            }
            give(AttributeTable.next(bytes), .attributeTable, node: claim.node)
        case .record, .directoryList, .attributeValue, .allocationLog, .releaseList:
            return
        }
    }

    private func forEachChild(ofNode node: UInt32, _ bytes: RawSpan, _ give: (BlockPointer, BlockClaim.Kind) -> Void) {
        give(NodeExtension.attributes(bytes), .attributeTable)
        let fields = NodeFields(bytes)
        if fields.kind == .directory {
            let marker = NodeFields.pointer(bytes, 0)
            guard marker.isMarker else { return }
            let depth = marker.address.level
            guard depth <= Checker.maximumHashTreeDepth else { return }
            give(NodeFields.pointer(bytes, 1), depth == 0 ? .directoryList : .hashTree(levels: depth))
        } else if !fields.isInline {
            for slot in 0..<RecordLayout.nodePointerCount {
                let depth = RecordLayout.depth(ofSlot: slot)
                let first = RecordLayout.firstRecord(ofSlot: slot)
                give(
                    NodeFields.pointer(bytes, slot),
                    depth == 0 ? .record(first) : .list(depth: depth, firstRecord: first))
            }
        }
    }
}
