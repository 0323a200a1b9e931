import Platform
import Testing

struct PrintableTextTests {
    @Test(arguments: [
        ("", ""), ("plain text, \u{e4}\u{4e2d}\u{1f600}", "plain text, \u{e4}\u{4e2d}\u{1f600}"),
        ("\u{1b}[31m", #"\u{1b}[31m"#), ("a\nb\tc\u{0}", #"a\u{a}b\u{9}c\u{0}"#),
        ("\u{7f}\u{9b}\u{a0}", "\\u{7f}\\u{9b}\u{a0}"),
    ])
    func controlsAreShown(text: String, shown: String) { #expect(String(printable: text.utf8) == shown) }

    @Test func whatIsNoTextIsShown() { #expect(String(printable: [0x61, 0xff, 0x62]) == #"a\u{fffd}b"#) }
}
