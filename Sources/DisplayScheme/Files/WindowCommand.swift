/// A command that is written to a window, as Redox's programs do.
enum WindowCommand: Equatable {
    /// `P,x,y`
    case place(x: Int, y: Int)
    /// `S,width,height`
    case size(PixelSize)
    /// `T,title`
    case title([UInt8])
    /// `F,flags,0 or 1`, `A,0 or 1` (reading never waits): letters' flags, one after the other.
    case flags([Window.Flags], Bool)
    /// `Y[,x,y,width,height]...`: these parts were drawn, or everything.
    case drawn([Rectangle])
    /// `D`: the mouse moves it as long as its button is pressed.
    case drag
    /// `M,C,0 or 1`: the arrow is seen over it. `M,G,0 or 1`: the mouse can't leave it. `M,R,0 or 1`: it is told how far the mouse was
    /// moved.
    case mouse(Window.Flags, Bool)

    /// From a line without its end; nil if it isn't known.
    init?(_ line: String) {
        let parts = line.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = parts.first else { return nil }
        let rest = parts.count == 2 ? parts[1] : ""
        let numbers = rest.split(separator: ",").map { Int($0) }
        switch name {
        case "P":
            guard numbers.count == 2, let x = numbers[0], let y = numbers[1], Window.positions.contains(x),
                Window.positions.contains(y)
            else { return nil }
            self = .place(x: x, y: y)
        case "S":
            guard numbers.count == 2, let width = numbers[0], let height = numbers[1],
                let size = PixelSize(width: width, height: height)
            else { return nil }
            self = .size(size)
        case "T": self = .title(Array(rest.utf8.prefix(255)))
        case "A":
            guard let isSet = Self.bool(rest) else { return nil }
            self = .flags([.asynchronous], isSet)
        case "F":
            let words = rest.split(separator: ",")
            guard words.count == 2, let isSet = Self.bool(words[1]) else { return nil }
            let flags = words[0].compactMap { Window.Flags.flag($0) }
            guard flags.count == words[0].count else { return nil }
            self = .flags(flags, isSet)
        case "Y":
            guard numbers.count % 4 == 0, let parts = Self.rectangles(numbers.compactMap(\.self)),
                4 * parts.count == numbers.count
            else { return nil }
            self = .drawn(parts)
        case "D":
            guard rest.isEmpty else { return nil }
            self = .drag
        case "M":
            let words = rest.split(separator: ",", omittingEmptySubsequences: false)
            guard words.count == 2, let isSet = Self.bool(words[1]) else { return nil }
            switch words[0] {
            case "C": self = .mouse(.cursorless, !isSet)
            case "G": self = .mouse(.grabbing, isSet)
            case "R": self = .mouse(.relative, isSet)
            default: return nil
            }
        default: return nil
        }
    }

    private static func bool(_ text: Substring) -> Bool? { text == "0" ? false : text == "1" ? true : nil }

    private static func rectangles(_ numbers: [Int]) -> [Rectangle]? {
        guard numbers.count % 4 == 0 else { return nil }
        return stride(from: 0, to: numbers.count, by: 4).map {
            Rectangle(x: numbers[$0], y: numbers[$0 + 1], width: numbers[$0 + 2], height: numbers[$0 + 3])
        }
    }
}
