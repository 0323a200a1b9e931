import SchemeProtocol

/// The opcode table as a page of the documentation.
enum OpcodeList {
    /// The page's text.
    static var text: String {
        var lines = [
            "# Opcodes", "",
            "What a request asks for: each number, what it takes and what it gives.", "", "## Overview", "",
            "Made by `protocol-header --opcodes` from the opcode table: don't edit.", "",
            "In the arguments, `h` is the handle (chosen by the client when it opens), `n` the node, `p` the payload, `len` the",
            "length field, `f` the flags word, `w0` to `w5` the argument words, `v0` and `v1` the values of the completion; what",
            "follows the arrow is in the reply. \"attr\" is `NodeAttributes`. The marks: **i** doing it twice gives the same as doing",
            "it once; **l** its completion may carry a sequence number, and the request is then kept until that is committed;",
            "**b** it may wait for another request. The last columns say which call of Redox's scheme protocol and of FUSE it is.",
            "", "| | | arguments and reply | | Redox | FUSE |", "|---|---|---|---|---|---|",
        ]
        for opcode in Opcode.allCases {
            let row = opcode.properties
            let marks =
                (row.isIdempotent ? "i" : "") + (row.isLogged ? "l" : "") + (row.mayBlock ? "b" : "")
            let arguments = row.arguments.isEmpty ? "" : "`\(row.arguments.replacing("|", with: "\\|"))`"
            lines.append(
                "| \(opcode.rawValue) | `\(opcode.name)` | \(arguments) | \(marks) | \(row.redoxName) | \(row.fuseName) |"
            )
        }
        return (lines + [""]).joined(separator: "\n")
    }
}

extension String {
    fileprivate func replacing(_ character: Character, with text: String) -> String {
        map { $0 == character ? text : String($0) }.joined()
    }
}
