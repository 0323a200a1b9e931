import CConsoleFont

/// The font of terminals and window titles: glyphs of 8x16 pixels.
enum ConsoleFont {
    static let width = 8
    static let height = 16

    /// The glyph of what the font has no glyph for: U+FFFD.
    private static let unknown: UInt16 = {
        for place in 0..<UInt32(CONSOLE_FONT_CHARACTERS) where console_font_character(place) == 0xfffd {
            return UInt16(console_font_glyph(place))
        }
        return 0
    }()

    /// The glyphs of the characters up to U+FFFF.
    private static let glyphs: [UInt16] = {
        var table = [UInt16](repeating: unknown, count: 65536)
        for place in 0..<UInt32(CONSOLE_FONT_CHARACTERS) {
            table[Int(console_font_character(place))] = UInt16(console_font_glyph(place))
        }
        return table
    }()

    /// 16 bytes for each glyph, from the upper row to the lower; the highest bit is on the left.
    private static let rows: [UInt8] = (0..<UInt32(CONSOLE_FONT_GLYPHS)).flatMap { glyph in
        (0..<UInt32(height)).map { console_font_row(glyph, $0) }
    }

    /// Whether the font has a glyph for a character.
    static func has(_ character: UInt32) -> Bool {
        character <= 0xffff && (glyphs[Int(character)] != unknown || character == 0xfffd)
    }

    /// Where the rows of a character's glyph begin in `bits`.
    @inline(__always)
    static func start(_ character: UInt32) -> Int {
        Int(character <= 0xffff ? glyphs[Int(character)] : unknown) * height
    }

    /// The rows of all glyphs.
    static var bits: [UInt8] { rows }
}
