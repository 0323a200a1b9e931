/// Puts together what is seen on a display: its pixels, on display 0 the windows over them, the arrow of the mouse.
enum Compositor {
    private static let barColors: (focused: UInt32, other: UInt32) = (0xff2f_5d8a, 0xff3c_3f45)
    private static let frameColor: UInt32 = 0xff1c_1e22
    private static let titleColors: (focused: UInt32, other: UInt32) = (0xffff_ffff, 0xffb0_b0b0)

    /// What is seen in a rectangle, row by row; empty if there is no such display.
    static func compose(_ core: DisplayCore, _ number: Int, _ wanted: Rectangle) -> [UInt32] {
        guard let display = core.state.displays[number] else { return [] }
        let part = wanted.intersection(display.size.bounds)
        guard !part.isEmpty else { return [] }
        var target = Canvas(part)
        let pixels = core.memory.pixels(number, display.size)
        target.copy(pixels, at: (0, 0), opacity: false)
        if number == 0 {
            let focus = core.focus
            for (index, window) in core.state.windows.enumerated()
            where !window.flags.contains(.hidden) && !window.frame.intersection(part).isEmpty {
                draw(window, isFocused: index == focus, core.memory.pixels(window), &target)
            }
        }
        if core.isPointerVisible(number) { drawPointer(display.pointer, &target) }
        return target.pixels
    }

    /// The whole display as a picture; nil if there is none.
    static func picture(_ core: DisplayCore, _ number: Int) -> Picture? {
        guard let display = core.state.displays[number] else { return nil }
        var picture = Picture(display.size)
        picture.pixels = compose(core, number, display.size.bounds)
        return picture
    }

    private static func draw(_ window: Window, isFocused: Bool, _ pixels: PixelArea, _ target: inout Canvas) {
        if !window.flags.contains(.borderless) {
            target.fill(window.frame, frameColor)
            let bar = Rectangle(
                x: window.x, y: window.y - Window.titleBarHeight + 1, width: window.size.width,
                height: Window.titleBarHeight - 1)
            let colors = isFocused ? (barColors.focused, titleColors.focused) : (barColors.other, titleColors.other)
            target.fill(bar, colors.0)
            let button = window.closeButton
            let room = window.size.width - 8 - button.width
            let title = String(decoding: window.title, as: UTF8.self).unicodeScalars.prefix(
                max(0, room / ConsoleFont.width))
            for (index, scalar) in title.enumerated() {
                target.draw(
                    scalar.value, x: window.x + 8 + index * ConsoleFont.width, y: bar.y + 4, color: colors.1)
            }
            if !button.isEmpty { target.draw(0xd7, x: button.x + 8, y: bar.y + 4, color: colors.1) }
        }
        target.copy(pixels, at: (window.x, window.y), opacity: window.flags.contains(.transparent))
    }

    private static func drawPointer(_ pointer: DisplayState.Pointer, _ target: inout Canvas) {
        let bounds = PointerArrow.bounds(pointer.x, pointer.y)
        for y in 0..<bounds.height {
            for x in 0..<bounds.width {
                if let color = PointerArrow.pixel(x, y) { target.set(pointer.x + x, pointer.y + y, color) }
            }
        }
    }
}

/// A rectangle of a display that is being composed. Places are those of the display; what is outside is left out.
struct Canvas {
    let bounds: Rectangle
    private(set) var pixels: [UInt32]

    init(_ bounds: Rectangle) {
        self.bounds = bounds
        pixels = [UInt32](repeating: 0xff00_0000, count: bounds.width * bounds.height)
    }

    mutating func set(_ x: Int, _ y: Int, _ color: UInt32) {
        guard bounds.contains(x, y) else { return }
        pixels[(y - bounds.y) * bounds.width + x - bounds.x] = color
    }

    mutating func fill(_ rectangle: Rectangle, _ color: UInt32) {
        let part = rectangle.intersection(bounds)
        guard !part.isEmpty else { return }
        for y in part.y..<part.bottom {
            let start = (y - bounds.y) * bounds.width + part.x - bounds.x
            for index in start..<(start + part.width) { pixels[index] = color }
        }
    }

    mutating func draw(_ character: UInt32, x: Int, y: Int, color: UInt32) {
        let start = ConsoleFont.start(character)
        let bits = ConsoleFont.bits
        for line in 0..<ConsoleFont.height {
            for column in 0..<ConsoleFont.width where bits[start + line] & (0x80 >> UInt8(column)) != 0 {
                set(x + column, y + line, color)
            }
        }
    }

    /// Puts pixels at a place; with `opacity` what is below shines through.
    mutating func copy(_ source: PixelArea, at place: (x: Int, y: Int), opacity: Bool) {
        let area = Rectangle(x: place.x, y: place.y, width: source.size.width, height: source.size.height)
        let part = area.intersection(bounds)
        guard !part.isEmpty else { return }
        unsafe pixels.withUnsafeMutableBufferPointer { pixels in
            for y in part.y..<part.bottom {
                let start = (y - bounds.y) * bounds.width + part.x - bounds.x
                unsafe source.withRow(y - place.y, from: part.x - place.x, count: part.width) { row in
                    for index in 0..<part.width {
                        let pixel = unsafe row[index]
                        if opacity {
                            unsafe pixels[start + index] = Self.blend(pixel, over: pixels[start + index])
                        } else {
                            unsafe pixels[start + index] = pixel | 0xff00_0000
                        }
                    }
                }
            }
        }
    }

    /// A pixel of some opacity over an opaque one.
    static func blend(_ pixel: UInt32, over below: UInt32) -> UInt32 {
        let opacity = pixel >> 24
        if opacity == 255 { return pixel }
        if opacity == 0 { return below }
        var result: UInt32 = 0xff00_0000
        for shift in [UInt32(0), 8, 16] {
            let mixed = (pixel >> shift & 0xff) * opacity + (below >> shift & 0xff) * (255 - opacity)
            result |= ((mixed + 127) / 255) << shift
        }
        return result
    }
}
