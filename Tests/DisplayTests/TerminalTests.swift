import Platform
import TestSupport
import Testing

@testable import DisplayScheme

/// The terminal keeps:
/// - what bytes do with cells and cursor is what ECMA-48 and VT100s say, however the bytes are cut into pieces;
/// - kept and read back it is the same terminal;
/// - no bytes trap it.
struct TerminalTests {
    private func terminal(_ columns: Int = 20, _ rows: Int = 5, _ text: String = "") -> TextTerminal {
        var terminal = TextTerminal(columns: columns, rows: rows)
        terminal.write(text)
        return terminal
    }

    private func lines(_ terminal: TextTerminal) -> [String] { (0..<terminal.rows).map { terminal.text(row: $0) } }

    @Test(arguments: [
        ("one\ntwo", ["one", "two", "", "", ""]),
        ("one\r\ntwo\rT", ["one", "Two", "", "", ""]),
        ("ab\u{8}c\tx", ["ac      x", "", "", "", ""]),
        ("\u{1b}[3;5Hhere", ["", "", "    here", "", ""]),
        ("\u{1b}[3;5H\u{1b}[Aup\u{1b}[2Bdown", ["", "    up", "", "      down", ""]),
        ("\u{1b}[2Cx\u{1b}[2Dy\u{1b}[6Gz", [" yx  z", "", "", "", ""]),
        ("12345678901234567890over", ["12345678901234567890", "over", "", "", ""]),
        ("\u{1b}[?7l12345678901234567890over", ["1234567890123456789r", "", "", "", ""]),
        ("1\n2\n3\n4\n5\n6", ["2", "3", "4", "5", "6"]),
        ("1\n2\n3\n4\n5\u{1b}[2;4r\u{1b}[4;1H\nnew", ["1", "3", "4", "new", "5"]),
        ("1\n2\n3\n4\n5\u{1b}[2;4r\u{1b}[2;1H\u{1b}Mnew", ["1", "new", "2", "3", "5"]),
        ("1\n2\n3\n4\n5\u{1b}[2H\u{1b}[L", ["1", "", "2", "3", "4"]),
        ("1\n2\n3\n4\n5\u{1b}[2H\u{1b}[2M", ["1", "4", "5", "", ""]),
        ("abcdef\u{1b}[3G\u{1b}[2P", ["abef", "", "", "", ""]),
        ("abcdef\u{1b}[3G\u{1b}[2@", ["ab  cdef", "", "", "", ""]),
        ("abcdef\u{1b}[3G\u{1b}[2X", ["ab  ef", "", "", "", ""]),
        ("abcdef\u{1b}[3G\u{1b}[K", ["ab", "", "", "", ""]),
        ("abcdef\u{1b}[3G\u{1b}[1K", ["   def", "", "", "", ""]),
        ("1\n2\n3\u{1b}[2H\u{1b}[J", ["1", "", "", "", ""]),
        ("1\n2\n3\u{1b}[2H\u{1b}[1J", ["", "", "3", "", ""]),
        ("1\n2\n3\u{1b}[2J", ["", "", "", "", ""]),
        ("a\u{1b}7\u{1b}[4;4Hb\u{1b}8c", ["ac", "", "", "   b", ""]),
        ("a\u{1b}[3b", ["aaaa", "", "", "", ""]),
        ("\u{1b}(0lqk\u{1b}(Bx", ["┌─┐x", "", "", "", ""]),
        ("main\u{1b}[?1049h\u{1b}[Halt\u{1b}[?1049l!", ["main!", "", "", "", ""]),
        ("\u{1b}]0;a title\u{7}text", ["text", "", "", "", ""]),
        ("\u{1b}]0;a title\u{1b}\\text", ["text", "", "", "", ""]),
        ("\u{1b}[5;1Hx\u{1b}[2S", ["", "", "x", "", ""]),
        ("Grüße, čas ─│█ €", ["Grüße, čas ─│█ €", "", "", "", ""]),
        ("漢字x", ["漢字x", "", "", "", ""]),
        ("x\u{1b}c", ["", "", "", "", ""]),
        ("a\u{1b}[?25lb\u{1b}[12;300;9999999999999999zc", ["abc", "", "", "", ""]),
    ])
    func bytesGiveCells(_ text: String, _ expected: [String]) {
        #expect(lines(terminal(20, 5, text)) == expected)
        // The same, each byte in a write of its own, kept and read back in between.
        var other = TextTerminal(columns: 20, rows: 5)
        for byte in text.utf8 {
            other.take(byte)
            var back = TextTerminal(decoding: other.encoded)
            back?.changedRows = other.changedRows
            #expect(back == other)
        }
        #expect(lines(other) == expected)
    }

    @Test func badCharactersBecomeTheReplacement() {
        var terminal = terminal()
        let bytes: [UInt8] = [0x61, 0xc3, 0x62, 0xff, 0xe2, 0x82, 0x0a, 0xed, 0xa0, 0x80, 0xc0, 0x80]
        for byte in bytes { terminal.take(byte) }
        #expect(terminal.text(row: 0) == "a\u{fffd}b\u{fffd}\u{fffd}")
        #expect(terminal.text(row: 1) == "\u{fffd}\u{fffd}\u{fffd}")
    }

