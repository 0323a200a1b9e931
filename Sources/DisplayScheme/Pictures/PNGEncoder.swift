import CPNG

/// Pictures as PNG.
enum PNGEncoder {
    /// A bound of the bytes that a picture of this size can become.
    static func byteLimit(_ size: PixelSize) -> Int {
        size.pixelCount * 3 + size.height * 8 + size.byteCount / 256 + 65536
    }

    /// The picture as a PNG file without opacity; nil if there is no memory.
    static func encode(_ picture: Picture) -> [UInt8]? {
        // Without opacity: viewers would show through what an application never set.
        var bytes = [UInt8](repeating: 0, count: picture.size.pixelCount * 3)
        unsafe picture.pixels.withUnsafeBufferPointer { source in
            unsafe bytes.withUnsafeMutableBufferPointer { target in
                for index in 0..<source.count {
                    let pixel = unsafe source[index]
                    unsafe target[3 &* index] = UInt8(truncatingIfNeeded: pixel >> 16)
                    unsafe target[3 &* index &+ 1] = UInt8(truncatingIfNeeded: pixel >> 8)
                    unsafe target[3 &* index &+ 2] = UInt8(truncatingIfNeeded: pixel)
                }
            }
        }
        var image = unsafe png_image()
        unsafe image.version = png_uint_32(PNG_IMAGE_VERSION)
        unsafe image.width = png_uint_32(picture.size.width)
        unsafe image.height = png_uint_32(picture.size.height)
        unsafe image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
        unsafe image.flags = png_uint_32(PNG_IMAGE_FLAG_FAST)
        defer { unsafe png_image_free(&image) }
        var result = [UInt8](repeating: 0, count: byteLimit(picture.size))
        var count = png_alloc_size_t(result.count)
        let isDone = unsafe result.withUnsafeMutableBytes { target in
            unsafe bytes.withUnsafeBytes { source in
                unsafe png_image_write_to_memory(&image, target.baseAddress, &count, 0, source.baseAddress, 0, nil)
            }
        }
        guard isDone != 0 else { return nil }
        result.removeLast(result.count - Int(count))
        return result
    }
}
