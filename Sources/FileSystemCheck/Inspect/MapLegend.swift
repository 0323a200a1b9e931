/// Where the parts of a map's legend lie: a square of its color for each kind of cell, and what it stands for, in as many lines
/// as it takes.
struct MapLegend {
    /// The side of a square.
    static let swatchSize = 14
    /// From a square's left edge to its text.
    static let textOffset = 20
    /// The widest a character may be.
    static let characterWidth = 12
    private static let lineHeight = 22
    private static let margin = 8

    private let cells: [DiskMap.Cell]

    init(_ cells: [DiskMap.Cell]) { self.cells = cells }

    /// The width of a picture that the longest entry fits into, at least that of the map.
    func width(beside mapWidth: Int) -> Int {
        max(mapWidth, 2 * Self.margin + (cells.map(Self.width).max() ?? 0))
    }

    /// How high it is in a picture of a width.
    func height(width: Int) -> Int {
        (places(width: width).last?.y ?? 0) + Self.swatchSize + Self.margin
    }

    /// The upper left corner of each square, counted from below the map.
    func places(width: Int) -> [(cell: DiskMap.Cell, x: Int, y: Int)] {
        var x = Self.margin
        var y = Self.margin
        return cells.map { cell in
            if x > Self.margin, x + Self.width(cell) > width - Self.margin {
                x = Self.margin
                y += Self.lineHeight
            }
            defer { x += Self.width(cell) + Self.textOffset }
            return (cell, x, y)
        }
    }

    private static func width(_ cell: DiskMap.Cell) -> Int { textOffset + cell.title.count * characterWidth }
}

/// A white picture to draw rectangles and small letters on.
struct PixelCanvas {
    private let width: Int
    private let height: Int
    /// Rows of pixels: red, green and blue.
    private(set) var bytes: [UInt8]

    init(width: Int, height: Int) {
        self.width = width
        self.height = height
        bytes = [UInt8](repeating: 255, count: width * height * 3)
    }

    /// Fills a rectangle; what lies outside is left out.
    mutating func fill(
        x: Int, y: Int, width rectangleWidth: Int, height rectangleHeight: Int, _ color: DiskMap.Color
    ) {
        for row in max(y, 0)..<max(min(y + rectangleHeight, height), max(y, 0)) {
            for column in max(x, 0)..<max(min(x + rectangleWidth, width), max(x, 0)) {
                let place = (row * width + column) * 3
                bytes[place] = color.red
                bytes[place + 1] = color.green
                bytes[place + 2] = color.blue
            }
        }
    }

    /// Writes black letters of 10 by 14 pixels.
    mutating func write(_ text: String, x: Int, y: Int) {
        for (position, character) in text.enumerated() {
            guard let glyph = Self.glyphs[character] else { continue }
            for bit in 0..<35 where glyph >> (34 - bit) & 1 == 1 {
                fill(
                    x: x + position * MapLegend.characterWidth + bit % 5 * 2, y: y + bit / 5 * 2, width: 2, height: 2,
                    (0, 0, 0))
            }
        }
    }

    /// The letters of the legend: seven rows of five bits, the upper left one the highest.
    private static let glyphs: [Character: UInt64] = [
        "a": 0x000E0BE2F, "b": 0x421E8C63E, "c": 0x000F8420F, "d": 0x042F8C62F, "e": 0x000E8FE0F,
        "f": 0x191E42108, "g": 0x01F18BC2E, "h": 0x421E8C631, "i": 0x100C2108E, "j": 0x080610A4C,
        "k": 0x4212A6292, "l": 0x30842108E, "m": 0x001AAD6B5, "n": 0x001E8C631, "o": 0x000E8C62E,
        "p": 0x03D18FA10, "q": 0x01F18BC21, "r": 0x0016C4210, "s": 0x000F8383E, "t": 0x211E42106,
        "u": 0x00118C62F, "v": 0x00118C544, "w": 0x0011AD6AA, "x": 0x001151151, "y": 0x02318BC2E,
        "z": 0x001F1111F, ",": 0x000003088,
    ]
}
