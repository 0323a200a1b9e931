import DiskFormat

/// What a check remembers of every node, in ascending order of their numbers.
struct NodeTable: Sendable {
    struct Marks: OptionSet, Sendable {
        let rawValue: UInt8
        /// On the release list.
        static let released = Marks(rawValue: 1)
        /// A directory that leads up to the root, or to a node that has no name.
        static let resolved = Marks(rawValue: 2)
        /// A directory on the chain that is being followed.
        static let onChain = Marks(rawValue: 4)
        /// A directory with at least one entry.
        static let hasEntries = Marks(rawValue: 8)
    }

    struct Row: Sendable {
        let number: UInt32
        /// As stored.
        let links: UInt32
        /// How many directory entries name it.
        var references: UInt32 = 0
        /// The first directory that has an entry for it, 0 if there is none.
        var parent: UInt32 = 0
        /// Nil if the mode has no known type.
        let kind: NodeKind?
        var marks: Marks = []
        /// Where the node lies.
        let block: UInt64
    }

    private(set) var rows: [Row] = []

    /// Adds the row of a node with a number higher than all before.
    mutating func append(_ row: Row) { rows.append(row) }

    subscript(index: Int) -> Row {
        get { rows[index] }
        _modify { yield &rows[index] }
    }

    func index(of number: UInt32) -> Int? {
        var low = 0
        var high = rows.count
        while low < high {
            let middle = (low + high) / 2
            if rows[middle].number < number {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low < rows.count && rows[low].number == number ? low : nil
    }
}
