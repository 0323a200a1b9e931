/// How a viewer wants pixels (RFC 6143, PIXEL_FORMAT, 16 bytes).
struct RemotePixelFormat: Equatable {
    var bitsPerPixel: Int
    var isBigEndian: Bool
    var maximum: (red: UInt32, green: UInt32, blue: UInt32)
    var shift: (red: UInt32, green: UInt32, blue: UInt32)

    static let byteCount = 16

    /// The one that pixels have in memory: 32 bits, 0x00RRGGBB, little-endian.
    static let native = RemotePixelFormat(
        bitsPerPixel: 32, isBigEndian: false, maximum: (255, 255, 255), shift: (16, 8, 0))

    private init(
        bitsPerPixel: Int, isBigEndian: Bool, maximum: (red: UInt32, green: UInt32, blue: UInt32),
        shift: (red: UInt32, green: UInt32, blue: UInt32)
    ) {
        self.bitsPerPixel = bitsPerPixel
        self.isBigEndian = isBigEndian
        self.maximum = maximum
        self.shift = shift
    }

    /// From a viewer's 16 bytes; nil if they make no sense, or ask for a palette.
    init?(_ bytes: ArraySlice<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count >= Self.byteCount, [8, 16, 32].contains(bytes[0]), bytes[3] != 0 else { return nil }
        bitsPerPixel = Int(bytes[0])
        isBigEndian = bytes[2] != 0
        func maximum(_ index: Int) -> UInt32 { UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1]) }
        self.maximum = (maximum(4), maximum(6), maximum(8))
        shift = (UInt32(bytes[10]), UInt32(bytes[11]), UInt32(bytes[12]))
        guard max(shift.red, shift.green, shift.blue) < 32 else { return nil }
    }

    static func == (left: RemotePixelFormat, right: RemotePixelFormat) -> Bool {
        left.bitsPerPixel == right.bitsPerPixel && left.isBigEndian == right.isBigEndian
            && left.maximum == right.maximum && left.shift == right.shift
    }

    /// The 16 bytes.
    var bytes: [UInt8] {
        var bytes: [UInt8] = [UInt8(bitsPerPixel), 24, isBigEndian ? 1 : 0, 1]
        for value in [maximum.red, maximum.green, maximum.blue] {
            bytes += [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
        }
        for value in [shift.red, shift.green, shift.blue] { bytes.append(UInt8(truncatingIfNeeded: value)) }
        return bytes + [0, 0, 0]
    }

    /// Adds pixels 0xAARRGGBB as the viewer wants them.
    func append(_ pixels: [UInt32], to output: inout [UInt8]) {
        if self == .native {
            unsafe pixels.withUnsafeBytes { unsafe output.append(contentsOf: $0) }
            return
        }
        output.reserveCapacity(output.count + pixels.count * bitsPerPixel / 8)
        for pixel in pixels {
            let red = (pixel >> 16 & 0xff) * maximum.red / 255
            let green = (pixel >> 8 & 0xff) * maximum.green / 255
            let blue = (pixel & 0xff) * maximum.blue / 255
            let value = red << shift.red | green << shift.green | blue << shift.blue
            for index in 0..<(bitsPerPixel / 8) {
                let byte = isBigEndian ? bitsPerPixel / 8 - 1 - index : index
                output.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)))
            }
        }
    }
}
