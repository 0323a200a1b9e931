import DiskFormat

/// The older generation that takes the place of one that has lost metadata.
struct Fallback {
    let header: Header
    /// Whether all of its metadata can be read.
    let isWhole: Bool

    /// The newest generation before another one whose metadata can be read in full. If there is none: the one of which most is left,
    /// the newest of several, unless no more is left of it than of the other one.
    static func search(
        _ image: OpenedImage, before header: Header, _ present: Checker, _ options: CheckOptions
    ) -> Fallback? {
        var quick = options
        quick.verifyData = false
        quick.maximumFindings = 0
        quick.progress = nil
        var best: (header: Header, gain: Int)?
        for older in image.headers where older.generation < header.generation {
            let checker = FileSystemCheck.run(image, older, quick)
            if !checker.damage.hasLostMetadata { return Fallback(header: older, isWhole: true) }
            let gain = gain(from: present, to: checker)
            if gain > best?.gain ?? 0 { best = (older, gain) }
        }
        return best.map { Fallback(header: $0.header, isWhole: false) }
    }

    /// How many nodes come back that the present generation has lost, less those that it has and that would be given up. Nodes that
    /// were deleted in between are neither.
    private static func gain(from present: Checker, to older: Checker) -> Int {
        var gain = 0
        for row in older.nodes.rows where older.isWhole(row) {
            let now = present.nodes.index(of: row.number).map { present.nodes[$0] }
            if now.map({ !present.isWhole($0) }) ?? (present.damage.rootIsMissing || present.damage.hasLost(row.number))
            {
                gain += 1
            }
        }
        for row in present.nodes.rows where present.isWhole(row) {
            if older.nodes.index(of: row.number).map({ !older.isWhole(older.nodes[$0]) }) ?? true {
                gain -= 1
            }
        }
        return gain
    }
}

extension Checker {
    /// Whether a node has a name, and all of its own metadata can be read.
    fileprivate func isWhole(_ row: NodeTable.Row) -> Bool {
        let hasPlace = row.number == NodeID.root.rawValue || row.references > 0 || row.marks.contains(.released)
        return hasPlace && damage.nodes[row.number]?.hasLostMetadata != true
    }
}
