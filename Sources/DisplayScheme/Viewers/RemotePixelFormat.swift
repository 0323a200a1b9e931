/// How a viewer wants pixels (RFC 6143, PIXEL_FORMAT, 16 bytes).
struct RemotePixelFormat: Equatable {
    var bitsPerPixel: Int
    var depth: Int
    var isBigEndian: Bool
    var maximum: (red: UInt32, green: UInt32, blue: UInt32)
    var shift: (red: UInt32, green: UInt32, blue: UInt32)

    static let byteCount = 16

    /// The one that pixels have in memory: 32 bits, 0x00RRGGBB, little-endian.
    static let native = RemotePixelFormat(
        bitsPerPixel: 32, depth: 24, isBigEndian: false, maximum: (255, 255, 255), shift: (16, 8, 0))

    private init(
        bitsPerPixel: Int, depth: Int, isBigEndian: Bool, maximum: (red: UInt32, green: UInt32, blue: UInt32),
        shift: (red: UInt32, green: UInt32, blue: UInt32)
    ) {
        self.bitsPerPixel = bitsPerPixel
        self.depth = depth
        self.isBigEndian = isBigEndian
        self.maximum = maximum
        self.shift = shift
    }

    /// From a viewer's 16 bytes; nil if they make no sense, or ask for a palette.
    init?(_ bytes: ArraySlice<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count >= Self.byteCount, [8, 16, 32].contains(bytes[0]), bytes[3] != 0 else { return nil }
        bitsPerPixel = Int(bytes[0])
        depth = Int(bytes[1])
        isBigEndian = bytes[2] != 0
        func maximum(_ index: Int) -> UInt32 { UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1]) }
        self.maximum = (maximum(4), maximum(6), maximum(8))
        shift = (UInt32(bytes[10]), UInt32(bytes[11]), UInt32(bytes[12]))
        guard max(shift.red, shift.green, shift.blue) < 32 else { return nil }
    }

    static func == (left: RemotePixelFormat, right: RemotePixelFormat) -> Bool {
        left.bitsPerPixel == right.bitsPerPixel && left.depth == right.depth && left.isBigEndian == right.isBigEndian
            && left.maximum == right.maximum && left.shift == right.shift
    }

    /// The 16 bytes.
    var bytes: [UInt8] {
        var bytes: [UInt8] = [UInt8(bitsPerPixel), UInt8(depth), isBigEndian ? 1 : 0, 1]
        for value in [maximum.red, maximum.green, maximum.blue] {
            bytes += [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
        }
        for value in [shift.red, shift.green, shift.blue] { bytes.append(UInt8(truncatingIfNeeded: value)) }
        return bytes + [0, 0, 0]
    }

    /// Which bytes of a pixel are written.
    enum Packing: Equatable {
        case whole
        /// Without the byte that says nothing: of the bytes from the lowest on, these.
        case bytes(Range<Int>)
        /// Red, green, blue.
        case colors
    }

    /// How Tight writes single pixels.
    var tightPacking: Packing {
        bitsPerPixel == 32 && depth == 24 && maximum == (255, 255, 255) ? .colors : .whole
    }

    /// How ZRLE writes single pixels.
    var zrlePacking: Packing {
        guard bitsPerPixel == 32, depth <= 24 else { return .whole }
        let used = maximum.red << shift.red | maximum.green << shift.green | maximum.blue << shift.blue
        if used & 0xff00_0000 == 0 { return .bytes(0..<3) }
        return used & 0xff == 0 ? .bytes(1..<4) : .whole
    }

    /// Adds pixels 0xAARRGGBB as the viewer wants them.
    func append(_ pixels: [UInt32], _ packing: Packing = .whole, to output: inout [UInt8]) {
        if packing == .whole, self == .native {
            unsafe pixels.withUnsafeBytes { unsafe output.append(contentsOf: $0) }
            return
        }
        let places: Range<Int>
        switch packing {
        case .colors:
            output.reserveCapacity(output.count + 3 * pixels.count)
            for pixel in pixels {
                output.append(UInt8(truncatingIfNeeded: pixel >> 16))
                output.append(UInt8(truncatingIfNeeded: pixel >> 8))
                output.append(UInt8(truncatingIfNeeded: pixel))
            }
            return
        case .whole: places = 0..<(bitsPerPixel / 8)
        case .bytes(let range): places = range
        }
        output.reserveCapacity(output.count + pixels.count * places.count)
        let isPlain = maximum == (255, 255, 255)
        for pixel in pixels {
            var (red, green, blue) = (pixel >> 16 & 0xff, pixel >> 8 & 0xff, pixel & 0xff)
            if !isPlain {
                red = red * maximum.red / 255
                green = green * maximum.green / 255
                blue = blue * maximum.blue / 255
            }
            let value = red << shift.red | green << shift.green | blue << shift.blue
            for index in places {
                let byte = isBigEndian ? places.upperBound - 1 - (index - places.lowerBound) : index
                output.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)))
            }
        }
    }
}
