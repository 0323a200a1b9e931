/// Width and height of a display or a window, in pixels. A pixel has four bytes: blue, green, red, opacity.
public struct PixelSize: Sendable, Equatable {
    /// Columns.
    public let width: Int
    /// Rows.
    public let height: Int

    /// The longest side.
    public static let longestSide = 8192
    /// The most pixels: an area of 32 MiB.
    public static let mostPixels = 8 << 20

    /// A size; nil if a side is 0 or too long, or there are too many pixels.
    public init?(width: Int, height: Int) {
        guard width > 0, height > 0, width <= Self.longestSide, height <= Self.longestSide,
            width &* height <= Self.mostPixels
        else { return nil }
        self.width = width
        self.height = height
    }

    /// From a text such as `1280x720` or `1280 720`, spaces and a line's end around it allowed; nil if it is none.
    public init?(text: String) {
        let parts = text.split { $0.isWhitespace || $0 == "x" || $0 == "," }
        guard parts.count == 2, let width = Int(parts[0]), let height = Int(parts[1]) else { return nil }
        self.init(width: width, height: height)
    }

    /// The size of a display that nobody has set another for.
    public static let standard = PixelSize(unchecked: 1280, 720)

    private init(unchecked width: Int, _ height: Int) {
        self.width = width
        self.height = height
    }

    /// Pixels.
    public var pixelCount: Int { width &* height }

    /// Bytes of all pixels.
    public var byteCount: Int { pixelCount &* 4 }

    /// All of it.
    public var bounds: Rectangle { Rectangle(width: width, height: height) }

    /// As a text: `1280x720`.
    public var text: String { "\(width)x\(height)" }
}
