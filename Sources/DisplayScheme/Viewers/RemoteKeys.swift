/// Keys as viewers name them (X's keysyms), as events.
enum RemoteKeys {
    /// Keys without a character.
    private static let scancodes: [UInt32: UInt8] = [
        0xff50: 0x47, 0xff51: 0x4b, 0xff52: 0x48, 0xff53: 0x4d, 0xff54: 0x50, 0xff55: 0x49, 0xff56: 0x51,
        0xff57: 0x4f, 0xff63: 0x52, 0xffff: 0x53, 0xffe1: Keyboard.leftShift, 0xffe2: Keyboard.rightShift,
        0xffe3: Keyboard.control, 0xffe4: Keyboard.control, 0xffe5: Keyboard.capsLock, 0xffe9: Keyboard.alt,
        0xffea: Keyboard.altGraph, 0xfe03: Keyboard.altGraph, 0xffeb: Keyboard.superKey, 0xffec: Keyboard.superKey,
        0xffc8: 0x57, 0xffc9: 0x58,
    ]

    /// Keys whose character isn't what their number says.
    private static let characters: [UInt32: UInt32] = [
        0xff08: 0x08, 0xff09: 0x09, 0xff0a: 0x0a, 0xff0d: 0x0a, 0xff8d: 0x0a, 0xff1b: 0x1b, 0xffaa: 0x2a, 0xffab: 0x2b,
        0xffac: 0x2c, 0xffad: 0x2d, 0xffae: 0x2e, 0xffaf: 0x2f, 0x20ac: 0x20ac,
    ]

    /// The event of a key; nil for keys that are not known.
    static func event(_ symbol: UInt32, isPressed: Bool) -> InputEvent? {
        if (0xffbe...0xffc7).contains(symbol) {
            return .key(0, scancode: 0x3b + UInt8(symbol - 0xffbe), isPressed: isPressed)
        }
        if let scancode = scancodes[symbol] { return .key(0, scancode: scancode, isPressed: isPressed) }
        var character = characters[symbol]
        if (0xffb0...0xffb9).contains(symbol) { character = symbol - 0xffb0 + 0x30 }
        if (0x20...0x7e).contains(symbol) || (0xa0...0xff).contains(symbol) { character = symbol }
        if symbol & 0xff00_0000 == 0x0100_0000, Unicode.Scalar(symbol & 0xff_ffff) != nil {
            character = symbol & 0xff_ffff
        }
        guard let character else { return nil }
        return .key(character, scancode: Keyboard.scancode(of: character), isPressed: isPressed)
    }
}
