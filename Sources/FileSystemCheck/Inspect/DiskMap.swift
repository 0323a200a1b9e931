import DiskFormat
import Platform

/// A picture of the disk: cells of equally many blocks, each with what most of its blocks are.
public struct DiskMap: Sendable {
    /// What a cell shows.
    public enum Cell: UInt8, Sendable, CaseIterable {
        /// Nothing: behind the end of the file system.
        case outside
        /// In the allocation log's free space.
        case free
        /// Header ring and block 256.
        case ring
        /// Tree, nodes, lists, directories, logs, attributes.
        case metadata
        /// Content of files changed within an hour of the last change of all.
        case hour
        /// Within a day.
        case day
        /// Within a week.
        case week
        /// Within a month of 30 days.
        case month
        /// Within a year.
        case year
        /// Earlier.
        case older
        /// Neither in use nor free.
        case leaked
        /// Belongs to the file that is to stand out.
        case highlight

        /// Red, green and blue, 0 to 255.
        public var color: (red: UInt8, green: UInt8, blue: UInt8) {
            switch self {
            case .outside: (255, 255, 255)
            case .free: (232, 236, 240)
            case .ring: (40, 40, 48)
            case .metadata: (124, 77, 190)
            case .hour: (214, 69, 32)
            case .day: (232, 126, 48)
            case .week: (240, 180, 70)
            case .month: (150, 190, 90)
            case .year: (70, 150, 150)
            case .older: (50, 100, 160)
            case .leaked: (220, 0, 90)
            case .highlight: (0, 0, 0)
            }
        }

        /// What it stands for.
        public var title: String {
            switch self {
            case .outside: "outside"
            case .free: "free"
            case .ring: "header ring"
            case .metadata: "metadata"
            case .hour: "data, last hour"
            case .day: "data, last day"
            case .week: "data, last week"
            case .month: "data, last month"
            case .year: "data, last year"
            case .older: "data, older"
            case .leaked: "leaked"
            case .highlight: "highlighted file"
            }
        }
    }

    /// Cells in a row.
    public let width: Int
    /// Rows.
    public let height: Int
    /// Blocks that a cell stands for.
    public let blocksPerCell: UInt64
    /// Rows of cells, from the start of the disk on.
    public let cells: [Cell]

    /// As an SVG document with a legend.
    public var svg: String {
        let size = 4
        let legendHeight = 24
        let total = height * size + legendHeight
        var text = """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(width * size)" height="\(total)" \
            viewBox="0 0 \(width * size) \(total)" shape-rendering="crispEdges">

            """
        for row in 0..<height {
            var from = 0
            while from < width {
                let cell = cells[row * width + from]
                var to = from + 1
                while to < width, cells[row * width + to] == cell { to += 1 }
                if cell != .outside {
                    text += Self.rectangle(
                        x: from * size, y: row * size, width: (to - from) * size, height: size, cell.color)
                }
                from = to
            }
        }
        let shown = Cell.allCases.filter { $0 != .outside && cells.contains($0) }
        var x = 4
        for cell in shown {
            text += Self.rectangle(x: x, y: height * size + 8, width: 10, height: 10, cell.color)
            text += """
                <text x="\(x + 14)" y="\(height * size + 17)" font-family="sans-serif" font-size="10">\(cell.title)</text>

                """
            x += 30 + cell.title.count * 6
        }
        return text + "</svg>\n"
    }

    private static func rectangle(
        x: Int, y: Int, width: Int, height: Int, _ color: (red: UInt8, green: UInt8, blue: UInt8)
    ) -> String {
        let fill = [color.red, color.green, color.blue].map(hexadecimal).joined()
        return "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(width)\" height=\"\(height)\" fill=\"#\(fill)\"/>\n"
    }

    /// As rows of pixels, three bytes each, every cell a square of so many pixels.
    public func pixels(cellSize: Int) -> (width: Int, height: Int, bytes: [UInt8]) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(width * height * cellSize * cellSize * 3)
        for row in 0..<height {
            var line: [UInt8] = []
            for cell in cells[row * width..<(row + 1) * width] {
                let color = cell.color
                for _ in 0..<cellSize {
                    line += [color.red, color.green, color.blue]
                }
            }
            for _ in 0..<cellSize {
                bytes += line
            }
        }
        return (width * cellSize, height * cellSize, bytes)
    }
}