    @Test func colours() {
        let terminal = terminal(
            20, 2, "\u{1b}[1;31mA\u{1b}[0;38;5;208;48;2;1;2;3mB\u{1b}[7mC\u{1b}[mD\u{1b}[97;104mE")
        let pens = terminal.cells.prefix(5).map(\.pen.pixels)
        #expect(pens[0] == (TerminalPalette.colors[9], TerminalPalette.background))
        #expect(pens[1] == (TerminalPalette.colors[208], 0xff01_0203))
        #expect(pens[2] == (0xff01_0203, TerminalPalette.colors[208]))
        #expect(pens[3] == (TerminalPalette.foreground, TerminalPalette.background))
        #expect(pens[4] == (TerminalPalette.colors[15], TerminalPalette.colors[12]))
        #expect(TerminalPalette.colors[208] == 0xffff_8700)
        #expect(TerminalPalette.colors[255] == 0xffee_eeee)
    }

    @Test func questionsAreAnswered() {
        #expect(String(decoding: terminal(20, 5, "ab\u{1b}[6n").replies, as: UTF8.self) == "\u{1b}[1;3R")
        #expect(String(decoding: terminal(20, 5, "\u{1b}[c").replies, as: UTF8.self) == "\u{1b}[?6c")
    }

    @Test func anotherSizeKeepsTheText() {
        var terminal = terminal(20, 5, "1\n2\n3\n4\n5")
        terminal.resize(PixelSize(width: 10 * 8, height: 3 * 16)!)
        #expect(lines(terminal) == ["3", "4", "5"])
        terminal.write("x")
        #expect(lines(terminal) == ["3", "4", "5x"])
        terminal.resize(PixelSize(width: 7, height: 9)!)
        #expect(lines(terminal).count == 1)
    }

    /// A program with a screen of its own goes on there, and when it ends the first one's text is back.
    @Test func anotherSizeKeepsBothScreens() {
        var terminal = terminal(20, 5, "1\n2\n3\n4\nprompt\u{1b}[?1049h\u{1b}[Heditor\u{1b}[4;3Hx")
        terminal.resize(PixelSize(width: 10 * 8, height: 3 * 16)!)
        #expect(terminal.modes.contains(.alternateScreen))
        #expect(lines(terminal) == ["", "", "  x"])
        terminal.write("y")
        #expect(lines(terminal) == ["", "", "  xy"])
        let kept = TextTerminal(decoding: terminal.encoded)
        #expect(kept?.otherCells == terminal.otherCells)
        terminal.resize(PixelSize(width: 30 * 8, height: 4 * 16)!)
        terminal.write("\u{1b}[?1049l!")
        #expect(lines(terminal) == ["3", "4", "prompt!", ""])
        // The other one is empty again.
        terminal.write("\u{1b}[?1049h")
        #expect(lines(terminal) == ["", "", "", ""])
    }

    @Test func anotherSizeKeepsTheSavedCursor() {
        var terminal = terminal(20, 5, "1\n2\n3\n  \u{1b}7\n5")
        terminal.resize(PixelSize(width: 20 * 8, height: 3 * 16)!)
        terminal.write("\u{1b}8x")
        #expect(lines(terminal) == ["3", "  x", "5"])
        terminal.write("\u{1b}[3;19H\u{1b}7")
        terminal.resize(PixelSize(width: 10 * 8, height: 2 * 16)!)
        terminal.write("\u{1b}8y")
        #expect(lines(terminal) == ["  x", "5        y"])
    }

    @Test(arguments: 0..<20) func noBytesTrap(_ seed: UInt64) {
        var random = SplitMix(seed: seed)
        var terminal = TextTerminal(columns: Int(random.next() % 12) + 1, rows: Int(random.next() % 6) + 1)
        let alphabet = Array("\u{1b}\u{1b}[[;?019HJKLMPX@ABCDGSTrmhlnbgsuc()#8\n\r\t\u{8}aé漢Z78ED".utf8)
        for _ in 0..<20_000 {
            let word = random.next()
            terminal.take(
                word % 8 == 0 ? UInt8(truncatingIfNeeded: word >> 8) : alphabet[Int(word >> 8) % alphabet.count])
        }
        #expect(terminal.cells.count == terminal.columns * terminal.rows)
        var bytes = terminal.encoded
        #expect(TextTerminal(decoding: bytes) != nil)
        // Damaged bytes give another terminal or none.
        for _ in 0..<50 {
            bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            var read = TextTerminal(decoding: bytes)
            read?.write("x\n\u{1b}[2Jy")
            bytes.removeLast(Int(random.next() % 2))
        }
    }

    @Test func everyCharacterOfTheFontIsDrawn() throws {
        let file = try SharedMemory.create(name: "pixels", byteCount: 160 * 32 * 4)
        let state = try SharedMapping(file.rawValue, byteCount: 160 * 32 * 4, writable: true)
        let size = try #require(PixelSize(width: 160, height: 32))
        let pixels = PixelArea(state, at: 0, size)
        let terminal = terminal(20, 2, "\u{1b}[?25l\u{1b}[31mA\u{1b}[4m \u{1b}[0m█")
        #expect(TerminalPainter.paint(terminal, pixels) == Rectangle(width: 160, height: 32))
        // The letter has both colours, its neighbour only the line under it, the block is full.
        let red = TerminalPalette.colors[1]
        let letter = (0..<128).map { pixels[$0 % 8, $0 / 8] }
        #expect(Set(letter) == [red, TerminalPalette.background])
        #expect((8..<16).allSatisfy { pixels[$0, 14] == red && pixels[$0, 13] == TerminalPalette.background })
        #expect((16..<24).allSatisfy { x in (0..<16).allSatisfy { pixels[x, $0] == TerminalPalette.foreground } })
        #expect(ConsoleFont.has(0xe9) && ConsoleFont.has(0x2500) && ConsoleFont.has(0x20ac) && !ConsoleFont.has(0x6f22))
    }
}
