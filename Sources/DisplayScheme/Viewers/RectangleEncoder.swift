/// Ways to write a rectangle's pixels (RFC 6143), and Tight as its viewers know it.
enum RectangleEncoding: Int32 {
    case raw = 0
    case tight = 7
    case zrle = 16
}

/// How a viewer wants rectangles.
struct RectangleStyle: Equatable {
    var encoding = RectangleEncoding.raw
    var format = RemotePixelFormat.native
    /// zlib's level.
    var level = 1
}

/// Writes rectangles. What is packed never refers to what was packed before: another process can go on.
///
/// ZRLE has one zlib stream for a whole connection. Only its two first bytes belong to it alone, all else are blocks that stand for
/// themselves. Tight begins its stream anew with each rectangle. JPEG isn't among them: viewers get exactly what is shown.
final class RectangleEncoder {
    private let tightStream = Deflater(hasHeader: true)
    private let zrleStream = Deflater(hasHeader: false)

    private static let tileSide = 64
    /// Tight packs nothing that is shorter.
    private static let shortestPacked = 12

    /// Adds a rectangle's data, row by row in `pixels`; false if there is no memory.
    ///
    /// - Parameter zrleHasBegun: whether the viewer has the beginning of its stream.
    func append(
        _ pixels: [UInt32], width: Int, _ style: RectangleStyle, zrleHasBegun: inout Bool, to output: inout [UInt8]
    ) -> Bool {
        switch style.encoding {
        case .raw: style.format.append(pixels, to: &output)
        case .tight: return appendTight(pixels, style, &output)
        case .zrle:
            guard let packed = zrleStream.pack(Self.tiles(pixels, width: width, style.format), level: style.level)
            else { return false }
            let begin: [UInt8] = zrleHasBegun ? [] : [0x78, 0x01]
            zrleHasBegun = true
            let count = packed.count + begin.count
            for shift in [24, 16, 8, 0] { output.append(UInt8(truncatingIfNeeded: count >> shift)) }
            output += begin
            output += packed
        }
        return true
    }

    private func appendTight(_ pixels: [UInt32], _ style: RectangleStyle, _ output: inout [UInt8]) -> Bool {
        let packing = style.format.tightPacking
        if Self.isOneColor(pixels[...]) {
            output.append(0x80)
            style.format.append(Array(pixels.prefix(1)), packing, to: &output)
            return true
        }
        var data: [UInt8] = []
        style.format.append(pixels, packing, to: &data)
        // The stream of number 0, begun anew; no filter.
        output.append(0x01)
        if data.count < Self.shortestPacked {
            output += data
            return true
        }
        guard let packed = tightStream.pack(data, level: style.level) else { return false }
        var count = packed.count
        while true {
            let part = UInt8(count & 0x7f)
            count >>= 7
            output.append(count > 0 ? part | 0x80 : part)
            if count == 0 { break }
        }
        output += packed
        return true
    }

    private static func tiles(_ pixels: [UInt32], width: Int, _ format: RemotePixelFormat) -> [UInt8] {
        let packing = format.zrlePacking
        let height = width > 0 ? pixels.count / width : 0
        var data: [UInt8] = []
        data.reserveCapacity(pixels.count * 4 + 64)
        var tile: [UInt32] = []
        for top in stride(from: 0, to: height, by: tileSide) {
            for left in stride(from: 0, to: width, by: tileSide) {
                let count = min(tileSide, width - left)
                tile.removeAll(keepingCapacity: true)
                for y in top..<min(top + tileSide, height) {
                    tile += pixels[(y * width + left)..<(y * width + left + count)]
                }
                if isOneColor(tile[...]) {
                    data.append(1)
                    format.append([tile[0]], packing, to: &data)
                } else {
                    data.append(0)
                    format.append(tile, packing, to: &data)
                }
            }
        }
        return data
    }

    private static func isOneColor(_ pixels: ArraySlice<UInt32>) -> Bool {
        guard let first = pixels.first else { return false }
        return pixels.allSatisfy { $0 == first }
    }
}
