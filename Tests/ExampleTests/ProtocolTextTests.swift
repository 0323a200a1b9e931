import Testing

/// Flags and kinds stand in the code, in the generated header and in the documentation: nowhere is one missing.
@Suite struct ProtocolTextTests {
    private struct Constant {
        let name: String
        let value: UInt64
    }

    private static let folder = "Sources/SchemeProtocol"

    /// `static let name = TYPE(rawValue: VALUE)` in a file.
    private func constants(of type: String, in file: String) throws -> [Constant] {
        try Checkout.text("\(Self.folder)/\(file).swift").split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.starts(with: ["public", "static", "let"]), words.count > 5, words[4] == "=",
                words[5] == "\(type)(rawValue:"
            else { return nil }
            let numbers = words.dropFirst(6).compactMap { UInt64($0.filter(\.isNumber)) }
            let value = numbers.count == 2 ? numbers[0] << numbers[1] : try #require(numbers.first)
            return Constant(name: String(words[3]), value: value)
        }
    }

    /// The values in the header of names that begin so.
    private func defined(_ prefix: String) throws -> Set<UInt64> {
        let header = try Checkout.text("Scripts/examples/c/saltbridge_protocol.h")
        return Set(
            header.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                guard words.count == 3, words[0] == "#define", words[1].hasPrefix(prefix) else { return nil }
                return UInt64(words[2])
            })
    }

    /// The numbers of an enumeration in the text, "1 one, 2 another", from a mark to the end of the line.
    private func documented(after mark: String) throws -> Set<UInt64> {
        let text = try Checkout.text("\(Self.folder)/SchemeProtocol.docc/WireFormat.md")
        let line = try #require(text.split(separator: "\n").first { $0.contains(mark) }, "\(mark)")
        let start = try #require(line.firstRange(of: mark)).upperBound
        return Set(line[start...].split(separator: ",").compactMap { UInt64($0.split(separator: " ").first ?? "") })
    }

    @Test(arguments: [
        ("SubmissionFlags", "SubmissionEntry", "SB_FLAG_", "| u16 | flags:"),
        ("CompletionFlags", "CompletionEntry", "SB_FLAG_INLINE_REPLY", "| u32 | flags:"),
        ("OpenedFlags", "CompletionEntry", "SB_OPENED_", "of opening calls:"),
    ])
    func flagsAreEverywhere(type: String, file: String, prefix: String, mark: String) throws {
        let values = Set(try constants(of: type, in: file).map(\.value))
        #expect(!values.isEmpty)
        #expect(try defined(prefix) == values)
        #expect(try documented(after: mark) == values)
    }

    @Test func kindsOfControlMessagesAreEverywhere() throws {
        let kinds = try ["ControlMessage", "ControlKind+Recovery"].flatMap { try constants(of: "ControlKind", in: $0) }
        #expect(kinds.count > 20)
        #expect(try defined("SB_KIND_") == Set(kinds.map(\.value)))
        let text = try Checkout.text("\(Self.folder)/SchemeProtocol.docc/WireFormat.md")
        for kind in kinds {
            #expect(text.contains("\n| \(kind.value) | `\(kind.name)` |"), "\(kind.name)")
        }
    }
}
