/// Where the terminal is within a character or a control sequence.
struct TerminalParser: Equatable {
    enum Stage: UInt32 {
        case ground = 0
        case escape = 1
        case control = 2
        /// A text for the terminal's window, or for a device: ignored until its end.
        case string = 3
        /// The escape in such a text.
        case stringEscape = 4
        /// The character after ESC ( and the like.
        case charset = 5
        case hash = 6
    }

    var stage = Stage.ground
    /// Numbers of a control sequence; -1 for one that isn't given.
    var numbers: [Int] = []
    /// The bytes before the last that aren't numbers: `?`, `>`, space, ...
    var marks: [UInt8] = []
    /// Which of the character sets is chosen.
    var charset = 0
    /// The bits of a character of which more bytes must come, how many, and the least value that so many bytes may give.
    var character: UInt32 = 0
    var missingBytes = 0
    var leastCharacter: UInt32 = 0

    static let mostNumbers = 32
    private static let largestNumber = 65535

    mutating func begin() {
        numbers = []
        marks = []
    }

    /// Adds a digit to the last number.
    mutating func digit(_ byte: UInt8) {
        if numbers.isEmpty { numbers = [-1] }
        let last = numbers.count - 1
        numbers[last] = min(max(numbers[last], 0) * 10 + Int(byte - 0x30), Self.largestNumber)
    }

    /// Begins another number.
    mutating func separator() {
        if numbers.isEmpty { numbers = [-1] }
        if numbers.count < Self.mostNumbers { numbers.append(-1) }
    }

    /// A number; `standard` if it isn't given.
    func number(_ index: Int, _ standard: Int) -> Int {
        index < numbers.count && numbers[index] >= 0 ? numbers[index] : standard
    }

    /// A count: 0 means 1.
    func count(_ index: Int = 0) -> Int { max(1, number(index, 1)) }

    /// The cells of a character: 0 for marks that go onto the one before, 2 for wide ones.
    static func width(_ character: UInt32) -> Int {
        switch character {
        case 0..<0x300: character < 0x20 || (0x7f..<0xa0).contains(character) ? 0 : 1
        case 0x300...0x36f, 0x200b...0x200f, 0x20d0...0x20ff, 0xfe00...0xfe0f, 0xfe20...0xfe2f, 0xfeff: 0
        case 0x1100...0x115f, 0x2e80...0x303e, 0x3041...0xa4cf, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe6f,
            0xff00...0xff60, 0xffe0...0xffe6, 0x1f300...0x1f64f, 0x1f900...0x1f9ff, 0x20000...0x3fffd:
            2
        default: 1
        }
    }

    private static let lineCharacters = Array("◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·".unicodeScalars.map(\.value))

    /// The character of the set of lines (DEC special graphics) for an ASCII character.
    static func lineCharacter(_ character: UInt32) -> UInt32 {
        guard character >= 0x60, character < 0x7f else { return character }
        return lineCharacters[Int(character - 0x60)]
    }
}

extension TextTerminal {
    /// Takes one byte.
    mutating func take(_ byte: UInt8) {
        if parser.missingBytes > 0, parser.stage == .ground {
            if continueCharacter(byte) { return }
        }
        switch (parser.stage, byte) {
        case (.string, 0x1b): parser.stage = .stringEscape
        case (.string, 0x07), (.string, 0x18), (.string, 0x1a): parser.stage = .ground
        case (.string, _): break
        case (.stringEscape, 0x5c): parser.stage = .ground
        case (.stringEscape, _):
            parser.stage = .escape
            parser.begin()
            takeEscape(byte)
        case (_, 0x1b):
            parser.stage = .escape
            parser.begin()
        case (_, 0x18), (_, 0x1a): parser.stage = .ground
        case (_, 0..<0x20): control(byte)
        case (.ground, _): takeCharacter(byte)
        case (.escape, _): takeEscape(byte)
        case (.control, _): takeControl(byte)
        case (.charset, _):
            cursor.drawsLines[parser.charset] = byte == 0x30
            parser.stage = .ground
        case (.hash, _):
            parser.stage = .ground
            if byte == 0x38 {
                for index in cells.indices { cells[index] = TerminalCell(0x45) }
                touchAll()
            }
        }
    }

