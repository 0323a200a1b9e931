extension TextTerminal {
    /// Carries out a control sequence whose last byte this is.
    mutating func perform(_ byte: UInt8) {
        if parser.marks == [0x3f] {
            if byte == 0x68 || byte == 0x6c { for number in parser.numbers { setPrivateMode(number, byte == 0x68) } }
            return
        }
        guard parser.marks.isEmpty else {
            if parser.marks == [0x21], byte == 0x70 { softReset() }
            if parser.marks == [0x3e], byte == 0x63 { replies += Array("\u{1b}[>0;0;0c".utf8) }
            return
        }
        switch Character(Unicode.Scalar(byte)) {
        case "A": move(rows: -parser.count())
        case "B", "e": move(rows: parser.count())
        case "C", "a": moveTo(column: cursor.column + parser.count())
        case "D": moveTo(column: cursor.column - parser.count())
        case "E":
            move(rows: parser.count())
            cursor.column = 0
        case "F":
            move(rows: -parser.count())
            cursor.column = 0
        case "G", "`": moveTo(column: parser.count() - 1)
        case "H", "f": moveTo(row: parser.count(0) - 1, column: parser.count(1) - 1)
        case "d": moveTo(row: parser.count() - 1, column: cursor.column)
        case "I": tab(parser.count())
        case "Z": tab(-parser.count())
        default: performEditing(byte)
        }
    }

    private mutating func performEditing(_ byte: UInt8) {
        switch Character(Unicode.Scalar(byte)) {
        case "J": eraseDisplay(parser.number(0, 0))
        case "K": eraseLine(parser.number(0, 0))
        case "L": if region.contains(cursor.row) { scrollDown(cursor.row..<region.upperBound, parser.count()) }
        case "M": if region.contains(cursor.row) { scrollUp(cursor.row..<region.upperBound, parser.count()) }
        case "P": deleteCharacters(parser.count())
        case "@": insertBlanks(parser.count())
        case "X": erase(row: cursor.row, cursor.column..<min(columns, cursor.column + parser.count()))
        case "S": scrollUp(region, parser.count())
        case "T": scrollDown(region, parser.count())
        case "b": for _ in 0..<min(parser.count(), columns * rows) { put(lastCharacter) }
        case "m": setStyle()
        case "r": setRegion()
        case "s": savedCursor = cursor
        case "u": restoreCursor()
        case "g":
            if parser.number(0, 0) == 3 {
                for column in tabStops.indices { tabStops[column] = false }
            } else {
                tabStops[cursor.column] = false
            }
        case "h": if parser.numbers.contains(4) { modes.insert(.insert) }
        case "l": if parser.numbers.contains(4) { modes.remove(.insert) }
        case "n": report(parser.number(0, 0))
        case "c": replies += Array("\u{1b}[?6c".utf8)
        default: break
        }
    }

    // MARK: The cursor

    private mutating func move(rows count: Int) {
        // Within the region if it is in it.
        let limits = region.contains(cursor.row) ? region : 0..<rows
        cursor.row = min(max(cursor.row + count, limits.lowerBound), limits.upperBound - 1)
        cursor.wrapsNext = false
    }

    private mutating func moveTo(column: Int) {
        cursor.column = min(max(column, 0), columns - 1)
        cursor.wrapsNext = false
    }

    private mutating func moveTo(row: Int, column: Int) {
        let limits = modes.contains(.origin) ? region : 0..<rows
        cursor.row = min(limits.lowerBound + max(row, 0), limits.upperBound - 1)
        moveTo(column: column)
    }

    private mutating func setRegion() {
        let top = parser.count(0) - 1
        let bottom = min(max(1, parser.number(1, rows)), rows)
        guard top < bottom - 1 else { return }
        region = top..<bottom
        moveTo(row: 0, column: 0)
    }

    private mutating func report(_ what: Int) {
        if what == 5 { replies += Array("\u{1b}[0n".utf8) }
        if what == 6 {
            let row = modes.contains(.origin) ? cursor.row - region.lowerBound : cursor.row
            replies += Array("\u{1b}[\(row + 1);\(cursor.column + 1)R".utf8)
        }
    }

    // MARK: Erasing

    private mutating func eraseDisplay(_ what: Int) {
        switch what {
        case 0:
            erase(row: cursor.row, cursor.column..<columns)
            for row in (cursor.row + 1)..<max(rows, cursor.row + 1) { erase(row: row, 0..<columns) }
        case 1:
            for row in 0..<cursor.row { erase(row: row, 0..<columns) }
            erase(row: cursor.row, 0..<(cursor.column + 1))
        case 2, 3: for row in 0..<rows { erase(row: row, 0..<columns) }
        default: break
        }
        cursor.wrapsNext = false
    }

    private mutating func eraseLine(_ what: Int) {
        switch what {
        case 0: erase(row: cursor.row, cursor.column..<columns)
        case 1: erase(row: cursor.row, 0..<(cursor.column + 1))
        case 2: erase(row: cursor.row, 0..<columns)
        default: break
        }
        cursor.wrapsNext = false
    }

    // MARK: Modes

    private mutating func setMode(_ mode: Modes, _ isOn: Bool) {
        if isOn { modes.insert(mode) } else { modes.remove(mode) }
    }

    private mutating func setPrivateMode(_ number: Int, _ isOn: Bool) {
        switch number {
        case 1: setMode(.applicationCursor, isOn)
        case 6:
            setMode(.origin, isOn)
            moveTo(row: 0, column: 0)
        case 7: setMode(.wrap, isOn)
        case 25: setMode(.cursorVisible, isOn)
        case 47, 1047: useAlternateScreen(isOn)
        case 1048: if isOn { savedCursor = cursor } else { restoreCursor() }
        case 1049:
            if isOn { savedCursor = cursor }
            useAlternateScreen(isOn)
            if !isOn { restoreCursor() }
        default: break
        }
    }

    private mutating func softReset() {
        modes = modes.intersection(.alternateScreen).union(.standard)
        region = 0..<rows
        cursor.pen = TerminalPen()
        cursor.drawsLines = [false, false]
        savedCursor = Cursor()
    }

    // MARK: Style

    private mutating func setStyle() {
        if parser.numbers.isEmpty { cursor.pen = TerminalPen() }
        var index = 0
        while index < parser.numbers.count {
            let number = parser.number(index, 0)
            if number == 38 || number == 48 {
                let (color, used) = color(index + 1)
                if let color {
                    if number == 38 { cursor.pen.foreground = color } else { cursor.pen.background = color }
                }
                index += 1 + used
                continue
            }
            setStyle(number)
            index += 1
        }
    }

    /// The colour of 38 and 48: what follows, and how many numbers it takes.
    private func color(_ index: Int) -> (TerminalColor?, Int) {
        func component(_ place: Int) -> UInt8 { UInt8(min(parser.number(place, 0), 255)) }
        switch parser.number(index, 0) {
        case 5: return (.palette(component(index + 1)), 2)
        case 2:
            return (
                .direct(red: component(index + 1), green: component(index + 2), blue: component(index + 3)), 4
            )
        default: return (nil, 1)
        }
    }

    private mutating func setStyle(_ number: Int) {
        switch number {
        case 0: cursor.pen = TerminalPen()
        case 1: cursor.pen.style.insert(.bold)
        case 2: cursor.pen.style.insert(.faint)
        case 4: cursor.pen.style.insert(.underlined)
        case 7: cursor.pen.style.insert(.inverse)
        case 8: cursor.pen.style.insert(.concealed)
        case 9: cursor.pen.style.insert(.struck)
        case 22: cursor.pen.style.subtract([.bold, .faint])
        case 24: cursor.pen.style.remove(.underlined)
        case 27: cursor.pen.style.remove(.inverse)
        case 28: cursor.pen.style.remove(.concealed)
        case 29: cursor.pen.style.remove(.struck)
        case 30...37: cursor.pen.foreground = .palette(UInt8(number - 30))
        case 39: cursor.pen.foreground = .standard
        case 40...47: cursor.pen.background = .palette(UInt8(number - 40))
        case 49: cursor.pen.background = .standard
        case 90...97: cursor.pen.foreground = .palette(UInt8(number - 82))
        case 100...107: cursor.pen.background = .palette(UInt8(number - 92))
        default: break
        }
    }
}
