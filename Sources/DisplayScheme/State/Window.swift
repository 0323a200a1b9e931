/// A window on display 0.
struct Window: Equatable {
    /// How a window looks and behaves: the letters of Redox's Orbital.
    struct Flags: OptionSet, Equatable {
        let rawValue: UInt32
        /// `a`: reading never waits.
        static let asynchronous = Flags(rawValue: 1 << 0)
        /// `b`: below all others.
        static let back = Flags(rawValue: 1 << 1)
        /// `f`: above all others.
        static let front = Flags(rawValue: 1 << 2)
        /// `h`: not shown.
        static let hidden = Flags(rawValue: 1 << 3)
        /// `l`: no title bar.
        static let borderless = Flags(rawValue: 1 << 4)
        /// `r`: its user may change the size.
        static let resizable = Flags(rawValue: 1 << 5)
        /// `t`: its pixels' opacity counts.
        static let transparent = Flags(rawValue: 1 << 6)
        /// `u`: no button to close it.
        static let unclosable = Flags(rawValue: 1 << 7)
        // Set by commands only, so without a letter.
        /// No arrow over its content.
        static let cursorless = Flags(rawValue: 1 << 8)
        /// As long as it has the keys, the mouse can't leave its content.
        static let grabbing = Flags(rawValue: 1 << 9)
        /// As long as it has the keys, it is told how far the mouse was moved, not where it is.
        static let relative = Flags(rawValue: 1 << 10)

        private static let letters: [(Character, Flags)] = [
            ("a", .asynchronous), ("b", .back), ("f", .front), ("h", .hidden), ("l", .borderless), ("r", .resizable),
            ("t", .transparent), ("u", .unclosable),
        ]

        /// The flag of a letter; nil for others.
        static func flag(_ letter: Character) -> Flags? { letters.first { $0.0 == letter }?.1 }

        /// The letters.
        var text: String { String(Self.letters.filter { contains($0.1) }.map(\.0)) }
    }

    static let titleBarHeight = 24

    /// Its number: different for all windows that there ever were.
    let id: UInt32
    /// Where its pixels and events lie: an index below `DisplayMemory.windowCount`.
    let place: UInt32
    var flags: Flags
    /// Where the content is on the display; the title bar is above it.
    var x: Int
    var y: Int
    var size: PixelSize
    var title: [UInt8]
    var uid: UInt32
    var gid: UInt32
    var events = DisplayState.EventQueue()
    /// That of the number that its pixels are looked up by.
    var version: UInt32 = 0

    /// Its pixels in `windows`.
    var pixelsNode: DisplayNode { .windowPixels(id, version: version & DisplayNode.versionMask) }

    /// The part of the display that it covers, title bar and frame included.
    var frame: Rectangle {
        if flags.contains(.borderless) { return content }
        return Rectangle(
            x: x - 1, y: y - Self.titleBarHeight, width: size.width + 2, height: size.height + Self.titleBarHeight + 1)
    }

    /// The part of the display that its pixels cover.
    var content: Rectangle { Rectangle(x: x, y: y, width: size.width, height: size.height) }

    /// The button that closes it.
    var closeButton: Rectangle {
        guard !flags.contains(.borderless), !flags.contains(.unclosable) else { return Rectangle(width: 0, height: 0) }
        return Rectangle(
            x: x + size.width - Self.titleBarHeight, y: y - Self.titleBarHeight, width: Self.titleBarHeight,
            height: Self.titleBarHeight)
    }

    func encode(into writer: inout StateWriter) {
        writer.put(id)
        writer.put(place)
        writer.put(flags.rawValue)
        writer.put(x)
        writer.put(y)
        writer.put(size.width)
        writer.put(size.height)
        writer.put(title)
        writer.put(uid)
        writer.put(gid)
        events.encode(into: &writer)
    }

    init?(decoding reader: inout StateReader) {
        id = reader.uint32()
        place = reader.uint32()
        flags = Flags(rawValue: reader.uint32())
        x = reader.int()
        y = reader.int()
        guard let size = PixelSize(width: reader.int(), height: reader.int()), place < DisplayMemory.windowCount,
            Self.positions.contains(x), Self.positions.contains(y)
        else { return nil }
        self.size = size
        title = reader.array()
        uid = reader.uint32()
        gid = reader.uint32()
        events = DisplayState.EventQueue(decoding: &reader)
    }

    init(
        id: UInt32, place: UInt32, flags: Flags, x: Int, y: Int, size: PixelSize, title: [UInt8], uid: UInt32,
        gid: UInt32
    ) {
        self.id = id
        self.place = place
        self.flags = flags
        self.x = x
        self.y = y
        self.size = size
        self.title = title
        self.uid = uid
        self.gid = gid
    }

    /// Where a window may be.
    static let positions = -65536...65536
}
