import DiskFormat
import Platform

extension Checker {
    /// The first directory that names a node, which need not be there itself; 0 if there is none, nil if nothing is known of the node.
    private func parent(of node: UInt32) -> UInt32? {
        nodes.index(of: node).map { nodes[$0].parent } ?? damage.dangling[node]
    }

    /// The paths of nodes, by their first names. Each directory on the way is read once.
    func paths(of wanted: [UInt32]) -> [UInt32: String] {
        var needed: [UInt32: Set<UInt32>] = [:]
        var seen: Set<UInt32> = []
        for start in wanted {
            var node = start
            while node != NodeID.root.rawValue, seen.insert(node).inserted, let parent = parent(of: node) {
                if parent == 0 { break }
                needed[parent, default: []].insert(node)
                node = parent
            }
        }
        var names: [UInt32: String] = [:]
        for (parent, children) in needed {
            guard let index = nodes.index(of: parent) else { continue }
            collectNames(of: children, inDirectoryAt: nodes[index].block, into: &names)
        }
        var paths: [UInt32: String] = [:]
        for node in Set(wanted) {
            paths[node] = path(of: node, names)
        }
        return paths
    }

    private func path(of start: UInt32, _ names: [UInt32: String]) -> String? {
        if start == NodeID.root.rawValue { return "/" }
        var parts: [String] = []
        var node = start
        // A circle of directories has no path; no path has more parts than there are nodes.
        while node != NodeID.root.rawValue {
            guard let name = names[node], let parent = parent(of: node), parts.count <= nodes.rows.count else {
                return parts.isEmpty ? nil : "#\(node)/" + parts.reversed().joined(separator: "/")
            }
            parts.append(name)
            node = parent
        }
        return "/" + parts.reversed().joined(separator: "/")
    }

    private func collectNames(
        of children: Set<UInt32>, inDirectoryAt block: UInt64, into names: inout [UInt32: String]
    ) {
        forEachEntry(inDirectoryAt: block) { entry in
            if children.contains(entry.node), names[entry.node] == nil {
                names[entry.node] = String(printable(entry.name).dropFirst().dropLast())
            }
        }
    }

    /// Hands each entry of a directory that can be read to `body`; returns whether all could be.
    @discardableResult
    func forEachEntry(inDirectoryAt block: UInt64, _ body: (StoredEntry) -> Void) -> Bool {
        let buffer = AlignedBuffer(uninitializedByteCount: Limits.blockSize)
        guard (try? reader.read(block, into: buffer, 0..<Limits.blockSize)) != nil else { return false }
        let marker = NodeFields.pointer(buffer.bytes, 0)
        guard marker.isMarker else { return marker.isNull }
        return forEachEntry(under: NodeFields.pointer(buffer.bytes, 1), levels: marker.address.level, body)
    }

    /// Hands each entry of a hash tree that can be read to `body`; returns whether all could be.
    func forEachEntry(under pointer: BlockPointer, levels: Int, _ body: (StoredEntry) -> Void) -> Bool {
        guard levels <= Self.maximumHashTreeDepth else { return false }
        var visited = BlockBitmap(blockCount: reader.blockCount)
        var isComplete = true
        let isReadable = visit(pointer, levels: levels, &visited) { level, block in
            guard level == 0 else { return }
            let list = StoredEntries(block) { _, child, name in
                body(StoredEntry(node: child, name: name.copyToArray()))
            }
            if list.problem != nil {
                isComplete = false
            }
        }
        return isReadable && isComplete
    }

    /// How many lists and hash-tree blocks of a directory can be read.
    func countHashTree(_ pointer: BlockPointer, levels: Int) -> UInt64 {
        var visited = BlockBitmap(blockCount: reader.blockCount)
        var count: UInt64 = 0
        _ = visit(pointer, levels: min(levels, Self.maximumHashTreeDepth), &visited) { _, _ in count += 1 }
        return count
    }

    /// Hands each block of a hash tree that can be read to `body` with its level, lists having 0; returns whether all
    /// could be. A block that several entries point to is read once: the work stays bounded.
    private func visit(
        _ pointer: BlockPointer, levels: Int, _ visited: inout BlockBitmap, _ body: (Int, RawSpan) -> Void
    ) -> Bool {
        if pointer.isNull { return true }
        guard pointer.address.level == 0, visited.insert(pointer.address.blocks) == 0,
            let buffer = try? reader.readVerified(pointer)
        else { return false }
        body(levels, buffer.bytes)
        if levels == 0 { return true }
        var isComplete = true
        for index in 0..<StoredHashTree.entryCount {
            let child = StoredHashTree.entry(buffer.bytes, index).pointer
            if !visit(child, levels: levels - 1, &visited, body) {
                isComplete = false
            }
        }
        return isComplete
    }
}
