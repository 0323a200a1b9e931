import DiskFormat

/// A path that differs between two generations.
public struct PathChange: Sendable, Hashable {
    /// How it differs.
    public enum Kind: String, Sendable, Codable {
        /// It is in the newer generation only.
        case added
        /// It is in the older generation only.
        case removed
        /// Its content or attributes differ.
        case changed
        /// It is in the older generation; what the newer one has of it can't be read.
        case lost
    }
    /// How it differs.
    public var kind: Kind
    /// The path, or #NUMBER for a node without one.
    public var path: String
    /// The node's number, in the newer generation unless the path was removed or lost.
    public var node: UInt32

    /// A change of its parts.
    public init(kind: Kind, path: String, node: UInt32) {
        self.kind = kind
        self.path = path
        self.node = node
    }
}

/// Compares two generations by their trees: what they share is not read.
struct GenerationDifference {
    private struct Side {
        let checker: Checker
        /// Nodes that the other side doesn't share.
        var nodes: [UInt32: BlockPointer] = [:]

        init(_ image: OpenedImage, _ header: Header) {
            var checker = Checker(
                reader: image.reader(of: header), roots: Roots(header), options: CheckOptions(maximumFindings: 0))
            checker.checkTree()
            checker.checkDirectories()
            self.checker = checker
        }

        /// Whether metadata can't be read, so that what isn't there may have been.
        var isIncomplete: Bool { checker.damage.hasLostMetadata }

        /// What is in a directory, and whether all of that could be read.
        func entries(of directory: UInt32) -> (nodes: [[UInt8]: UInt32], isWhole: Bool) {
            guard let index = checker.nodes.index(of: directory), checker.nodes[index].kind == .directory else {
                return ([:], !hasLost(directory))
            }
            var entries: [[UInt8]: UInt32] = [:]
            let isWhole = checker.forEachEntry(inDirectoryAt: checker.nodes[index].block) { entries[$0.name] = $0.node }
            return (entries, isWhole)
        }

        /// Whether the tree block that would lead to a node, or the node itself, can't be read.
        func hasLost(_ node: UInt32) -> Bool { checker.damage.hasLost(node) }

        func fields(of node: UInt32) -> NodeFields? {
            guard let pointer = nodes[node], let block = try? checker.reader.readVerified(pointer),
                block.byteCount == Limits.blockSize
            else { return nil }
            return NodeFields(block.bytes)
        }
    }

    private var older: Side
    private var newer: Side

    /// Prepares the comparison of two generations of an image.
    init(_ image: OpenedImage, _ older: Header, _ newer: Header) {
        self.older = Side(image, older)
        self.newer = Side(image, newer)
        let oldNodes = Self.nodePointers(self.older.checker)
        let newNodes = Self.nodePointers(self.newer.checker)
        self.older.nodes = oldNodes.filter { newNodes[$0.key] != $0.value }
        self.newer.nodes = newNodes.filter { oldNodes[$0.key] != $0.value }
    }

    private static func nodePointers(_ checker: Checker) -> [UInt32: BlockPointer] {
        var walk = ImageWalk(reader: checker.reader)
        var pointers: [UInt32: BlockPointer] = [:]
        var visited = BlockBitmap(blockCount: checker.reader.blockCount)
        let visitor = ImageWalk.Visitor { claim, _ in
            if case .node = claim.kind {
                pointers[claim.node] = claim.pointer
                return .skip(isWhole: true)
            }
            return visited.insert(claim.pointer.address.blocks) == 0 ? .follow : .skip(isWhole: false)
        }
        _ = walk.walkTree(checker.roots, visitor)
        return pointers
    }

    /// The paths that differ, sorted.
    func changes() -> [PathChange] {
        let oldPaths = older.checker.paths(of: Array(older.nodes.keys))
        let newPaths = newer.checker.paths(of: Array(newer.nodes.keys))
        var changes: Set<PathChange> = []
        func note(_ kind: PathChange.Kind, _ node: UInt32, _ paths: [UInt32: String]) {
            changes.insert(PathChange(kind: kind, path: paths[node] ?? "#\(node)", node: node))
        }
        for node in newer.nodes.keys where older.nodes[node] == nil {
            note(.added, node, newPaths)
        }
        for node in older.nodes.keys {
            guard newer.nodes[node] != nil, !newer.hasLost(node) else {
                note(newer.hasLost(node) ? .lost : .removed, node, oldPaths)
                continue
            }
            let isSame = older.fields(of: node)?.creation == newer.fields(of: node)?.creation
            if isSame, oldPaths[node] == newPaths[node] {
                note(.changed, node, newPaths)
            } else if isSame, newPaths[node] == nil, newer.isIncomplete {
                note(.lost, node, oldPaths)
            } else {
                note(.removed, node, oldPaths)
                note(.added, node, newPaths)
            }
        }
        for directory in newer.nodes.keys where older.nodes[directory] != nil {
            changes.formUnion(renames(in: directory, newPaths[directory] ?? "#\(directory)"))
        }
        return changes.sorted { ($0.path, $0.kind.rawValue) < ($1.path, $1.kind.rawValue) }
    }

    /// Names of a directory that came or went without any change of the node that they name.
    private func renames(in directory: UInt32, _ path: String) -> [PathChange] {
        let old = older.entries(of: directory).nodes
        let (new, isWhole) = newer.entries(of: directory)
        let base = path == "/" ? path : path + "/"
        func change(_ kind: PathChange.Kind, _ name: [UInt8], _ node: UInt32) -> PathChange {
            PathChange(kind: kind, path: base + printable(name).dropFirst().dropLast(), node: node)
        }
        let added = new.filter { old[$0.key] != $0.value && newer.nodes[$0.value] == nil }
        let removed = old.filter { new[$0.key] != $0.value && older.nodes[$0.value] == nil }
        return added.map { change(.added, $0.key, $0.value) }
            + removed.map { change(isWhole ? .removed : .lost, $0.key, $0.value) }
    }
}
