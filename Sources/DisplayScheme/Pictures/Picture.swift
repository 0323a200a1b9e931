/// A picture in memory of its own: what was composed of a display's rectangle. Words 0xAARRGGBB.
struct Picture: Sendable {
    let size: PixelSize
    var pixels: [UInt32]

    /// A black picture.
    init(_ size: PixelSize) {
        self.size = size
        pixels = [UInt32](repeating: 0xff00_0000, count: size.pixelCount)
    }

    subscript(_ x: Int, _ y: Int) -> UInt32 { pixels[y * size.width + x] }
}
