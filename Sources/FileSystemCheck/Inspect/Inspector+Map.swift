import DiskFormat
import Platform

extension Inspector {
    /// Draws the disk.
    ///
    /// - Parameters:
    ///   - width: cells in a row.
    ///   - maximumRows: rows at most; a cell stands for as many blocks as that takes.
    ///   - highlight: the node whose blocks are to stand out.
    public func map(width: Int = 256, maximumRows: Int = 256, highlight: UInt32? = nil) -> DiskMap {
        let width = max(width, 1)
        let cellLimit = UInt64(width) * UInt64(max(maximumRows, 1))
        let blocksPerCell = max((reader.blockCount + cellLimit - 1) / cellLimit, 1)
        let count = Int((reader.blockCount + blocksPerCell - 1) / blocksPerCell)
        let height = (count + width - 1) / width
        var painter = MapPainter(cells: count, blocksPerCell: blocksPerCell)
        let used = paint(&painter, highlight: highlight)
        var checker = Checker(reader: reader, roots: roots, options: CheckOptions(maximumFindings: 0))
        checker.checkLog()
        let free = checker.free
        painter.add(0..<Limits.firstAllocatableBlock, .ring)
        let range = Limits.firstAllocatableBlock..<max(reader.blockCount, Limits.firstAllocatableBlock)
        BlockBitmap.forEachRun(in: range) {
            free.word($0) & ~used.word($0)
        } _: {
            painter.add($0, .free)
        }
        BlockBitmap.forEachRun(in: range) {
            ~(free.word($0) | used.word($0))
        } _: {
            painter.add($0, .leaked)
        }
        let cells = painter.cells + [DiskMap.Cell](repeating: .outside, count: height * width - count)
        return DiskMap(width: width, height: height, blocksPerCell: blocksPerCell, cells: cells)
    }

    /// Paints all that is in use; returns it.
    private func paint(_ painter: inout MapPainter, highlight: UInt32?) -> BlockBitmap {
        var used = BlockBitmap(blockCount: reader.blockCount)
        var painted = painter
        let newest = newestModification()
        var age = DiskMap.Cell.older
        var walk = ImageWalk(reader: reader, progress: progress)
        _ = walk.walk(
            roots,
            ImageWalk.Visitor(
                enter: { claim, _ in
                    let blocks = claim.pointer.address.blocks
                    guard used.insert(blocks) == 0 else { return .skip(isWhole: false) }
                    let isHighlighted = claim.node != 0 && claim.node == highlight
                    painted.add(blocks, isHighlighted ? .highlight : claim.isData ? age : .metadata)
                    return claim.isData ? .skip(isWhole: true) : .follow
                },
                content: { claim, bytes in
                    if case .node = claim.kind {
                        age = Self.age(NodeExtension.times(bytes).modification, before: newest)
                    }
                }))
        painter = painted
        return used
    }

    /// The last change of content of any node: ages are counted from there, so that the picture depends on the image alone.
    private func newestModification() -> Timespec {
        var newest = Timespec(seconds: .min)
        var visited = BlockBitmap(blockCount: reader.blockCount)
        var walk = ImageWalk(reader: reader, progress: progress)
        _ = walk.walkTree(
            roots,
            ImageWalk.Visitor(
                enter: { claim, _ in
                    guard visited.insert(claim.pointer.address.blocks) == 0 else { return .skip(isWhole: false) }
                    switch claim.kind {
                    case .tree, .node: return .follow
                    default: return .skip(isWhole: true)
                    }
                },
                content: { claim, bytes in
                    if case .node = claim.kind {
                        newest = max(newest, NodeExtension.times(bytes).modification)
                    }
                }))
        return newest
    }

    private static func age(_ time: Timespec, before newest: Timespec) -> DiskMap.Cell {
        let (seconds, overflow) = newest.seconds.subtractingReportingOverflow(time.seconds)
        if overflow { return .older }
        switch seconds {
        case ..<3600: return .hour
        case ..<86_400: return .day
        case ..<604_800: return .week
        case ..<2_592_000: return .month
        case ..<31_536_000: return .year
        default: return .older
        }
    }
}

/// Counts per cell what its blocks are.
private struct MapPainter {
    private let kinds = DiskMap.Cell.allCases.count
    private let blocksPerCell: UInt64
    private var counts: [UInt32]

    init(cells: Int, blocksPerCell: UInt64) {
        self.blocksPerCell = blocksPerCell
        counts = [UInt32](repeating: 0, count: cells * DiskMap.Cell.allCases.count)
    }

    mutating func add(_ blocks: Range<UInt64>, _ kind: DiskMap.Cell) {
        var at = blocks.lowerBound
        while at < blocks.upperBound {
            let cell = at / blocksPerCell
            let end = min(blocks.upperBound, (cell + 1) * blocksPerCell)
            let place = Int(cell) * kinds + Int(kind.rawValue)
            guard place < counts.count else { return }
            counts[place] = UInt32(clamping: UInt64(counts[place]) + end - at)
            at = end
        }
    }

    /// What stands out wins over what is common: a highlighted or leaked block shows however few there are.
    var cells: [DiskMap.Cell] {
        stride(from: 0, to: counts.count, by: kinds).map { start in
            for rare in [DiskMap.Cell.highlight, .leaked] where counts[start + Int(rare.rawValue)] > 0 { return rare }
            let best = (0..<kinds).max { counts[start + $0] < counts[start + $1] } ?? 0
            return counts[start + best] == 0 ? .outside : DiskMap.Cell(rawValue: UInt8(best)) ?? .outside
        }
    }
}
