/// A value of JSON (RFC 8259), for what the system tells about itself.
public enum JSON: Sendable {
    /// Members in their order.
    case object([(String, JSON)])
    /// Elements.
    case array([JSON])
    /// A whole number.
    case number(Int64)
    /// A whole number.
    case count(UInt64)
    /// A text.
    case text(String)
    /// true or false.
    case flag(Bool)
    /// null.
    case nothing

    /// The text, with a line per member.
    public var text: String {
        var result = ""
        write(to: &result, indent: 0)
        return result + "\n"
    }

    private func write(to result: inout String, indent: Int) {
        switch self {
        case .object(let members):
            Self.list(members, "{", "}", &result, indent) { member, result in
                Self.quote(member.0, &result)
                result += ": "
                member.1.write(to: &result, indent: indent + 1)
            }
        case .array(let elements):
            let isFlat = elements.allSatisfy { element in
                switch element {
                case .object, .array: false
                default: true
                }
            }
            if isFlat {
                result += "["
                for (index, element) in elements.enumerated() {
                    if index > 0 { result += ", " }
                    element.write(to: &result, indent: indent)
                }
                result += "]"
            } else {
                Self.list(elements, "[", "]", &result, indent) { element, result in
                    element.write(to: &result, indent: indent + 1)
                }
            }
        case .number(let number): result += String(number)
        case .count(let number): result += String(number)
        case .text(let text): Self.quote(text, &result)
        case .flag(let flag): result += flag ? "true" : "false"
        case .nothing: result += "null"
        }
    }

    private static func list<Element>(
        _ elements: [Element], _ open: String, _ close: String, _ result: inout String, _ indent: Int,
        _ body: (Element, inout String) -> Void
    ) {
        guard !elements.isEmpty else {
            result += open + close
            return
        }
        result += open
        for (index, element) in elements.enumerated() {
            result += index > 0 ? ",\n" : "\n"
            result += String(repeating: "  ", count: indent + 1)
            body(element, &result)
        }
        result += "\n" + String(repeating: "  ", count: indent) + close
    }

    private static func quote(_ text: String, _ result: inout String) {
        result += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        result += "\""
    }
}
