import DiskFormat

/// A structure in a form that can be printed for people and for programs.
public indirect enum PrintedValue: Sendable, Equatable {
    /// A text, printed as it is.
    case text(String)
    /// A number.
    case number(Int64)
    /// A number that may be larger than a signed one.
    case unsigned(UInt64)
    /// Yes or no.
    case flag(Bool)
    /// Several values of a kind.
    case list([PrintedValue])
    /// Named values, in order.
    case fields([Field])
    /// A text for people, and what it says for programs.
    case described(String, PrintedValue)
    /// Nothing.
    case none

    /// A named value.
    public struct Field: Sendable, Equatable {
        /// The name.
        public var name: String
        /// The value.
        public var value: PrintedValue

        /// A named value.
        public init(_ name: String, _ value: PrintedValue) {
            self.name = name
            self.value = value
        }
    }

    /// For people: a line per value, what belongs to something indented below it.
    public var text: String {
        var lines: [String] = []
        appendText(to: &lines, indent: "", name: nil)
        return lines.joined(separator: "\n")
    }

    private var short: String? {
        switch self {
        case .text(let text), .described(let text, _): text
        case .number(let number): String(number)
        case .unsigned(let number): String(number)
        case .flag(let flag): flag ? "yes" : "no"
        case .none: "none"
        case .list(let values): values.isEmpty ? "none" : nil
        case .fields(let fields): fields.isEmpty ? "none" : nil
        }
    }

    private func appendText(to lines: inout [String], indent: String, name: String?) {
        if let short {
            lines.append(indent + (name.map { "\($0): " } ?? "") + short)
            return
        }
        if let name {
            lines.append(indent + name + ":")
        }
        let inner = name == nil ? indent : indent + "  "
        switch self {
        case .list(let values):
            for value in values {
                // The members of a list of structures are told apart by a dash before the first field.
                var part: [String] = []
                value.appendText(to: &part, indent: "", name: nil)
                for (index, line) in part.enumerated() {
                    lines.append(inner + (part.count == 1 ? "" : index == 0 ? "- " : "  ") + line)
                }
            }
        case .fields(let fields):
            for field in fields {
                field.value.appendText(to: &lines, indent: inner, name: field.name)
            }
        default:
            break
        }
    }

    /// For programs: JSON (RFC 8259) on one line.
    public var json: String {
        switch self {
        case .text(let text): Self.quoted(text)
        case .number(let number): String(number)
        case .unsigned(let number): String(number)
        case .flag(let flag): flag ? "true" : "false"
        case .described(_, let value): value.json
        case .none: "null"
        case .list(let values): "[" + values.map(\.json).joined(separator: ",") + "]"
        case .fields(let fields):
            "{" + fields.map { Self.quoted($0.name) + ":" + $0.value.json }.joined(separator: ",") + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            default:
                if scalar.value < 32 {
                    result += "\\u00" + hexadecimal(UInt8(scalar.value))
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}

extension PrintedValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral {
    /// A text.
    public init(stringLiteral value: String) { self = .text(value) }
    /// A flag.
    public init(booleanLiteral value: Bool) { self = .flag(value) }

    init(_ pointer: BlockPointer) {
        self = pointer.isNull ? .none : .described("\(pointer)", .fields(Self.place(pointer)))
    }

    init(_ time: Timespec) {
        let digits = String(time.nanoseconds)
        self = .text("\(time.seconds).\(String(repeating: "0", count: max(0, 9 - digits.count)))\(digits)")
    }

    init(_ bytes: Bytes16) {
        let digits = bytes.bytes.map(hexadecimal)
        let parts = [digits[..<4], digits[4..<6], digits[6..<8], digits[8..<10], digits[10...]]
        self = .text(parts.map { $0.joined() }.joined(separator: "-"))
    }

    /// Where a pointer leads, and the hash of what must be there.
    static func place(_ pointer: BlockPointer) -> [Field] {
        [
            .init("block", .unsigned(pointer.address.number)), .init("blocks", .unsigned(pointer.address.blockCount)),
            .init("compressed", .flag(pointer.address.isCompressed)),
            .init("hash", .text(String(pointer.hash, radix: 16))),
        ]
    }
}
