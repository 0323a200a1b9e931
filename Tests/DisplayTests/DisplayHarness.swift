import CPNG
import Glibc
import Platform
import SchemeKit
import TestSupport
import Testing

@testable import DisplayScheme

/// A display scheme in the test's process, called without a channel. `restarted` is what its next incarnation finds.
final class DisplayHarness {
    let state: SchemeState
    private(set) var scheme: DisplayScheme
    private var incarnation: UInt32 = 1
    private var lastRequest: UInt64 = 0

    init(size: String = "64x48") throws {
        state = try SchemeState(byteCount: DisplayScheme.stateByteCount)
        scheme = try DisplayScheme(state, size: size)
    }

    /// The process dies, and another takes over; it is told of the handles that were open.
    func restart(adopting handles: [(node: UInt64, handle: UInt64)] = []) throws {
        incarnation += 1
        scheme = try DisplayScheme(state, incarnation: incarnation)
        for (node, handle) in handles {
            var context = CallContext()
            try scheme.adopt(node, generation: 0, handle: handle, flags: OpenFlags.readWrite, &context)
        }
        var context = CallContext()
        try scheme.replayFinished(&context)
    }

    /// The context of a new call.
    func context(isFromCache: Bool = false) -> CallContext {
        lastRequest += 1
        return CallContext(requestID: lastRequest, isFromCache: isFromCache)
    }

    func find(_ path: String) throws -> UInt64 {
        var node: UInt64 = 1
        for part in path.split(separator: "/") {
            let name = Array(part.utf8)
            let span = name.span
            var context = context()
            node = try scheme.lookup(node, unsafe span.bytes, &context).node
        }
        return node
    }

    func size(_ node: UInt64) throws -> UInt64 {
        var context = context()
        return try scheme.attributes(node, handle: 0, &context).size
    }

    @discardableResult
    func open(_ path: String, handle: UInt64, flags: UInt32 = OpenFlags.readWrite) throws -> UInt64 {
        let node = try find(path)
        var context = context()
        try scheme.open(node, handle: handle, flags: flags, &context)
        return node
    }

    /// The number that a folder's listing gives a name.
    func list(_ folder: String, _ name: String) throws -> UInt64? {
        let folder = try find(folder)
        return try scheme.core.withLock { core in
            try core.entries(try core.node(folder)).first { $0.0 == name }?.1.node
        }
    }

    func close(_ node: UInt64, handle: UInt64) throws {
        var context = context()
        try scheme.close(node, handle: handle, flags: 0, &context)
    }

    @discardableResult
    func write(_ node: UInt64, _ bytes: [UInt8], at offset: UInt64 = 0, _ again: CallContext? = nil) throws -> Int {
        var context = again ?? context()
        let span = bytes.span
        return try scheme.write(node, handle: 1, at: offset, unsafe span.bytes, flags: 0, &context)
    }

    @discardableResult
    func write(_ path: String, _ text: String) throws -> Int { try write(try find(path), Array(text.utf8)) }

    func read(
        _ node: UInt64, _ count: Int, at offset: UInt64 = 0, handle: UInt64 = 1, _ again: CallContext? = nil
    ) throws -> [UInt8] {
        var context = again ?? context()
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        let done = try scheme.read(node, handle: handle, at: offset, into: &raw, flags: 0, &context)
        return Array(bytes.prefix(done))
    }

    func text(_ path: String) throws -> String { String(decoding: try read(try find(path), 4096), as: UTF8.self) }

    /// What `screen.png` shows, as words 0xFFRRGGBB.
    func picture(_ display: Int = 0) throws -> (width: Int, height: Int, pixels: [UInt32]) {
        let node = try find("\(display)/screen.png")
        var file: [UInt8] = []
        while true {
            let part = try read(node, 1 << 20, at: UInt64(file.count), handle: 99)
            if part.isEmpty { break }
            file += part
        }
        return try decodePNG(file)
    }
}

struct NotAPicture: Error {}

/// The pixels of a PNG file, by libpng.
func decodePNG(_ file: [UInt8]) throws -> (width: Int, height: Int, pixels: [UInt32]) {
    var image = unsafe png_image()
    unsafe image.version = png_uint_32(PNG_IMAGE_VERSION)
    defer { unsafe png_image_free(&image) }
    guard unsafe png_image_begin_read_from_memory(&image, file, file.count) != 0 else { throw NotAPicture() }
    // Words 0xAARRGGBB: bytes blue, green, red, alpha.
    unsafe image.format =
        png_uint_32(PNG_FORMAT_FLAG_COLOR) | png_uint_32(PNG_FORMAT_FLAG_ALPHA) | png_uint_32(PNG_FORMAT_FLAG_BGR)
    let (width, height) = unsafe (Int(image.width), Int(image.height))
    var pixels = [UInt32](repeating: 0, count: width * height)
    guard unsafe png_image_finish_read(&image, nil, &pixels, 0, nil) != 0 else { throw NotAPicture() }
    return (width, height, pixels)
}

/// Pixels that look like nothing else, opaque.
func testPixels(_ count: Int, seed: UInt64) -> [UInt32] {
    var random = SplitMix(seed: seed)
    return (0..<count).map { _ in 0xff00_0000 | UInt32(truncatingIfNeeded: random.next()) & 0xff_ffff }
}

func bytes(_ pixels: [UInt32]) -> [UInt8] {
    pixels.flatMap { pixel in (0..<4).map { UInt8(pixel >> (8 * UInt32($0)) & 0xff) } }
}
