/// What the path of a window says: `FLAGS/X/Y/WIDTH/HEIGHT/TITLE` as Redox's programs open it. The flags are letters, `-` for none; they may be
/// left out.
struct WindowRequest: Equatable {
    var flags: Window.Flags
    var x: Int
    var y: Int
    var size: PixelSize
    var title: [UInt8]

    /// Whether the parts can be the beginning of a window's path.
    static func isBeginning(_ parts: [String]) -> Bool {
        var parts = parts
        guard let first = parts.first else { return true }
        if Int(first) == nil {
            guard flags(first) != nil else { return false }
            parts.removeFirst()
        }
        return parts.count <= 4 && parts.allSatisfy { Int($0) != nil }
    }

    /// Whether the next part is the title: the path is whole then.
    static func isComplete(_ parts: [String]) -> Bool {
        parts.count == (parts.first.map { Int($0) == nil } ?? false ? 5 : 4)
    }

    /// From all parts; nil if the numbers can't be those of a window.
    init?(_ parts: [String], title: [UInt8]) {
        var parts = parts
        var flags: Window.Flags = []
        if let first = parts.first, Int(first) == nil {
            guard let given = Self.flags(first) else { return nil }
            flags = given
            parts.removeFirst()
        }
        let numbers = parts.compactMap { Int($0) }
        guard numbers.count == 4, parts.count == 4, Window.positions.contains(numbers[0]),
            Window.positions.contains(numbers[1]), let size = PixelSize(width: numbers[2], height: numbers[3])
        else { return nil }
        self.flags = flags
        x = numbers[0]
        y = numbers[1]
        self.size = size
        self.title = title
    }

    private static func flags(_ text: String) -> Window.Flags? {
        if text == "-" { return [] }
        var flags: Window.Flags = []
        for letter in text {
            guard let flag = Window.Flags.flag(letter) else { return nil }
            flags.insert(flag)
        }
        return flags
    }
}
