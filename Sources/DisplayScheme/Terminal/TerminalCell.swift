/// A colour of a terminal: the default, one of the 256 of the palette, or red, green and blue.
struct TerminalColor: Equatable, BitwiseCopyable, Sendable {
    /// 0x00PP: palette; 0x01RRGGBB: direct; 0x02000000: the default.
    let rawValue: UInt32

    static let standard = TerminalColor(rawValue: 0x0200_0000)

    static func palette(_ index: UInt8) -> TerminalColor { TerminalColor(rawValue: UInt32(index)) }

    static func direct(red: UInt8, green: UInt8, blue: UInt8) -> TerminalColor {
        TerminalColor(rawValue: 0x0100_0000 | UInt32(red) << 16 | UInt32(green) << 8 | UInt32(blue))
    }

    /// The pixel 0xAARRGGBB.
    func pixel(standard: UInt32) -> UInt32 {
        switch rawValue >> 24 {
        case 0: TerminalPalette.colors[Int(rawValue & 0xff)]
        case 1: 0xff00_0000 | rawValue & 0xff_ffff
        default: standard
        }
    }
}

/// The 256 colours: 16 of a console, a cube of 6x6x6, 24 greys.
enum TerminalPalette {
    static let foreground: UInt32 = 0xffd0_d0d0
    static let background: UInt32 = 0xff00_0000

    static let colors: [UInt32] = {
        var table: [UInt32] = [
            0x000000, 0xcd3131, 0x0dbc79, 0xc5c01e, 0x2f6fd0, 0xbc3fbc, 0x11a8cd, 0xd0d0d0,
            0x666666, 0xf14c4c, 0x23d18b, 0xf5f543, 0x5b9cf5, 0xd670d6, 0x29b8db, 0xffffff,
        ]
        let steps: [UInt32] = [0, 95, 135, 175, 215, 255]
        for red in steps {
            for green in steps {
                for blue in steps { table.append(red << 16 | green << 8 | blue) }
            }
        }
        for grey in 0..<UInt32(24) {
            let level = 8 + 10 * grey
            table.append(level << 16 | level << 8 | level)
        }
        return table.map { 0xff00_0000 | $0 }
    }()
}

/// How characters are written from now on.
struct TerminalPen: Equatable, BitwiseCopyable, Sendable {
    struct Style: OptionSet, Equatable, BitwiseCopyable, Sendable {
        let rawValue: UInt32
        static let bold = Style(rawValue: 1)
        static let faint = Style(rawValue: 2)
        static let underlined = Style(rawValue: 4)
        static let inverse = Style(rawValue: 8)
        static let concealed = Style(rawValue: 16)
        static let struck = Style(rawValue: 32)
    }

    var foreground = TerminalColor.standard
    var background = TerminalColor.standard
    var style: Style = []

    /// The pixels of glyph and ground.
    var pixels: (foreground: UInt32, background: UInt32) {
        var front = foreground
        // As consoles do: bold makes the dark colours bright.
        if style.contains(.bold), front.rawValue < 8 { front = .palette(UInt8(front.rawValue) + 8) }
        var pair = (
            foreground: front.pixel(standard: style.contains(.bold) ? 0xffff_ffff : TerminalPalette.foreground),
            background: background.pixel(standard: TerminalPalette.background)
        )
        if style.contains(.faint) { pair.foreground = 0xff00_0000 | pair.foreground >> 1 & 0x7f_7f7f }
        if style.contains(.inverse) { pair = (pair.background, pair.foreground) }
        if style.contains(.concealed) { pair.foreground = pair.background }
        return pair
    }
}

/// A place for a character.
struct TerminalCell: Equatable, BitwiseCopyable, Sendable {
    /// The character in Unicode; 0 in the second cell of a wide one.
    var character: UInt32
    var pen: TerminalPen

    static let byteCount = 16

    init(_ character: UInt32 = 0x20, _ pen: TerminalPen = TerminalPen()) {
        self.character = character
        self.pen = pen
    }
}
