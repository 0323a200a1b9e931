/// Why a text is no JSON.
public struct ControlJSONError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Where, in bytes from the start.
    public let offset: Int
    /// What was expected.
    public let expected: String
    /// For messages.
    public var description: String { "not JSON: \(expected) expected at byte \(offset)" }
}

extension ControlJSON {
    /// The value of a text; throws for anything that isn't one JSON value, or is nested more than 32 levels deep.
    public init(parsing text: String) throws(ControlJSONError) {
        var parser = ControlJSONParser(bytes: Array(text.utf8))
        self = try parser.value(depth: 0)
        try parser.end()
    }
}

private struct ControlJSONParser {
    let bytes: [UInt8]
    var position = 0

    private static let depthLimit = 32

    init(bytes: [UInt8]) { self.bytes = bytes }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func fail(_ expected: String) -> ControlJSONError { ControlJSONError(offset: position, expected: expected) }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func word(_ text: StaticString) -> Bool {
        let wanted = Array("\(text)".utf8)
        guard bytes.count - position >= wanted.count,
            bytes[position..<(position + wanted.count)].elementsEqual(wanted)
        else { return false }
        position += wanted.count
        return true
    }

    mutating func end() throws(ControlJSONError) {
        skipSpace()
        if position < bytes.count { throw fail("the end") }
    }

    mutating func value(depth: Int) throws(ControlJSONError) -> ControlJSON {
        if depth > Self.depthLimit { throw fail("less depth") }
        skipSpace()
        guard let byte = next else { throw fail("a value") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): if word("true") { return .bool(true) }
        case UInt8(ascii: "f"): if word("false") { return .bool(false) }
        case UInt8(ascii: "n"): if word("null") { return .null }
        default: return try number()
        }
        throw fail("a value")
    }

    private mutating func object(depth: Int) throws(ControlJSONError) -> ControlJSON {
        position += 1
        var members: [ControlJSON.Member] = []
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object([]) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw fail("a name") }
            let name = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw fail("a colon") }
            members.append(ControlJSON.Member(name, try value(depth: depth + 1)))
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw fail("a comma or a closing brace") }
        }
    }

    private mutating func array(depth: Int) throws(ControlJSONError) -> ControlJSON {
        position += 1
        var values: [ControlJSON] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array([]) }
        while true {
            values.append(try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(values) }
            guard take(UInt8(ascii: ",")) else { throw fail("a comma or a closing bracket") }
        }
    }

    private mutating func number() throws(ControlJSONError) -> ControlJSON {
        let start = position
        while let byte = next, (0x30...0x39).contains(byte) || "+-.eE".utf8.contains(byte) { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if let value = Int64(text) { return .integer(value) }
        if let value = Double(text) { return .number(value) }
        position = start
        throw fail("a value")
    }

    private mutating func string() throws(ControlJSONError) -> String {
        position += 1
        var units: [UInt8] = []
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: units, as: UTF8.self) else { throw fail("UTF-8") }
                return text
            case UInt8(ascii: "\\"): units += try escape()
            case 0..<0x20: throw fail("no control character")
            default: units.append(byte)
            }
        }
        throw fail("a closing quote")
    }

    private mutating func escape() throws(ControlJSONError) -> [UInt8] {
        guard let byte = next else { throw fail("an escape") }
        position += 1
        switch byte {
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "u"):
            var code = try fourDigits()
            if (0xD800..<0xDC00).contains(code) {
                guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else { throw fail("a low surrogate") }
                let low = try fourDigits()
                guard (0xDC00..<0xE000).contains(low) else { throw fail("a low surrogate") }
                code = 0x1_0000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw fail("a character") }
            return Array(String(Character(scalar)).utf8)
        default: throw fail("an escape")
        }
    }

    private mutating func fourDigits() throws(ControlJSONError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw fail("a hexadecimal digit")
            }
            position += 1
            code = code << 4 | UInt32(digit)
        }
        return code
    }
}
