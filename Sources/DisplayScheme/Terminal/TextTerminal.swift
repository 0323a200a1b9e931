/// A terminal: cells, a cursor, and what the bytes written to it do with them (ECMA-48, as a VT100 and its successors).
///
/// A line feed also returns to the first column, so that plain text files look right.
struct TextTerminal: Equatable {
    static let mostColumns = PixelSize.longestSide / ConsoleFont.width
    static let mostRows = PixelSize.longestSide / ConsoleFont.height

    /// Where the cursor is, and what goes with it when it is saved.
    struct Cursor: Equatable {
        var column = 0
        var row = 0
        var pen = TerminalPen()
        /// The last column was written: the next character goes to the next line first.
        var wrapsNext = false
        /// Which of the two character sets is in use, and whether they are those of lines.
        var usesSecondSet = false
        var drawsLines = [false, false]
    }

    /// What can be switched on and off.
    struct Modes: OptionSet, Equatable {
        let rawValue: UInt32
        static let wrap = Modes(rawValue: 1)
        static let origin = Modes(rawValue: 2)
        static let insert = Modes(rawValue: 4)
        static let cursorVisible = Modes(rawValue: 8)
        static let applicationCursor = Modes(rawValue: 16)
        static let alternateScreen = Modes(rawValue: 32)
        static let standard: Modes = [.wrap, .cursorVisible]
    }

    private(set) var columns: Int
    private(set) var rows: Int
    var cells: [TerminalCell]
    /// The cells of the other screen; empty if it was never used.
    var otherCells: [TerminalCell] = []
    var cursor = Cursor()
    var savedCursor = Cursor()
    var modes = Modes.standard
    /// The rows that scroll.
    var region: Range<Int>
    var tabStops: [Bool]
    var lastCharacter: UInt32 = 0x20
    var parser = TerminalParser()
    /// What it has to say to who reads: answers to questions.
    var replies: [UInt8] = []
    /// Rows whose cells were changed since they were drawn. Not part of what is kept.
    var changedRows: [Bool]

    /// An empty terminal that fills so many pixels.
    init(_ size: PixelSize) {
        columns = max(1, size.width / ConsoleFont.width)
        rows = max(1, size.height / ConsoleFont.height)
        cells = Array(repeating: TerminalCell(), count: columns * rows)
        region = 0..<rows
        tabStops = (0..<columns).map { $0 % 8 == 0 }
        changedRows = Array(repeating: true, count: rows)
    }

    /// What goes with the size; the contents of both screens stay at the upper left, and so that the cursor's row is there: of the screen
    /// that isn't shown the saved one's.
    mutating func resize(_ size: PixelSize) {
        var new = TextTerminal(size)
        let isAlternate = modes.contains(.alternateScreen)
        let skipped = max(0, cursor.row - new.rows + 1)
        let savedSkipped = isAlternate ? max(0, savedCursor.row - new.rows + 1) : skipped
        new.take(cells, of: self, from: skipped)
        // The other screen's contents are needed as long as the alternate one is shown, which is empty whenever it is shown anew.
        if isAlternate, !otherCells.isEmpty {
            swap(&new.cells, &new.otherCells)
            new.cells = Array(repeating: TerminalCell(), count: new.otherCells.count)
            new.take(otherCells, of: self, from: savedSkipped)
            swap(&new.cells, &new.otherCells)
        }
        new.cursor = fitted(cursor, skipped, new)
        new.savedCursor = fitted(savedCursor, savedSkipped, new)
        new.modes = modes
        new.parser = parser
        new.replies = replies
        self = new
    }

    /// Takes cells of a terminal of another size, from a row on.
    private mutating func take(_ other: [TerminalCell], of terminal: TextTerminal, from first: Int) {
        for row in 0..<min(terminal.rows - first, rows) {
            for column in 0..<min(terminal.columns, columns) {
                cells[row * columns + column] = other[(row + first) * terminal.columns + column]
            }
        }
    }

    /// Where a cursor is in a terminal of another size, whose first row is another.
    private func fitted(_ cursor: Cursor, _ first: Int, _ terminal: TextTerminal) -> Cursor {
        var cursor = cursor
        cursor.row = max(0, min(cursor.row - first, terminal.rows - 1))
        cursor.column = min(cursor.column, terminal.columns - 1)
        cursor.wrapsNext = false
        return cursor
    }

    /// What of the modes concerns keys.
    var keys: TerminalKeys { TerminalKeys(applicationCursor: modes.contains(.applicationCursor)) }

    /// The text of a row, without the blanks at its end.
    func text(row: Int) -> String {
        var text = ""
        for cell in cells[(row * columns)..<((row + 1) * columns)] where cell.character != 0 {
            text.unicodeScalars.append(Unicode.Scalar(cell.character) ?? "\u{fffd}")
        }
        while text.hasSuffix(" ") { text.removeLast() }
        return text
    }

    // MARK: Cells

    mutating func touch(_ row: Int) { changedRows[row] = true }

    mutating func touchAll() { for row in changedRows.indices { changedRows[row] = true } }

    /// A cell as erasing leaves it: with the background of the pen.
    var blank: TerminalCell {
        TerminalCell(0x20, TerminalPen(background: cursor.pen.background))
    }

