import Glibc
import Platform
import SchemeKit
import Testing

@testable import DisplayScheme

/// The display scheme keeps:
/// - `screen.png` shows the pixels that were written, and the windows over them;
/// - what was answered is there in the next incarnation; a call that comes again after a death is done once;
/// - bad input is refused and changes nothing.
struct DisplaySchemeTests {
    @Test func pixelsAreShownAndSurvive() throws {
        let harness = try DisplayHarness()
        let pixels = testPixels(64 * 48, seed: 1)
        let frame = try harness.open("0/fb", handle: 1)
        #expect(try harness.write(frame, bytes(pixels)) == 64 * 48 * 4)
        #expect(try harness.picture().pixels == pixels)
        try harness.restart(adopting: [(frame, 1)])
        #expect(try harness.picture().pixels == pixels)
        #expect(try harness.read(frame, 16, at: 64 * 4) == Array(bytes(pixels)[256..<272]))
    }

    @Test func framesCanBeWrittenOneAfterTheOther() throws {
        let harness = try DisplayHarness()
        let frame = try harness.open("0/fb", handle: 1)
        let byteCount = 64 * 48 * 4
        let (first, second) = (testPixels(64 * 48, seed: 2), testPixels(64 * 48, seed: 3))
        // Across the end of the first frame.
        let all = bytes(first) + bytes(second)
        #expect(try harness.write(frame, Array(all[..<5000])) == 5000)
        #expect(try harness.write(frame, Array(all[5000..<(byteCount + 3000)]), at: 5000) == byteCount - 2000)
        let mixed = Array(bytes(second)[..<3000]) + bytes(first)[3000...]
        #expect(try harness.read(frame, byteCount) == mixed)
        #expect(
            try harness.write(frame, Array(bytes(second)[3000...]), at: UInt64(byteCount + 3000)) == byteCount - 3000)
        #expect(try harness.picture().pixels == second)
    }

    @Test func anotherSize() throws {
        let harness = try DisplayHarness()
        try harness.write("0/text", "hello")
        try harness.write("0/size", "160x32\n")
        #expect(try harness.text("0/size") == "160x32\n")
        let picture = try harness.picture()
        #expect((picture.width, picture.height) == (160, 32))
        #expect(Set(picture.pixels[..<(160 * 16)]).contains(TerminalPalette.foreground))
        #expect(try harness.text("0/input") == "screen 160 32\n")
        for bad in ["0x0", "99999x1", "8192x8192", "1280", "x", "-1x5"] {
            #expect(throws: Errno.invalidArgument) { try harness.write("0/size", bad) }
        }
        try harness.restart()
        #expect(try harness.picture().pixels == picture.pixels)
    }

    /// The kernel keeps the size that it knows a file with: with another size the pixels are another file. Who has the old one open
    /// goes on with the same pixels.
    @Test func pixelsOfAnotherSizeAreAnotherFile() throws {
        let harness = try DisplayHarness()
        let old = try harness.open("0/fb", handle: 1)
        #expect(try harness.size(old) == 64 * 48 * 4)
        try harness.write("0/size", "32x16")
        let new = try harness.find("0/fb")
        #expect(new != old)
        #expect(try harness.size(new) == 32 * 16 * 4)
        let pixels = testPixels(32 * 16, seed: 9)
        try harness.write(old, bytes(pixels))
        #expect(try harness.picture().pixels == pixels)
        try harness.restart(adopting: [(old, 1)])
        #expect(try harness.read(old, 4) == Array(bytes(pixels)[..<4]))
        try harness.write("0/size", "64x48")
        #expect(try harness.find("0/fb") == old)
    }

    @Test func terminalSurvivesInTheMiddleOfASequence() throws {
        let harness = try DisplayHarness(size: "160x32")
        try harness.write("0/text", "a\u{1b}[3")
        try harness.restart()
        try harness.write("0/text", "1mb")
        let other = try DisplayHarness(size: "160x32")
        try other.write("0/text", "a\u{1b}[31mb")
        #expect(try harness.picture().pixels == other.picture().pixels)
        let cells = harness.scheme.core.withLock { $0.terminals[0]?.cells.prefix(2).map(\.pen.foreground) }
        #expect(cells == [.standard, .palette(1)])
    }

    @Test func callsThatComeAgainAreDoneOnce() throws {
        let harness = try DisplayHarness(size: "160x32")
        let text = try harness.open("0/text", handle: 1)
        let input = try harness.open("0/input", handle: 2)
        let write = harness.context()
        #expect(try harness.write(text, Array("once".utf8), write) == 4)
        try harness.restart(adopting: [(text, 1), (input, 2)])
        #expect(try harness.write(text, Array("once".utf8), write) == 4)
        #expect(harness.scheme.core.withLock { $0.terminals[0]?.text(row: 0) } == "once")
        let events = harness.context()
        #expect(try harness.write(input, Array("mouse 1 2\nbutton 1\n".utf8), events) == 19)
        try harness.restart(adopting: [(text, 1), (input, 2)])
        #expect(try harness.write(input, Array("mouse 1 2\nbutton 1\n".utf8), events) == 19)
        let read = harness.context()
        #expect(try harness.read(input, 10, read) == Array("mouse 1 2\n".utf8))
        try harness.restart(adopting: [(text, 1), (input, 2)])
        // The bytes are in the reply already: only the count is given again.
        #expect(try harness.read(input, 10, read).count == 10)
        #expect(try harness.read(input, 100) == Array("button 1\n".utf8))
        #expect(throws: Errno.wouldBlock) { try harness.read(input, 100) }
    }

    @Test func eventsAsLinesAndRecords() throws {
        let harness = try DisplayHarness()
        let lines = [
            "key 97 30 1", "mouse 3 4", "button 5", "scroll 0 -1", "relative -3 4", "quit", "focus 1", "move -1 2",
            "resize 3 4", "screen 5 6", "clipboard 1 2", "drop 1", "clipboard-update", "event 77 -5 6",
        ]
        for line in lines {
            let events = try #require(InputEvent.events(line: line))
            #expect(events.map(\.line) == [line + "\n"])
            #expect(InputEvent(events[0].bytes[...]) == events[0])
        }
        #expect(
            InputEvent(.mouse, 0x0102, -2).bytes == [2, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0xfe]
                + [UInt8](repeating: 0xff, count: 7))
        for bad in ["key 97", "mouse 1 2 3", "nothing", "mouse a b", "key 1 999 1", "key 1 1 2", "event 1"] {
            #expect(InputEvent.events(line: bad) == nil)
        }
        // In one way, out the other; byte by byte too.
        try harness.write("0/input.raw", "")
        try harness.write(
            try harness.find("0/input.raw"), InputEvent(.mouse, 7, 8).bytes + InputEvent(.button, 1).bytes)
        #expect(throws: Errno.invalidArgument) { try harness.write("0/input.raw", "short") }
        let input = try harness.find("0/input")
        var line: [UInt8] = []
        while line.last != 0x0a { line += try harness.read(input, 1) }
        #expect(line == Array("mouse 7 8\n".utf8))
        #expect(try harness.read(try harness.find("0/input.raw"), 240) == InputEvent(.button, 1).bytes)
        // Keys reach the terminal's reader.
        try harness.write("0/input", "type hé\nkey 0 72 1\nkey 0 29 1\nkey 99 46 1\n")
        #expect(try harness.text("0/text") == "hé\u{1b}[A\u{3}")
    }

    @Test func tooManyEventsLoseTheOldest() throws {
        let harness = try DisplayHarness()
        for number in 0..<1100 { try harness.write("0/input", "scroll \(number) 0\n") }
        #expect(try harness.text("0/info").contains("lost 76\n"))
        #expect(try harness.read(try harness.find("0/input"), 12) == Array("scroll 76 0\n".utf8))
    }

    @Test func displaysComeAndGo() throws {
        let harness = try DisplayHarness()
        func makeDirectory(_ name: String) throws {
            var context = harness.context()
            let name = Array(name.utf8)
            let span = name.span
            _ = try harness.scheme.makeDirectory(1, unsafe span.bytes, mode: 0o755, umask: 0, &context)
        }
        func removeDirectory(_ name: String) throws {
            var context = harness.context()
            let name = Array(name.utf8)
            let span = name.span
            try harness.scheme.removeDirectory(1, unsafe span.bytes, &context)
        }
        try makeDirectory("3")
        #expect(throws: Errno.fileExists) { try makeDirectory("3") }
        #expect(throws: Errno.invalidArgument) { try makeDirectory("nine") }
        let frame = try harness.open("3/fb", handle: 1)
        try harness.write(frame, bytes(testPixels(64 * 48, seed: 4)))
        #expect(try harness.picture(3).pixels == testPixels(64 * 48, seed: 4))
        #expect(try harness.picture(0).pixels != testPixels(64 * 48, seed: 4))
        try removeDirectory("3")
        #expect(throws: Errno.resourceBusy) { try removeDirectory("0") }
        #expect(throws: Errno.staleNFSFileHandle) { try harness.read(frame, 4) }
        try makeDirectory("3")
        #expect(throws: Errno.staleNFSFileHandle) { try harness.read(frame, 4) }
        #expect(try harness.picture(3).pixels != testPixels(64 * 48, seed: 4))
    }

    @Test func clipboard() throws {
        let harness = try DisplayHarness()
        try harness.write("0/clipboard", "first text")
        try harness.write(try harness.find("0/clipboard"), Array("TEXT".utf8), at: 6)
        #expect(try harness.text("0/clipboard") == "first TEXT")
        try harness.restart()
        #expect(try harness.text("0/clipboard") == "first TEXT")
        #expect(throws: Errno.noSpace) { try harness.write(try harness.find("0/clipboard"), [1], at: 1 << 20) }
    }

    @Test func windowsLieOverTheDisplay() throws {
        let harness = try DisplayHarness(size: "200x100")
        try harness.write("0/text", "\u{1b}[?25l")
        let low = try harness.open("window/l/10/20/30/20/low", handle: 11)
        let high = try harness.open("window/lt/20/30/30/20/high", handle: 12)
        try harness.write(
            try harness.find("windows/\(UInt32(truncatingIfNeeded: low))"),
            bytes([UInt32](repeating: 0xff11_2233, count: 600)))
        try harness.write(
            try harness.find("windows/\(UInt32(truncatingIfNeeded: high))"),
            bytes([UInt32](repeating: 0x80ff_ffff, count: 600)))
        func pixel(_ x: Int, _ y: Int) throws -> UInt32 { try harness.picture().pixels[y * 200 + x] }
        #expect(try pixel(9, 20) == 0xff00_0000)
        #expect(try pixel(10, 20) == 0xff11_2233)
        #expect(try pixel(39, 29) == 0xff11_2233)
        // Half of white over it, and over black.
        #expect(try pixel(25, 35) == Canvas.blend(0x80ff_ffff, over: 0xff11_2233))
        #expect(try pixel(45, 45) == 0xff80_8080)
        // Redox's commands.
        try harness.write(low, Array("P,100,50".utf8))
        #expect(try pixel(10, 20) == 0xff00_0000)
        #expect(try pixel(100, 50) == 0xff11_2233)
        #expect(throws: Errno.invalidArgument) { try harness.write(low, Array("Z,1".utf8)) }
        // Events: focus went to the upper one; then keys and the mouse.
        #expect(try harness.read(low, 240).count == 3 * 24)
        try harness.write("0/input", "mouse 105 55\nbutton 1\nkey 97 30 1\n")
        let events = try harness.read(low, 240)
        #expect(
            events == InputEvent(.mouse, 5, 5).bytes + InputEvent(.focus, 1).bytes + InputEvent(.button, 1).bytes
                + InputEvent.key(97, scancode: 30, isPressed: true).bytes)
        // They survive as long as they are open.
        let before = try harness.picture().pixels
        try harness.restart(adopting: [(low, 11), (high, 12)])
        #expect(try harness.picture().pixels == before)
        try harness.close(high, handle: 12)
        #expect(throws: Errno.noSuchFileOrDirectory) { try harness.find("windows/\(UInt32(truncatingIfNeeded: high))") }
        try harness.restart()
        #expect(try harness.text("0/info").contains("windows 0\n"))
    }

    /// Orbital's commands about the mouse: what is said of the arrow, of its bounds, of steps in place of places, and moving by hand.
    @Test func windowsHaveASayInTheMouse() throws {
        let harness = try DisplayHarness(size: "200x100")
        try harness.write("0/text", "\u{1b}[?25l")
        let window = try harness.open("window/l/20/30/40/20/w", handle: 11)
        let node = try harness.find("windows/\(UInt32(truncatingIfNeeded: window))")
        try harness.write(node, bytes([UInt32](repeating: 0xff11_2233, count: 800)))
        func say(_ command: String) throws { try harness.write(window, Array(command.utf8)) }
        func events() throws -> [InputEvent] {
            guard let bytes = try? harness.read(window, 2400) else { return [] }
            return stride(from: 0, to: bytes.count, by: 24).compactMap { InputEvent(bytes[$0...]) }
        }
        _ = try events()
        // The arrow's black tip, over the window and beside it.
        try harness.write("0/cursor", "25 35 1")
        func pixel(_ x: Int, _ y: Int) throws -> UInt32 { try harness.picture().pixels[y * 200 + x] }
        #expect(try pixel(25, 35) == 0xff00_0000)
        try say("M,C,0")
        #expect(try pixel(25, 35) == 0xff11_2233)
        try harness.write("0/cursor", "19 35 1")
        #expect(try pixel(20, 37) == 0xffff_ffff)
        try say("M,C,1")
        try harness.write("0/cursor", "25 35 1")
        #expect(try pixel(25, 35) == 0xff00_0000)
        _ = try events()
        // Grabbed, the mouse stays inside, and every button is the window's.
        try say("M,G,1")
        try harness.write("0/input", "mouse 199 0\nbutton 1\nbutton 0\n")
        #expect(try events() == [InputEvent(.mouse, 39, 0), InputEvent(.button, 1), InputEvent(.button, 0)])
        #expect(try harness.text("0/cursor") == "59 30 1 0\n")
        try harness.restart(adopting: [(window, 11)])
        try harness.write("0/input", "mouse 0 99\n")
        #expect(try events() == [InputEvent(.mouse, 0, 19)])
        try say("M,G,0")
        // Steps.
        try say("M,R,1")
        try harness.write("0/input", "mouse 30 40\nmouse 27 45\nmouse 27 45\nrelative 5 -6\n")
        #expect(
            try events() == [InputEvent(.relative, 10, -9), InputEvent(.relative, -3, 5), InputEvent(.relative, 5, -6)])
        try say("M,R,0")
        // Moved by the mouse as long as the button is pressed.
        try say("D")
        try harness.write("0/input", "mouse 30 40\nbutton 1\n")
        try say("D")
        try harness.write("0/input", "mouse 40 60\nbutton 0\nmouse 45 60\n")
        let seen = try events()
        #expect(seen.contains(InputEvent(.move, 30, 50)))
        #expect(seen.last == InputEvent(.mouse, 15, 10))
        #expect(try pixel(30, 50) == 0xff11_2233)
        // Several flags at once, as Redox takes them.
        try say("F,tu,1")
        for bad in ["M", "M,C", "M,C,2", "M,X,1", "M,C,1,1", "D,1", "D,T", "F,qt,1", "F,t,2"] {
            #expect(throws: Errno.invalidArgument) { try say(bad) }
        }
    }

    @Test(arguments: ["q/1/1/10/10/t", "l/1/a/10/10/t", "l/1/1/0/10/t", "l/1/1/10/99999/t"])
    func badWindows(_ path: String) throws {
        let harness = try DisplayHarness()
        #expect(throws: Errno.self) { try harness.open("window/\(path)", handle: 1) }
    }

    @Test func damagedMemoryGivesAFreshDisplay() throws {
        let harness = try DisplayHarness()
        for place in stride(from: 4096, to: 4096 + 4096, by: 4) { harness.state.memory.store32(place, 0xffff_ffff) }
        for place in stride(from: 4096 + (1 << 20), to: 4096 + (1 << 20) + 4096, by: 4) {
            harness.state.memory.store32(place, 0xffff_ffff)
        }
        try harness.restart()
        #expect(try harness.text("0/size") == "1280x720\n")
    }
}
