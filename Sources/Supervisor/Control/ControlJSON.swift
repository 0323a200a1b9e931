/// A JSON text as a value (RFC 8259): what the control socket speaks. Objects keep their order.
public enum ControlJSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([ControlJSON])
    case object([Member])

    /// A name with its value.
    public struct Member: Sendable, Equatable {
        /// The name.
        public let name: String
        /// The value.
        public let value: ControlJSON
        /// A member.
        public init(_ name: String, _ value: ControlJSON) {
            self.name = name
            self.value = value
        }
    }

    /// An object of these members.
    public static func make(_ members: KeyValuePairs<String, ControlJSON>) -> ControlJSON {
        .object(members.map { Member($0.key, $0.value) })
    }

    /// A count.
    public static func count(_ value: some BinaryInteger) -> ControlJSON { .integer(Int64(clamping: value)) }

    /// The value of the first member with this name.
    public subscript(name: String) -> ControlJSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// The text, if it is one.
    public var string: String? {
        if case .string(let value) = self { value } else { nil }
    }

    /// The number, if it is a whole one.
    public var integer: Int64? {
        if case .integer(let value) = self { value } else { nil }
    }

    /// The truth value, if it is one.
    public var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// The elements; none if it isn't an array.
    public var array: [ControlJSON] {
        if case .array(let value) = self { value } else { [] }
    }

    /// The members; none if it isn't an object.
    public var members: [Member] {
        if case .object(let value) = self { value } else { [] }
    }

    /// The text on one line.
    public var text: String {
        var result = ""
        write(to: &result)
        return result
    }

    private func write(to result: inout String) {
        switch self {
        case .null: result += "null"
        case .bool(let value): result += value ? "true" : "false"
        case .integer(let value): result += "\(value)"
        case .number(let value): result += value.isFinite ? "\(value)" : "null"
        case .string(let value): Self.write(value, to: &result)
        case .array(let values):
            result += "["
            for (index, value) in values.enumerated() {
                if index > 0 { result += "," }
                value.write(to: &result)
            }
            result += "]"
        case .object(let members):
            result += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { result += "," }
                Self.write(member.name, to: &result)
                result += ":"
                member.value.write(to: &result)
            }
            result += "}"
        }
    }

    private static let hexDigits = Array("0123456789abcdef")

    private static func write(_ text: String, to result: inout String) {
        result += "\""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x22: result += "\\\""
            case 0x5C: result += "\\\\"
            case 0x0A: result += "\\n"
            case 0x09: result += "\\t"
            case 0..<0x20:
                result += "\\u00"
                result.append(hexDigits[Int(scalar.value >> 4)])
                result.append(hexDigits[Int(scalar.value & 15)])
            default: result.unicodeScalars.append(scalar)
            }
        }
        result += "\""
    }
}
