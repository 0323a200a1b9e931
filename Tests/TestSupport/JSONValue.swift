/// A JSON value, for manifests and for the output of the tools. Foundation's decoder is not used: Foundation and the
/// system call layer see different definitions of C types, which one file cannot import together.
public indirect enum JSONValue: Hashable, Sendable {
    /// null
    case null
    /// true or false
    case bool(Bool)
    /// A whole number that 64 bits hold.
    case integer(Int64)
    /// Any other number.
    case number(Double)
    /// Text.
    case string(String)
    /// Values in order.
    case array([JSONValue])
    /// Values by name.
    case object([String: JSONValue])

    /// Why text is no JSON value.
    public struct Fault: Error, Hashable {
        /// Byte offset of what was not expected.
        public let offset: Int
        /// What was expected.
        public let expected: String
    }

    /// Parses a text that holds one value.
    public init(parsing text: [UInt8]) throws(Fault) {
        var parser = Parser(text: text)
        self = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.place == text.count else { throw Fault(offset: parser.place, expected: "the end") }
    }

    /// Parses a text that holds one value.
    public init(parsing text: String) throws(Fault) { try self.init(parsing: Array(text.utf8)) }

    /// The value of a name in an object; nil if there is none, or if it is null.
    public subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self, let member = members[name], member != .null else { return nil }
        return member
    }

    /// The value as text.
    public var string: String? { if case .string(let text) = self { text } else { nil } }
    /// The value as whole number.
    public var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
    /// The value as truth value.
    public var bool: Bool? { if case .bool(let truth) = self { truth } else { nil } }
    /// The value's elements.
    public var array: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
    /// The value's members.
    public var object: [String: JSONValue]? { if case .object(let members) = self { members } else { nil } }

    /// A member that must be there as text.
    public func text(_ name: String) throws(MissingMember) -> String {
        guard let text = self[name]?.string else { throw MissingMember(name: name) }
        return text
    }

    /// A member that must be there as whole number of the wanted type.
    public func whole<Number: FixedWidthInteger>(_ name: String) throws(MissingMember) -> Number {
        guard let integer = self[name]?.integer, let number = Number(exactly: integer) else {
            throw MissingMember(name: name)
        }
        return number
    }

    /// A member that must be there as any value.
    public func member(_ name: String) throws(MissingMember) -> JSONValue {
        guard let member = self[name] else { throw MissingMember(name: name) }
        return member
    }

    /// A member that must be there as array of whole numbers.
    public func wholes<Number: FixedWidthInteger>(_ name: String) throws(MissingMember) -> [Number] {
        guard let elements = self[name]?.array else { throw MissingMember(name: name) }
        return elements.compactMap { $0.integer.flatMap { Number(exactly: $0) } }
    }

    /// A member that is missing or of another type.
    public struct MissingMember: Error, Hashable {
        /// Its name.
        public let name: String
    }
}

private struct Parser {
    let text: [UInt8]
    var place = 0

    func fault(_ expected: String) -> JSONValue.Fault { JSONValue.Fault(offset: place, expected: expected) }

    var current: UInt8 { place < text.count ? text[place] : 0 }

    mutating func skipSpace() {
        while current == 0x20 || current == 0x0A || current == 0x0D || current == 0x09 { place += 1 }
    }

    mutating func take(_ character: Character) -> Bool {
        guard character.asciiValue == current else { return false }
        place += 1
        return true
    }

    mutating func value(depth: Int) throws(JSONValue.Fault) -> JSONValue {
        guard depth < 100 else { throw fault("less nesting") }
        skipSpace()
        switch Character(UnicodeScalar(current)) {
        case "{": return try object(depth: depth)
        case "[": return try array(depth: depth)
        case "\"": return .string(try string())
        case "t": return try word("true", .bool(true))
        case "f": return try word("false", .bool(false))
        case "n": return try word("null", .null)
        default: return try number()
        }
    }

    mutating func word(_ word: String, _ value: JSONValue) throws(JSONValue.Fault) -> JSONValue {
        for character in word { guard take(character) else { throw fault(word) } }
        return value
    }

    mutating func number() throws(JSONValue.Fault) -> JSONValue {
        let start = place
        while "+-.eE0123456789".utf8.contains(current) { place += 1 }
        let digits = String(decoding: text[start..<place], as: UTF8.self)
        if let integer = Int64(digits) { return .integer(integer) }
        guard let number = Double(digits) else { throw fault("a value") }
        return .number(number)
    }

    mutating func object(depth: Int) throws(JSONValue.Fault) -> JSONValue {
        place += 1
        var members: [String: JSONValue] = [:]
        skipSpace()
        if take("}") { return .object(members) }
        while true {
            skipSpace()
            let name = try string()
            skipSpace()
            guard take(":") else { throw fault(":") }
            members[name] = try value(depth: depth + 1)
            skipSpace()
            if take("}") { return .object(members) }
            guard take(",") else { throw fault(", or }") }
        }
    }

    mutating func array(depth: Int) throws(JSONValue.Fault) -> JSONValue {
        place += 1
        var elements: [JSONValue] = []
        skipSpace()
        if take("]") { return .array(elements) }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take("]") { return .array(elements) }
            guard take(",") else { throw fault(", or ]") }
        }
    }

    mutating func string() throws(JSONValue.Fault) -> String {
        guard take("\"") else { throw fault("a string") }
        var bytes: [UInt8] = []
        while true {
            guard place < text.count, current >= 0x20 else { throw fault("the end of a string") }
            let byte = current
            place += 1
            switch byte {
            case 0x22: return String(decoding: bytes, as: UTF8.self)
            case 0x5C: bytes.append(contentsOf: try escaped())
            default: bytes.append(byte)
            }
        }
    }

    /// What follows a backslash, as UTF-8.
    mutating func escaped() throws(JSONValue.Fault) -> [UInt8] {
        let kind = current
        place += 1
        switch Character(UnicodeScalar(kind)) {
        case "n": return [0x0A]
        case "t": return [0x09]
        case "r": return [0x0D]
        case "b": return [0x08]
        case "f": return [0x0C]
        case "\"", "\\", "/": return [kind]
        case "u":
            var code = UInt32(try codeUnit())
            if code & 0xFC00 == 0xD800, take("\\"), take("u") {
                code = 0x10000 + (code & 0x3FF) << 10 + UInt32(try codeUnit()) & 0x3FF
            }
            guard let scalar = UnicodeScalar(code) else { throw fault("a character") }
            return Array(String(Character(scalar)).utf8)
        default: throw fault("an escape")
        }
    }

    mutating func codeUnit() throws(JSONValue.Fault) -> UInt16 {
        let digits = String(decoding: text[place..<min(place + 4, text.count)], as: UTF8.self)
        guard digits.utf8.count == 4, let unit = UInt16(digits, radix: 16) else { throw fault("four digits") }
        place += 4
        return unit
    }
}
