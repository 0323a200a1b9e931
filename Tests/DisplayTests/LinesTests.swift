import Platform
import SchemeKit
import Testing

@testable import DisplayScheme

/// What is written as lines is taken as a whole or not at all, whichever way the lines end.
struct LinesTests {
    @Test(arguments: [
        ("one\ntwo", ["one", "two"]), ("one\r\ntwo\r\n", ["one", "two"]), ("\n\r\none\n\n", ["one"]), ("", []),
        ("a\rb\n", ["a\rb"]), ("e\u{301}\r\n", ["e\u{301}"]),
    ])
    func linesAreSplit(_ text: String, _ lines: [String]) {
        #expect(TextLines.split(Array(text.utf8)) == lines)
    }

    @Test func whatIsNoTextIsNone() { #expect(TextLines.split([0x61, 0x0a, 0xff]) == nil) }

    @Test func linesOfOtherSystemsAreTaken() throws {
        let harness = try DisplayHarness()
        try harness.write("0/input", "mouse 1 2\r\nbutton 1\r\n")
        #expect(try harness.text("0/input") == "mouse 1 2\nbutton 1\n")
        try harness.write("0/input", "type a\r\n")
        #expect(try harness.text("0/text") == "a")
        try harness.write("0/damage", "0 0 1 1\r\n2 2 1 1\r\n")
        try harness.write("0/cursor", "5 6 1\r\n7 8\r\n")
        #expect(try harness.text("0/cursor") == "7 8 1 1\n")
        try harness.write("0/size", "80x40\r\n")
        #expect(try harness.text("0/size") == "80x40\n")
        let window = try harness.open("window/l/1/1/8/4/w", handle: 1)
        try harness.write(window, Array("T,other\r\nP,3,4\r\n".utf8))
        let state = harness.scheme.core.withLock { $0.state.windows[0] }
        #expect(state.title == Array("other".utf8) && (state.x, state.y) == (3, 4))
    }

    /// A line that isn't known keeps those before it from being carried out.
    @Test func badLinesChangeNothing() throws {
        let harness = try DisplayHarness(size: "200x100")
        let window = try harness.open("window/l/20/30/8/4/w", handle: 1)
        func everything() -> DisplayState { harness.scheme.core.withLock { $0.state } }
        harness.scheme.core.withLock { $0.damage[0] = DamageList() }
        let before = everything()
        for bad in [
            "P,2,3\nBOGUS\n", "S,4,4\nP,1\n", "T,x\nF,q,1\n", "F,ft,1\nF,f,2\n", "A,1\nA,x\n", "D\nM,C,2\n",
            "M,G,1\nY,1\n", "Y,1,1,2,2,x,1,1,1\n",
        ] {
            #expect(throws: Errno.invalidArgument) { try harness.write(window, Array(bad.utf8)) }
        }
        for (file, bad) in [
            ("damage", "0 0 9 9\nx\n"), ("cursor", "5 5 1\n6\n"), ("input", "mouse 1 1\nbogus\n"), ("size", "4x4\ny"),
        ] {
            #expect(throws: Errno.invalidArgument) { try harness.write("0/\(file)", bad) }
        }
        #expect(everything() == before)
        #expect(harness.scheme.core.withLock { $0.damage[0].isEmpty })
    }

    /// A window that comes to the front is still the one that the next line is about.
    @Test func commandsAreOfTheirWindow() throws {
        let harness = try DisplayHarness(size: "200x100")
        let low = try harness.open("window/l/20/30/8/4/low", handle: 1)
        try harness.open("window/l/40/50/8/4/high", handle: 2)
        try harness.write(low, Array("F,f,1\nP,1,2\nT,first\n".utf8))
        let windows = harness.scheme.core.withLock { $0.state.windows }
        let seen = windows.map { "\(String(decoding: $0.title, as: UTF8.self)) \($0.x) \($0.y)" }
        #expect(seen == ["high 40 50", "first 1 2"])
    }
}
