/// Scancodes (of a PC's keyboard, set 1, as Redox's programs know them), and what keys mean.
enum Keyboard {
    static let escape: UInt8 = 0x01
    static let backspace: UInt8 = 0x0e
    static let tab: UInt8 = 0x0f
    static let enter: UInt8 = 0x1c
    static let control: UInt8 = 0x1d
    static let leftShift: UInt8 = 0x2a
    static let rightShift: UInt8 = 0x36
    static let alt: UInt8 = 0x38
    static let altGraph: UInt8 = 0x64
    static let superKey: UInt8 = 0x5b
    static let capsLock: UInt8 = 0x3a

    /// The keys with a character, in the order of their scancodes: without and with shift.
    private static let rows: [(first: UInt8, plain: String, shifted: String)] = [
        (0x02, "1234567890-=", "!@#$%^&*()_+"),
        (0x10, "qwertyuiop[]", "QWERTYUIOP{}"),
        (0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
        (0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
        (0x39, " ", " "),
    ]

    private static let scancodes: [UInt32: UInt8] = {
        var table: [UInt32: UInt8] = [0x08: backspace, 0x09: tab, 0x0a: enter, 0x0d: enter, 0x1b: escape]
        for row in rows {
            for text in [row.plain, row.shifted] {
                for (index, scalar) in text.unicodeScalars.enumerated() {
                    table[scalar.value] = row.first + UInt8(index)
                }
            }
        }
        return table
    }()

    /// The key of a character on a US keyboard; 0 if it has none.
    static func scancode(of character: UInt32) -> UInt8 { scancodes[character] ?? 0 }

    /// The events of typing a text: each character pressed and let go.
    static func typing(_ text: String) -> [InputEvent] {
        text.unicodeScalars.flatMap { scalar in
            let code = scancode(of: scalar.value)
            return [
                InputEvent.key(scalar.value, scancode: code, isPressed: true),
                InputEvent.key(scalar.value, scancode: code, isPressed: false),
            ]
        }
    }

    /// What a terminal's reader gets for a pressed key.
    static func terminalBytes(_ event: InputEvent, _ terminal: TerminalKeys) -> [UInt8] {
        guard event.isPress else { return [] }
        let arrows: [UInt8: Character] = [0x48: "A", 0x50: "B", 0x4d: "C", 0x4b: "D", 0x47: "H", 0x4f: "F"]
        if let letter = arrows[event.scancode], event.a == 0 {
            return Array("\u{1b}\(terminal.applicationCursor ? "O" : "[")\(letter)".utf8)
        }
        let pages: [UInt8: Int] = [
            0x52: 2, 0x53: 3, 0x49: 5, 0x51: 6, 0x3f: 15, 0x40: 17, 0x41: 18, 0x42: 19, 0x43: 20, 0x44: 21, 0x57: 23,
            0x58: 24,
        ]
        if let number = pages[event.scancode], event.a == 0 { return Array("\u{1b}[\(number)~".utf8) }
        let functions: [UInt8: Character] = [0x3b: "P", 0x3c: "Q", 0x3d: "R", 0x3e: "S"]
        if let letter = functions[event.scancode], event.a == 0 { return Array("\u{1b}O\(letter)".utf8) }
        switch event.scancode {
        case backspace: return [0x7f]
        case enter: return [0x0d]
        case tab: return [0x09]
        case escape: return [0x1b]
        default: break
        }
        guard let value = UInt32(exactly: event.a), value != 0, let scalar = Unicode.Scalar(value) else { return [] }
        return Array(String(Character(scalar)).utf8)
    }
}

/// What of a terminal's modes changes the bytes of keys.
struct TerminalKeys {
    var applicationCursor = false
}