    /// Erases part of a row.
    mutating func erase(row: Int, _ range: Range<Int>) {
        let part = range.clamped(to: 0..<columns)
        let blank = blank
        for column in part { cells[row * columns + column] = blank }
        touch(row)
    }

    /// Moves rows of a range up by so many: what leaves is lost, blank rows come in.
    mutating func scrollUp(_ range: Range<Int>, _ count: Int) {
        let count = min(count, range.count)
        guard count > 0 else { return }
        let blank = blank
        let (top, bottom) = (range.lowerBound * columns, range.upperBound * columns)
        let moved = count * columns
        unsafe cells.withUnsafeMutableBufferPointer { cells in
            _ = unsafe UnsafeMutableBufferPointer(rebasing: cells[top..<(bottom - moved)]).update(
                fromContentsOf: UnsafeMutableBufferPointer(rebasing: cells[(top + moved)..<bottom]))
            unsafe UnsafeMutableBufferPointer(rebasing: cells[(bottom - moved)..<bottom]).update(repeating: blank)
        }
        for row in range { touch(row) }
    }

    /// Moves rows of a range down by so many.
    mutating func scrollDown(_ range: Range<Int>, _ count: Int) {
        let count = min(count, range.count)
        guard count > 0 else { return }
        for row in range.reversed() {
            if row - count >= range.lowerBound {
                for column in 0..<columns { cells[row * columns + column] = cells[(row - count) * columns + column] }
                touch(row)
            } else {
                erase(row: row, 0..<columns)
            }
        }
    }

    // MARK: Writing

    /// Takes bytes that a program wrote.
    mutating func write(_ bytes: RawSpan) {
        for index in 0..<bytes.byteCount {
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            take(byte)
        }
    }

    /// Takes bytes that a program wrote.
    mutating func write(_ text: String) {
        for byte in text.utf8 { take(byte) }
    }

    /// Puts a character where the cursor is, and moves on.
    mutating func put(_ character: UInt32) {
        var character = character
        if cursor.drawsLines[cursor.usesSecondSet ? 1 : 0] { character = TerminalParser.lineCharacter(character) }
        let width = TerminalParser.width(character)
        guard width > 0 else { return }
        if cursor.wrapsNext, modes.contains(.wrap) {
            cursor.column = 0
            lineFeed()
        }
        if width == 2, cursor.column == columns - 1 {
            guard modes.contains(.wrap), columns > 1 else { return }
            erase(row: cursor.row, cursor.column..<columns)
            cursor.column = 0
            lineFeed()
        }
        cursor.wrapsNext = false
        if modes.contains(.insert) { insertBlanks(width) }
        let place = cursor.row * columns + cursor.column
        cells[place] = TerminalCell(character, cursor.pen)
        if width == 2, cursor.column + 1 < columns { cells[place + 1] = TerminalCell(0, cursor.pen) }
        touch(cursor.row)
        lastCharacter = character
        if cursor.column + width >= columns {
            cursor.column = columns - 1
            cursor.wrapsNext = true
        } else {
            cursor.column += width
        }
    }

    /// The cursor goes down; at the end of the region that scrolls.
    mutating func lineFeed() {
        cursor.wrapsNext = false
        if cursor.row == region.upperBound - 1 {
            scrollUp(region, 1)
        } else if cursor.row < rows - 1 {
            cursor.row += 1
        }
    }

    /// The cursor goes up; at the start of the region that scrolls the other way.
    mutating func reverseLineFeed() {
        cursor.wrapsNext = false
        if cursor.row == region.lowerBound {
            scrollDown(region, 1)
        } else if cursor.row > 0 {
            cursor.row -= 1
        }
    }

    /// Makes room at the cursor.
    mutating func insertBlanks(_ count: Int) {
        let start = cursor.row * columns
        let count = min(count, columns - cursor.column)
        guard count > 0 else { return }
        for column in stride(from: columns - 1, through: cursor.column + count, by: -1) {
            cells[start + column] = cells[start + column - count]
        }
        erase(row: cursor.row, cursor.column..<(cursor.column + count))
    }

    /// Takes characters at the cursor away.
    mutating func deleteCharacters(_ count: Int) {
        let start = cursor.row * columns
        let count = min(count, columns - cursor.column)
        guard count > 0 else { return }
        for column in cursor.column..<(columns - count) { cells[start + column] = cells[start + column + count] }
        erase(row: cursor.row, (columns - count)..<columns)
    }

    /// Shows the other screen, or the first again.
    mutating func useAlternateScreen(_ isWanted: Bool) {
        guard modes.contains(.alternateScreen) != isWanted else { return }
        if otherCells.isEmpty { otherCells = Array(repeating: TerminalCell(), count: cells.count) }
        swap(&cells, &otherCells)
        if isWanted {
            modes.insert(.alternateScreen)
            for index in cells.indices { cells[index] = TerminalCell() }
        } else {
            modes.remove(.alternateScreen)
        }
        touchAll()
    }

    /// As it was at the start.
    mutating func reset() {
        let size = (columns, rows)
        let replies = replies
        self = TextTerminal(columns: size.0, rows: size.1)
        self.replies = replies
    }

    init(columns: Int, rows: Int) {
        self.columns = columns
        self.rows = rows
        cells = Array(repeating: TerminalCell(), count: columns * rows)
        region = 0..<rows
        tabStops = (0..<columns).map { $0 % 8 == 0 }
        changedRows = Array(repeating: true, count: rows)
    }
}
