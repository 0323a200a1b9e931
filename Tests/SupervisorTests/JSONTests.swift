import Testing

@testable import Supervisor

@Suite struct JSONTests {
    @Test(arguments: [
        "null", "true", "false", "0", "-12", "9223372036854775807", "\"\"", "\"a\\\"b\\\\c\\n\\u0001\"", "[]",
        "[1,[2],{}]",
        "{\"a\":{\"b\":[true,null]},\"c\":\"\u{1F600}\"}", "1.5",
    ])
    func roundTrips(text: String) throws {
        #expect(try ControlJSON(parsing: text).text == text)
    }

    @Test func readsEscapesAndSpace() throws {
        let value = try ControlJSON(parsing: " { \"a\" : [ 1 , \"\\u00e9\\ud83d\\ude00\\/\" ] } \n")
        #expect(value["a"]?.array == [.integer(1), .string("\u{E9}\u{1F600}/")])
    }

    @Test(arguments: [
        "", "{", "[1,", "\"", "\"\\x\"", "tru", "1 2", "{\"a\"}", "{a:1}", "[1]]", "\"\\ud800\"", "\u{1}", "--",
        "\"\n\"",
    ])
    func refusesWhatIsNoJSON(text: String) {
        #expect(throws: ControlJSONError.self) { try ControlJSON(parsing: text) }
    }

    @Test func refusesDeepNesting() {
        #expect(throws: ControlJSONError.self) { try ControlJSON(parsing: String(repeating: "[", count: 100_000)) }
    }
}
