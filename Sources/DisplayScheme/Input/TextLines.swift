/// What programs write as lines.
enum TextLines {
    /// The lines of a text, without their ends (a line feed, or a carriage return and one) and without the empty ones; nil if it isn't
    /// UTF-8.
    static func split(_ bytes: [UInt8]) -> [String]? {
        // By bytes: both ends together are one Character.
        var lines: [String] = []
        for var line in bytes.split(separator: 0x0a) {
            if line.last == 0x0d { line.removeLast() }
            guard let text = String(validating: line, as: UTF8.self) else { return nil }
            if !text.isEmpty { lines.append(text) }
        }
        return lines
    }
}
