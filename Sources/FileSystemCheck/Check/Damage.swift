import DiskFormat

/// A place in the tree: a block of a level (3 is the top, 0 points to nodes) and the node number's leading bytes.
struct TreePosition: Hashable, Sendable {
    /// 3...0 for a tree block, -1 for a node.
    let level: Int
    /// The node number with the bytes below the level zero.
    let prefix: UInt32

    /// The numbers of the nodes below.
    var nodes: ClosedRange<UInt32> {
        prefix...(prefix | UInt32(truncatingIfNeeded: ~(UInt64.max << UInt64((level + 1) * 8))))
    }
}

/// A pointer of a file's record map.
struct RecordCut: Hashable, Sendable {
    /// The first record under the pointer.
    let firstRecord: UInt64
    /// How many levels of lists lie under the pointer: 0 for that of a record.
    let depth: Int
}

/// What a repair has to do to one node.
struct NodeDamage: Sendable {
    /// Fields that contradict others or the format; all are computed anew.
    var hasWrongFields = false
    /// Pointers to replace by holes.
    var lost: Set<RecordCut> = []
    /// Pointers below which all is to be written to a new place: shared with another owner, or of a wrong level.
    var recopied: Set<RecordCut> = []
    /// Records wholly behind the end, and lists without pointers.
    var hasSurplusPointers = false
    /// The directory's hash tree is to be built anew from its entries.
    var needsNewHashTree = false
    /// Names of the directory can't be read, or it can't be told any more where they are.
    var losesNames = false
    /// Attributes that can't be read.
    var losesAttributes = false
    /// An extension that can't be decoded.
    var losesExtension = false

    /// Whether metadata is lost: names, or lists of records. A record alone is content.
    var hasLostMetadata: Bool {
        losesNames || lost.contains { $0.depth > 0 } || recopied.contains { $0.depth > 0 }
    }
}

/// What a check found to be in need of repair, so that a repair need not guess from findings.
struct Damage: Sendable {
    /// Tree blocks and nodes that are not there: their pointers become null.
    var lostTreePositions: Set<TreePosition> = []
    /// Tree blocks whose bitmap or emptiness is wrong.
    var treeBlocks: Set<TreePosition> = []
    var nodes: [UInt32: NodeDamage] = [:]
    /// Nodes without a name that are to get one.
    var orphans: [UInt32] = []
    /// Nodes that have a name and are not there, each with the first directory that names it; as many as `danglingLimit`.
    private(set) var dangling: [UInt32: UInt32] = [:]
    var rootIsMissing = false
    var rootIsNoDirectory = false
    var treeIsMissing = false
    /// Ring blocks that hold no header of this file system.
    var ringBlocks: Set<UInt64> = []
    /// Whether the header itself must change.
    var headerIsWrong = false
    /// Whether the header's size leaves no room for any file system.
    var sizeIsImpossible = false

    /// How many names of lost nodes are remembered, so that a loss can be told by its path.
    static let danglingLimit = 10_000

    /// Whether metadata can't be read, so that an older generation may hold more than this one. It follows from what is lost, not
    /// from the rule that was broken.
    var hasLostMetadata: Bool {
        sizeIsImpossible || treeIsMissing || rootIsMissing || rootIsNoDirectory || !lostTreePositions.isEmpty
            || nodes.values.contains { $0.hasLostMetadata }
    }

    /// Whether the tree block that would lead to a node, or the node itself, can't be read.
    func hasLost(_ node: UInt32) -> Bool {
        treeIsMissing
            || (-1...2).contains { level in
                let prefix = node & UInt32(truncatingIfNeeded: UInt64.max << UInt64((level + 1) * 8))
                return lostTreePositions.contains(TreePosition(level: level, prefix: prefix))
            }
    }

    /// Notes that a directory names a node that is not there.
    mutating func addDangling(_ node: UInt32, in directory: UInt32) {
        guard dangling.count < Self.danglingLimit, dangling[node] == nil else { return }
        dangling[node] = directory
    }

    subscript(node: UInt32) -> NodeDamage {
        get { nodes[node] ?? NodeDamage() }
        _modify { yield &nodes[node, default: NodeDamage()] }
    }
}
