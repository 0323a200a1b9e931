import Platform

/// Pixels in memory: rows from the upper to the lower, each pixel a word 0xAARRGGBB (bytes blue, green, red, opacity).
///
/// The memory can be shared: whoever else writes it changes a picture, nothing more.
@safe
struct PixelArea {
    let size: PixelSize
    private let memory: SharedMapping
    private let offset: Int

    /// The pixels at an offset of a mapping, which must have room for them.
    init(_ memory: SharedMapping, at offset: Int, _ size: PixelSize) {
        precondition(offset & 3 == 0 && offset >= 0 && size.byteCount <= memory.byteCount - offset)
        self.memory = memory
        self.offset = offset
        self.size = size
    }

    /// One pixel; it must be inside.
    subscript(_ x: Int, _ y: Int) -> UInt32 {
        precondition(size.bounds.contains(x, y))
        return memory.load32(offset + 4 * (y * size.width + x))
    }

    /// All bytes.
    var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = memory.bytes(offset, count: size.byteCount, heldBy: memory)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Works on the pixels of one row: `body` gets the words from column `x` on.
    @inline(__always)
    func withRow(_ y: Int, from x: Int, count: Int, _ body: (UnsafeMutableBufferPointer<UInt32>) -> Void) {
        precondition(y >= 0 && y < size.height && x >= 0 && count >= 0 && count <= size.width - x)
        var bytes = memory.mutableBytes(offset + 4 * (y * size.width + x), count: 4 * count)
        unsafe bytes.withUnsafeMutableBytes { raw in
            unsafe raw.withMemoryRebound(to: UInt32.self) { unsafe body($0) }
        }
    }

    /// Gives a rectangle one colour.
    func fill(_ rectangle: Rectangle, _ color: UInt32) {
        let part = rectangle.intersection(size.bounds)
        guard !part.isEmpty else { return }
        for y in part.y..<part.bottom {
            unsafe withRow(y, from: part.x, count: part.width) { row in unsafe row.update(repeating: color) }
        }
    }

    /// Draws a glyph at a place where it fits.
    func draw(_ character: UInt32, x: Int, y: Int, foreground: UInt32, background: UInt32, _ bits: [UInt8]) {
        let start = ConsoleFont.start(character)
        for line in 0..<ConsoleFont.height {
            let row = bits[start + line]
            unsafe withRow(y + line, from: x, count: ConsoleFont.width) { pixels in
                for column in 0..<ConsoleFont.width {
                    unsafe pixels[column] = row & (0x80 >> UInt8(column)) != 0 ? foreground : background
                }
            }
        }
    }
}
