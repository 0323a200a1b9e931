/// Draws terminals.
enum TerminalPainter {
    /// Draws the rows that were changed; returns what was drawn.
    static func paint(_ terminal: TextTerminal, _ pixels: PixelArea) -> Rectangle {
        var drawn = Rectangle(width: 0, height: 0)
        let bits = ConsoleFont.bits
        for row in 0..<terminal.rows where terminal.changedRows[row] || row == terminal.cursor.row {
            guard (row + 1) * ConsoleFont.height <= pixels.size.height else { continue }
            paint(terminal, row: row, pixels, bits)
            drawn = drawn.union(
                Rectangle(
                    x: 0, y: row * ConsoleFont.height, width: terminal.columns * ConsoleFont.width,
                    height: ConsoleFont.height))
        }
        return drawn
    }

    private static func paint(_ terminal: TextTerminal, row: Int, _ pixels: PixelArea, _ bits: [UInt8]) {
        let hasCursor = terminal.modes.contains(.cursorVisible) && terminal.cursor.row == row
        let y = row * ConsoleFont.height
        for column in 0..<terminal.columns {
            let x = column * ConsoleFont.width
            guard x + ConsoleFont.width <= pixels.size.width else { return }
            let cell = terminal.cells[row * terminal.columns + column]
            var colors = cell.pen.pixels
            if hasCursor, column == terminal.cursor.column {
                colors = (colors.background, TerminalPalette.foreground)
            }
            let character = cell.character == 0 ? 0x20 : cell.character
            pixels.draw(character, x: x, y: y, foreground: colors.foreground, background: colors.background, bits)
            if cell.pen.style.contains(.underlined) { line(pixels, x, y + 14, colors.foreground) }
            if cell.pen.style.contains(.struck) { line(pixels, x, y + 8, colors.foreground) }
        }
    }

    private static func line(_ pixels: PixelArea, _ x: Int, _ y: Int, _ color: UInt32) {
        unsafe pixels.withRow(y, from: x, count: ConsoleFont.width) { unsafe $0.update(repeating: color) }
    }
}
