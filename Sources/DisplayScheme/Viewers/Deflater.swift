import CZlib

/// Packs bytes with zlib so that each result can be unpacked without those before: servers that pack one after the other need not have
/// anything in common but that.
@safe
final class Deflater {
    private let stream: UnsafeMutablePointer<z_stream>
    private let isReady: Bool

    /// - Parameter hasHeader: whether each result begins like a zlib stream; else it is a part in the middle of one.
    init(hasHeader: Bool) {
        unsafe stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        isReady =
            unsafe deflateInit2_(
                stream, 1, Z_DEFLATED, hasHeader ? 15 : -15, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                Int32(MemoryLayout<z_stream>.size)) == Z_OK
    }

    deinit {
        if isReady { unsafe deflateEnd(stream) }
        unsafe stream.deallocate()
    }

    /// The bytes packed, up to the boundary of a byte; nil if there is no memory.
    func pack(_ bytes: [UInt8], level: Int) -> [UInt8]? {
        guard isReady, unsafe deflateReset(stream) == Z_OK,
            unsafe deflateParams(stream, Int32(max(0, min(9, level))), Z_DEFAULT_STRATEGY) == Z_OK
        else { return nil }
        // Room for the empty block that a flush ends with, too.
        let capacity = unsafe Int(deflateBound(stream, UInt(bytes.count))) + 64
        var input = bytes
        var isDone = false
        let result = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { target, count in
            unsafe input.withUnsafeMutableBufferPointer { source in
                unsafe stream.pointee.next_in = source.baseAddress
                unsafe stream.pointee.avail_in = UInt32(source.count)
                unsafe stream.pointee.next_out = target.baseAddress
                unsafe stream.pointee.avail_out = UInt32(capacity)
                let code = unsafe deflate(stream, Z_SYNC_FLUSH)
                isDone = unsafe code == Z_OK && stream.pointee.avail_in == 0 && stream.pointee.avail_out > 0
                unsafe stream.pointee.next_in = nil
            }
            count = unsafe capacity - Int(stream.pointee.avail_out)
        }
        return isDone ? result : nil
    }
}
