/// Something that a user did: a key, the mouse. In 24 bytes as Redox's programs know it (orbclient), or as a line of text.
///
///     0  code i64    8  a i64    16  b i64
struct InputEvent: Equatable, Sendable {
    /// Bytes of a record.
    static let byteCount = 24

    /// Kinds of events, with Redox's numbers.
    enum Code: Int64, CaseIterable {
        case key = 1
        case mouse = 2
        case button = 3
        case scroll = 4
        case quit = 5
        case focus = 6
        case move = 7
        case resize = 8
        case screen = 9
        case clipboard = 10
        case relative = 11
        case drop = 12
        case clipboardUpdate = 14

        /// The word that the line begins with.
        var name: String { self == .clipboardUpdate ? "clipboard-update" : "\(self)" }

        /// How many numbers follow the name.
        var fieldCount: Int {
            switch self {
            case .quit, .clipboardUpdate: 0
            case .button, .focus, .drop: 1
            case .key: 3
            default: 2
            }
        }
    }

    var code: Int64
    var a: Int64
    var b: Int64

    init(code: Int64, a: Int64, b: Int64) {
        self.code = code
        self.a = a
        self.b = b
    }

    init(_ code: Code, _ a: Int64 = 0, _ b: Int64 = 0) { self.init(code: code.rawValue, a: a, b: b) }

    /// A key: the character that it gives (0: none), its scancode, and whether it was pressed or let go.
    static func key(_ character: UInt32, scancode: UInt8, isPressed: Bool) -> InputEvent {
        InputEvent(.key, Int64(character), Int64(scancode) | (isPressed ? 0x100 : 0))
    }

    var kind: Code? { Code(rawValue: code) }

    /// Whether a key was pressed, rather than let go.
    var isPress: Bool { kind == .key && b & 0x100 != 0 }

    /// A key's scancode.
    var scancode: UInt8 { UInt8(truncatingIfNeeded: b) }

    // MARK: Bytes

    /// The 24 bytes.
    var bytes: [UInt8] {
        var writer = StateWriter()
        for value in [code, a, b] { writer.put(UInt64(bitPattern: value)) }
        return writer.bytes
    }

    /// From 24 bytes; nil if there are fewer.
    init?(_ bytes: ArraySlice<UInt8>) {
        guard bytes.count >= Self.byteCount else { return nil }
        var reader = StateReader(Array(bytes.prefix(Self.byteCount)))
        code = Int64(bitPattern: reader.uint64())
        a = Int64(bitPattern: reader.uint64())
        b = Int64(bitPattern: reader.uint64())
    }

    // MARK: Lines

    /// The line, with its end: `key 97 30 1` (character, scancode, pressed), `mouse 10 20`, `button 1`, ... A kind without a name is
    /// `event CODE A B`.
    var line: String {
        guard let kind else { return "event \(code) \(a) \(b)\n" }
        switch kind {
        case .key: return "key \(a) \(b & 0xff) \(b >> 8 & 1)\n"
        case _ where kind.fieldCount == 0: return "\(kind.name)\n"
        case _ where kind.fieldCount == 1: return "\(kind.name) \(a)\n"
        default: return "\(kind.name) \(a) \(b)\n"
        }
    }

    /// The events of a line without its end: one, or for `type TEXT` those of typing the text; nil if it says nothing that is known.
    static func events(line: String) -> [InputEvent]? {
        if line.hasPrefix("type ") { return Keyboard.typing(String(line.dropFirst(5))) }
        let words = line.split(separator: " ")
        guard let name = words.first else { return [] }
        var numbers: [Int64] = []
        for word in words.dropFirst() {
            guard let number = Int64(word) else { return nil }
            numbers.append(number)
        }
        if name == "event" {
            guard numbers.count == 3 else { return nil }
            return [InputEvent(code: numbers[0], a: numbers[1], b: numbers[2])]
        }
        guard let kind = Code.allCases.first(where: { $0.name == name }), numbers.count == kind.fieldCount else {
            return nil
        }
        switch kind.fieldCount {
        case 0: return [InputEvent(kind)]
        case 1: return [InputEvent(kind, numbers[0])]
        case 3:
            guard let scancode = UInt8(exactly: numbers[1]), let character = UInt32(exactly: numbers[0]),
                numbers[2] == 0 || numbers[2] == 1
            else { return nil }
            return [.key(character, scancode: scancode, isPressed: numbers[2] == 1)]
        default: return [InputEvent(kind, numbers[0], numbers[1])]
        }
    }
}
