import CZlib
import SystemPackage
import Testing

@testable import DisplayScheme

/// A viewer's view of updates in 32 bits, blue in the lowest: what `RectangleEncoder` writes, read by other code.
struct RectangleReader {
    private let zrle = Inflater()
    private var tight = Inflater()
    private(set) var canvas: [UInt32] = []

    /// Reads one update and returns the whole picture, which has this width.
    mutating func update(width: Int, height: Int, _ hear: (Int) throws -> [UInt8]) throws -> [UInt32] {
        if canvas.count != width * height { canvas = [UInt32](repeating: 0, count: width * height) }
        let head = try hear(4)
        try #require(head[0] == 0)
        for _ in 0..<(Int(head[2]) << 8 | Int(head[3])) {
            let bytes = try hear(12)
            let numbers = (0..<4).map { Int(bytes[2 * $0]) << 8 | Int(bytes[2 * $0 + 1]) }
            let part = Rectangle(x: numbers[0], y: numbers[1], width: numbers[2], height: numbers[3])
            try #require(part.right <= width && part.bottom <= height && !part.isEmpty && bytes[8..<11] == [0, 0, 0])
            let pixels = try read(try #require(RectangleEncoding(rawValue: Int32(bytes[11]))), part, hear)
            for y in 0..<part.height {
                let start = (part.y + y) * width + part.x
                canvas.replaceSubrange(
                    start..<(start + part.width), with: pixels[(y * part.width)..<((y + 1) * part.width)])
            }
        }
        return canvas
    }

    private mutating func read(
        _ encoding: RectangleEncoding, _ part: Rectangle, _ hear: (Int) throws -> [UInt8]
    ) throws -> [UInt32] {
        let count = part.width * part.height
        switch encoding {
        case .raw:
            let bytes = try hear(4 * count)
            return (0..<count).map { Self.pixel(bytes[4 * $0 + 2], bytes[4 * $0 + 1], bytes[4 * $0]) }
        case .tight:
            let control = try hear(1)[0]
            if control & 0x0f != 0 { tight = Inflater() }
            if control >> 4 == 8 {
                let color = try hear(3)
                return [UInt32](repeating: Self.pixel(color[0], color[1], color[2]), count: count)
            }
            try #require(control >> 4 == 0)
            var bytes: [UInt8]
            if 3 * count < 12 {
                bytes = try hear(3 * count)
            } else {
                var size = 0
                for shift in [0, 7, 14] {
                    let byte = try hear(1)[0]
                    size |= Int(byte & (shift == 14 ? 0xff : 0x7f)) << shift
                    if byte & 0x80 == 0 { break }
                }
                bytes = try tight.unpack(try hear(size))
            }
            try #require(bytes.count == 3 * count)
            return (0..<count).map { Self.pixel(bytes[3 * $0], bytes[3 * $0 + 1], bytes[3 * $0 + 2]) }
        case .zrle:
            let size = try hear(4).reduce(0) { $0 << 8 | Int($1) }
            return try Self.tiles(part, try zrle.unpack(try hear(size)))
        }
    }

    private static func tiles(_ part: Rectangle, _ bytes: [UInt8]) throws -> [UInt32] {
        var pixels = [UInt32](repeating: 0, count: part.width * part.height)
        var rest = bytes[...]
        func next() throws -> UInt32 {
            try #require(rest.count >= 3)
            let color = Array(rest.prefix(3))
            rest = rest.dropFirst(3)
            return pixel(color[2], color[1], color[0])
        }
        for top in stride(from: 0, to: part.height, by: 64) {
            for left in stride(from: 0, to: part.width, by: 64) {
                let kind = try #require(rest.first)
                rest = rest.dropFirst()
                try #require(kind < 2)
                let color = kind == 1 ? try next() : 0
                for y in top..<min(top + 64, part.height) {
                    for x in left..<min(left + 64, part.width) {
                        pixels[y * part.width + x] = kind == 1 ? color : try next()
                    }
                }
            }
        }
        #expect(rest.isEmpty)
        return pixels
    }

    private static func pixel(_ red: UInt8, _ green: UInt8, _ blue: UInt8) -> UInt32 {
        0xff00_0000 | UInt32(red) << 16 | UInt32(green) << 8 | UInt32(blue)
    }
}

/// A zlib stream that is unpacked part by part.
@safe
final class Inflater {
    private let stream: UnsafeMutablePointer<z_stream>

    init() {
        unsafe stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        unsafe inflateInit_(stream, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// All that these bytes give.
    func unpack(_ bytes: [UInt8]) throws -> [UInt8] {
        var input = bytes
        var result: [UInt8] = []
        unsafe stream.pointee.avail_in = UInt32(input.count)
        try unsafe input.withUnsafeMutableBufferPointer { source in
            unsafe stream.pointee.next_in = source.baseAddress
            var part = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = try unsafe part.withUnsafeMutableBufferPointer { target in
                    unsafe stream.pointee.next_out = target.baseAddress
                    unsafe stream.pointee.avail_out = UInt32(target.count)
                    let code = unsafe inflate(stream, Z_SYNC_FLUSH)
                    try #require(code == Z_OK || code == Z_BUF_ERROR)
                    return unsafe target.count - Int(stream.pointee.avail_out)
                }
                result += part.prefix(count)
                if count < part.count { break }
            }
        }
        return result
    }
}
