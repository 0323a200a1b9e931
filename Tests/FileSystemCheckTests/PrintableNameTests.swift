import Testing

@testable import FileSystemCheck

/// Names of an image that is checked come from whoever made it: none is a command to the terminal.
struct PrintableNameTests {
    @Test(arguments: [
        (Array("name \u{e4}".utf8), "\"name \u{e4}\""), ([0x1b, 0x5b], #""\x1b[""#),
        ([0x61, 0x0a, 0x7f], #""a\x0a\x7f""#),
        (Array("\u{9b}31m".utf8), #""\xc2\x9b31m""#), ([0xff, 0x41], #""\xffA""#),
    ])
    func controlsAreShown(name: [UInt8], shown: String) { #expect(printable(name) == shown) }
}
