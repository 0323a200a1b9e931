/// The arrow that shows where the mouse is.
enum PointerArrow {
    /// `X` black, `.` white, else nothing. The tip is the place.
    private static let rows = [
        "X          ",
        "XX         ",
        "X.X        ",
        "X..X       ",
        "X...X      ",
        "X....X     ",
        "X.....X    ",
        "X......X   ",
        "X.......X  ",
        "X........X ",
        "X.....XXXXX",
        "X..X..X    ",
        "X.X X..X   ",
        "XX  X..X   ",
        "X    X..X  ",
        "     X..X  ",
        "      XX   ",
    ].map { Array($0.utf8) }

    /// What it covers when its tip is at a place.
    static func bounds(_ x: Int, _ y: Int) -> Rectangle { Rectangle(x: x, y: y, width: 11, height: rows.count) }

    /// The colour at a place relative to the tip; nil where it is transparent.
    static func pixel(_ x: Int, _ y: Int) -> UInt32? {
        switch rows[y][x] {
        case 0x58: 0xff00_0000
        case 0x2e: 0xffff_ffff
        default: nil
        }
    }
}
