import CCrypto

/// SHA-256 of bytes that come in pieces.
@safe
public final class SHA256 {
    private let context: OpaquePointer?

    /// Begins.
    public init() {
        unsafe context = EVP_MD_CTX_new()
        _ = unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil)
    }

    deinit {
        unsafe EVP_MD_CTX_free(context)
    }

    /// Adds bytes.
    public func update(_ bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { raw in
            _ = unsafe EVP_DigestUpdate(context, raw.baseAddress, raw.count)
        }
    }

    /// Adds zeros.
    public func updateZeros(_ count: UInt64) {
        let zeros = [UInt8](repeating: 0, count: Int(min(count, 1 << 16)))
        var rest = count
        while rest > 0 {
            let step = Int(min(rest, UInt64(zeros.count)))
            update(zeros.rawBytes.extracting(0..<step))
            rest -= UInt64(step)
        }
    }

    /// The digest in hexadecimal. Nothing can be added afterwards.
    public func finish() -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        var count: UInt32 = 0
        _ = unsafe EVP_DigestFinal_ex(context, &digest, &count)
        return digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
