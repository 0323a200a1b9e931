import DiskFormat
import Platform

/// A picture of the disk: cells of equally many blocks, each with what most of its blocks are.
public struct DiskMap: Sendable {
    /// Red, green and blue, 0 to 255.
    public typealias Color = (red: UInt8, green: UInt8, blue: UInt8)

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

        /// How it is drawn.
        public var color: Color {
            switch self {
            case .outside: (255, 255, 255)
            case .free: (232, 236, 240)
            case .ring: (130, 134, 142)
            case .metadata: (124, 77, 190)
            case .hour: (214, 69, 32)
            case .day: (232, 126, 48)
            case .week: (240, 180, 70)
            case .month: (150, 190, 90)
            case .year: (70, 150, 150)
            case .older: (50, 100, 160)
            case .leaked: (255, 0, 220)
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

    /// The color of a cell: where one file is to stand out, all others are pale.
    private func color(of cell: Cell, isPale: Bool) -> Color {
        let color = cell.color
        if !isPale || cell == .highlight { return color }
        let pale = [color.red, color.green, color.blue].map { UInt8((Int($0) + 2 * 255) / 3) }
        return (pale[0], pale[1], pale[2])
    }

    private var isPale: Bool { cells.contains(.highlight) }

    /// What occurs in the map, for its legend.
    private var legend: MapLegend { MapLegend(Cell.allCases.filter { $0 != .outside && cells.contains($0) }) }

    /// As an SVG document with a legend.
    public var svg: String {
        let size = 4
        let isPale = isPale
        let legend = legend
        let legendWidth = legend.width(beside: width * size)
        let places = legend.places(width: legendWidth)
        let total = height * size + legend.height(width: legendWidth)
        var text = """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(legendWidth)" height="\(total)" \
            viewBox="0 0 \(legendWidth) \(total)" shape-rendering="crispEdges">

            """
        for row in 0..<height {
            var from = 0
            while from < width {
                let cell = cells[row * width + from]
                var to = from + 1
                while to < width, cells[row * width + to] == cell { to += 1 }
                if cell != .outside {
                    text += Self.rectangle(
                        x: from * size, y: row * size, width: (to - from) * size, height: size,
                        color(of: cell, isPale: isPale))
                }
                from = to
            }
        }
        for (cell, x, y) in places {
            let top = height * size + y
            text += Self.rectangle(
                x: x, y: top, width: MapLegend.swatchSize, height: MapLegend.swatchSize,
                color(of: cell, isPale: isPale))
            text += """
                <text x="\(x + MapLegend.textOffset)" y="\(top + MapLegend.swatchSize)" font-family="sans-serif" \
                font-size="18">\(cell.title)</text>

                """
        }
        return text + "</svg>\n"
    }

    private static func rectangle(
        x: Int, y: Int, width: Int, height: Int, _ color: Color
    ) -> String {
        let fill = [color.red, color.green, color.blue].map(hexadecimal).joined()
        return "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(width)\" height=\"\(height)\" fill=\"#\(fill)\"/>\n"
    }

    /// As rows of pixels, three bytes each, with a legend below; every cell is a square of so many pixels.
    public func pixels(cellSize: Int) -> (width: Int, height: Int, bytes: [UInt8]) {
        let isPale = isPale
        let legend = legend
        let pictureWidth = legend.width(beside: width * cellSize)
        let mapHeight = height * cellSize
        let pictureHeight = mapHeight + legend.height(width: pictureWidth)
        var canvas = PixelCanvas(width: pictureWidth, height: pictureHeight)
        for (index, cell) in cells.enumerated() where cell != .outside {
            canvas.fill(
                x: index % width * cellSize, y: index / width * cellSize, width: cellSize, height: cellSize,
                color(of: cell, isPale: isPale))
        }
        for (cell, x, y) in legend.places(width: pictureWidth) {
            canvas.fill(
                x: x, y: mapHeight + y, width: MapLegend.swatchSize, height: MapLegend.swatchSize,
                color(of: cell, isPale: isPale))
            canvas.write(cell.title, x: x + MapLegend.textOffset, y: mapHeight + y)
        }
        return (pictureWidth, pictureHeight, canvas.bytes)
    }
}
