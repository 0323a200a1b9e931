import CZstd

/// Why packed bytes could not be unpacked.
public struct ZstandardError: Error {
    /// What the library says.
    public let message: String
}

/// Unpacks zstd streams: the fixtures are kept packed.
public enum Zstandard {
    /// The unpacked bytes of one or more frames.
    public static func unpack(_ packed: [UInt8], reserving capacity: Int = 1 << 16) throws(ZstandardError) -> [UInt8] {
        guard let stream = unsafe ZSTD_createDStream() else { throw ZstandardError(message: "no memory") }
        defer { unsafe ZSTD_freeDStream(stream) }
        var result = [UInt8](repeating: 0, count: max(capacity, 4096))
        var filled = 0
        var fault: String?
        unsafe packed.withUnsafeBytes { source in
            var input = unsafe ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: 0)
            while fault == nil {
                if filled == result.count { result.append(contentsOf: [UInt8](repeating: 0, count: result.count)) }
                let state = unsafe result.withUnsafeMutableBytes { target -> Int in
                    var output = unsafe ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: filled)
                    let state = unsafe ZSTD_decompressStream(stream, &output, &input)
                    filled = unsafe output.pos
                    return state
                }
                if ZSTD_isError(state) != 0 {
                    fault = unsafe String(cString: ZSTD_getErrorName(state))
                } else if unsafe input.pos == input.size {
                    if state == 0 { return }
                    if filled < result.count { fault = "the stream ends early" }
                }
            }
        }
        if let fault { throw ZstandardError(message: fault) }
        result.removeLast(result.count - filled)
        return result
    }
}
