import BlockDevice
import DiskFormat
import Platform

/// Applies what one check found to be damaged to a copy of the metadata, one round of several: what a repair uncovers is
/// found by the check after it and done in the next round.
struct Repairer {
    /// The state that the check left behind.
    let checker: Checker
    let reader: BlockReader
    let time: Timespec
    var writer: BlockWriter
    var tree: TreeEditor
    var losses: [Loss] = []
    var attached: [UInt32] = []

    init(_ checker: Checker, reader: BlockReader, keeping pinned: BlockBitmap, time: Timespec) {
        self.checker = checker
        self.reader = reader
        self.time = time
        var taken = pinned
        taken.formUnion(checker.used)
        writer = BlockWriter(reader: reader, keeping: taken)
        tree = TreeEditor(reader: reader, root: checker.roots.tree)
    }

    /// Repairs what the check noted; returns the pointer to the new tree.
    mutating func run() throws(CheckError) -> BlockPointer {
        repairTree()
        for node in checker.released {
            tree.remove(TreePosition(level: -1, prefix: node))
        }
        try replaceRoot()
        let extra = try attachOrphans()
        var numbers = Set(checker.damage.nodes.keys)
        numbers.formUnion(extra.keys)
        for node in numbers.sorted() where !checker.released.contains(node) {
            try repair(node, extra[node] ?? [])
        }
        return try tree.write(&writer)
    }

    private mutating func repairTree() {
        let named = checker.damage.dangling.keys.sorted()
        for position in checker.damage.lostTreePositions.sorted(by: { ($0.level, $0.prefix) > ($1.level, $1.prefix) }) {
            tree.remove(position)
            if position.level < 0 {
                losses.append(Loss(node: position.prefix, "the node itself, with all its content"))
            } else {
                let count = (0...position.level).reduce(UInt64(1)) { total, _ in total * 254 }
                losses.append(Loss(node: position.prefix, "up to \(count) nodes from this one on"))
                for node in Self.members(of: position.nodes, in: named) {
                    losses.append(Loss(node: node, "the node itself, with all its content"))
                }
            }
        }
        for position in checker.damage.treeBlocks {
            tree.rewrite(position)
        }
    }

    /// The numbers of a range among ascending ones.
    private static func members(of range: ClosedRange<UInt32>, in numbers: [UInt32]) -> ArraySlice<UInt32> {
        var low = 0
        var high = numbers.count
        while low < high {
            let middle = (low + high) / 2
            if numbers[middle] < range.lowerBound {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return numbers[low...].prefix { $0 <= range.upperBound }
    }

    /// Makes a new root directory if there is none.
    private mutating func replaceRoot() throws(CheckError) {
        let root = NodeID.root.rawValue
        if checker.damage.rootIsNoDirectory {
            // What was there gets another number; the next round finds it without a name.
            _ = try tree.insert(tree.pointer(to: root))
        } else if !checker.damage.rootIsMissing {
            return
        }
        tree.setPointer(to: root, try writer.write(emptyDirectory(permissions: 0o755)))
    }

    /// A node of a directory without entries.
    private func emptyDirectory(permissions: UInt16) -> AlignedBuffer {
        let block = AlignedBuffer(byteCount: Limits.blockSize)
        var header = NodeHeader(kind: .directory, permissions: permissions, uid: 0, gid: 0, time: time)
        header.links = 1
        header.blocks = 1
        var bytes = block.mutableBytes
        header.encode(into: &bytes)
        return block
    }

    /// Gives names in lost+found to nodes that have none; returns the entries to add, by directory.
    private mutating func attachOrphans() throws(CheckError) -> [UInt32: [StoredEntry]] {
        let orphans = checker.damage.orphans.sorted()
        guard !orphans.isEmpty else { return [:] }
        attached = orphans
        let entries = orphans.map { StoredEntry(node: $0, name: Array("#\($0)".utf8)) }
        let root = NodeID.root.rawValue
        let name = Array("lost+found".utf8)
        let existing = rootEntries().first { $0.name == name }
        if let existing, let index = checker.nodes.index(of: existing.node), checker.nodes[index].kind == .directory,
            checker.nodes[index].parent == root
        {
            return [existing.node: entries]
        }
        let block = emptyDirectory(permissions: 0o700)
        try fill(block, with: entries)
        let node = try tree.insert(try writer.write(block))
        return [root: [StoredEntry(node: node, name: name)]]
    }

    private func rootEntries() -> [StoredEntry] {
        guard let index = checker.nodes.index(of: NodeID.root.rawValue), checker.nodes[index].kind == .directory else {
            return []
        }
        var entries: [StoredEntry] = []
        checker.forEachEntry(inDirectoryAt: checker.nodes[index].block) { entries.append($0) }
        return entries
    }

    /// Makes the entries the whole content of a new directory's node.
    private mutating func fill(_ block: AlignedBuffer, with entries: [StoredEntry]) throws(CheckError) {
        var builder = DirectoryBuilder()
        for entry in entries {
            builder.add(entry.name, entry.node)
        }
        var fields = NodeFields(block.bytes)
        try store(builder, in: block, &fields)
        fields.blocks += 1
        var bytes = block.mutableBytes
        fields.encode(into: &bytes)
    }

    /// Writes a hash tree and points the node to it; sets size and the number of its blocks.
    mutating func store(
        _ builder: DirectoryBuilder, in block: AlignedBuffer, _ fields: inout NodeFields
    ) throws(CheckError) {
        let result = try builder.write(&writer)
        var bytes = block.mutableBytes
        bytes.fill(NodeFields.contentOffset..<Limits.blockSize)
        if !result.pointer.isNull {
            BlockPointer.marker(depth: result.depth).encode(into: &bytes, at: NodeFields.contentOffset)
            result.pointer.encode(into: &bytes, at: NodeFields.contentOffset + BlockPointer.byteCount)
        }
        fields.size = result.blocks * UInt64(Limits.blockSize)
        fields.blocks = result.blocks
    }
}