    /// Goes on with a character of several bytes. False: the byte doesn't belong to it, and stands for itself.
    private mutating func continueCharacter(_ byte: UInt8) -> Bool {
        guard byte & 0xc0 == 0x80 else {
            parser.missingBytes = 0
            put(0xfffd)
            return false
        }
        parser.character = parser.character << 6 | UInt32(byte & 0x3f)
        parser.missingBytes -= 1
        if parser.missingBytes == 0 {
            let isValid = parser.character >= parser.leastCharacter && Unicode.Scalar(parser.character) != nil
            put(isValid ? parser.character : 0xfffd)
        }
        return true
    }

    private mutating func takeCharacter(_ byte: UInt8) {
        switch byte {
        case 0x20..<0x7f: put(UInt32(byte))
        case 0x7f: break
        case 0xc2..<0xe0: beginCharacter(UInt32(byte & 0x1f), 1, 0x80)
        case 0xe0..<0xf0: beginCharacter(UInt32(byte & 0x0f), 2, 0x800)
        case 0xf0..<0xf5: beginCharacter(UInt32(byte & 0x07), 3, 0x10000)
        default: put(0xfffd)
        }
    }

    private mutating func beginCharacter(_ bits: UInt32, _ missing: Int, _ least: UInt32) {
        parser.character = bits
        parser.missingBytes = missing
        parser.leastCharacter = least
    }

    private mutating func control(_ byte: UInt8) {
        switch byte {
        case 0x08:
            cursor.column = max(0, cursor.column - 1)
            cursor.wrapsNext = false
        case 0x09: tab(1)
        case 0x0a, 0x0b, 0x0c:
            cursor.column = 0
            lineFeed()
        case 0x0d:
            cursor.column = 0
            cursor.wrapsNext = false
        case 0x0e: cursor.usesSecondSet = true
        case 0x0f: cursor.usesSecondSet = false
        default: break
        }
    }

    /// To the next tab stop, or before.
    mutating func tab(_ count: Int) {
        cursor.wrapsNext = false
        for _ in 0..<min(abs(count), columns) {
            let next =
                count > 0
                ? tabStops[(cursor.column + 1)...].firstIndex(of: true) ?? columns - 1
                : tabStops[..<cursor.column].lastIndex(of: true) ?? 0
            cursor.column = next
        }
    }

    private mutating func takeEscape(_ byte: UInt8) {
        parser.stage = .ground
        switch byte {
        case 0x5b: parser.stage = .control  // [
        case 0x5d, 0x50, 0x5e, 0x5f, 0x58: parser.stage = .string  // ] P ^ _ X
        case 0x28, 0x29:  // ( )
            parser.stage = .charset
            parser.charset = Int(byte - 0x28)
        case 0x23: parser.stage = .hash  // #
        case 0x37: savedCursor = cursor  // 7
        case 0x38: restoreCursor()  // 8
        case 0x44: lineFeed()  // D
        case 0x45:  // E
            cursor.column = 0
            lineFeed()
        case 0x48: tabStops[cursor.column] = true  // H
        case 0x4d: reverseLineFeed()  // M
        case 0x63: reset()  // c
        case 0x20...0x2f: parser.stage = .escape
        default: break
        }
    }

    mutating func restoreCursor() {
        cursor = savedCursor
        cursor.row = min(cursor.row, rows - 1)
        cursor.column = min(cursor.column, columns - 1)
    }

    private mutating func takeControl(_ byte: UInt8) {
        switch byte {
        case 0x30...0x39: parser.digit(byte)
        case 0x3a, 0x3b: parser.separator()
        case 0x20...0x2f, 0x3c...0x3f: if parser.marks.count < 4 { parser.marks.append(byte) }
        case 0x40...0x7e:
            parser.stage = .ground
            perform(byte)
        default: break
        }
    }
}
