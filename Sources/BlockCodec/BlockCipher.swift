import CCrypto
import DiskFormat

/// AES-128-XTS over the blocks of an encrypted disk: a sector is 4096 bytes, its number the block's within the file system.
/// May be used by any number of threads at once.
public final class BlockCipher: @unchecked Sendable {
    // Safe to share: the keys never change, each context belongs to one thread while it is used.
    private let key1: Bytes16
    private let key2: Bytes16
    private let encryptors = ContextPool<XTSContext>()
    private let decryptors = ContextPool<XTSContext>()

    /// A cipher of its two keys: the first for the data, the second for the tweak. The two must differ.
    public init(key1: Bytes16, key2: Bytes16) throws(CodecError) {
        self.key1 = key1
        self.key2 = key2
        // A key that the library refuses is found now, not at the first block.
        encryptors.give(try XTSContext(key1, key2, encrypts: true))
        decryptors.give(try XTSContext(key1, key2, encrypts: false))
    }

    /// The two keys, for a further key slot.
    public var keys: (data: Bytes16, tweak: Bytes16) { (key1, key2) }

    /// Encrypts whole blocks in place.
    /// - Parameter firstBlock: number of the first one; the others have the numbers that follow.
    public func encrypt(_ bytes: inout MutableRawSpan, firstBlock: UInt64) throws(CodecError) {
        try run(&bytes, firstBlock: firstBlock, encrypts: true)
    }

    /// Decrypts whole blocks in place.
    /// - Parameter firstBlock: number of the first one; the others have the numbers that follow.
    public func decrypt(_ bytes: inout MutableRawSpan, firstBlock: UInt64) throws(CodecError) {
        try run(&bytes, firstBlock: firstBlock, encrypts: false)
    }

    /// Encrypts whole blocks into a span of the same length.
    /// - Parameter firstBlock: number of the first one; the others have the numbers that follow.
    public func encrypt(_ plain: RawSpan, into target: inout MutableRawSpan, firstBlock: UInt64) throws(CodecError) {
        guard plain.byteCount == target.byteCount else { throw .length(target.byteCount) }
        guard plain.byteCount % Limits.blockSize == 0 else { throw .length(plain.byteCount) }
        let context = try borrow(encrypts: true)
        defer { encryptors.give(context) }
        for sector in 0..<plain.byteCount / Limits.blockSize {
            let range = sector * Limits.blockSize..<(sector + 1) * Limits.blockSize
            var part = target._mutatingExtracting(range)
            try context.run(plain.extracting(range), into: &part, sector: firstBlock &+ UInt64(sector))
        }
    }

    private func borrow(encrypts: Bool) throws(CodecError) -> XTSContext {
        if let context = (encrypts ? encryptors : decryptors).take() { return context }
        return try XTSContext(key1, key2, encrypts: encrypts)
    }

    private func run(_ bytes: inout MutableRawSpan, firstBlock: UInt64, encrypts: Bool) throws(CodecError) {
        guard bytes.byteCount % Limits.blockSize == 0 else { throw .length(bytes.byteCount) }
        let context = try borrow(encrypts: encrypts)
        defer { (encrypts ? encryptors : decryptors).give(context) }
        for sector in 0..<bytes.byteCount / Limits.blockSize {
            var part = bytes._mutatingExtracting(sector * Limits.blockSize..<(sector + 1) * Limits.blockSize)
            try context.run(&part, sector: firstBlock &+ UInt64(sector))
        }
    }

    // MARK: Headers

    /// The encrypted hash of a header that was sealed: 16 bytes, with the generation as sector number.
    public func encryptedHash(of header: Header) throws(CodecError) -> Bytes16 {
        try transform(header.plainEncryptedHash, sector: header.generation.rawValue, encrypts: true)
    }

    /// Whether this is the cipher of the disk that the header belongs to.
    public func opens(_ header: Header) throws(CodecError) -> Bool {
        try transform(header.encryptedHash, sector: header.generation.rawValue, encrypts: false)
            == header.plainEncryptedHash
    }

    private func transform(_ value: Bytes16, sector: UInt64, encrypts: Bool) throws(CodecError) -> Bytes16 {
        let context = try borrow(encrypts: encrypts)
        defer { (encrypts ? encryptors : decryptors).give(context) }
        var bytes = value.bytes
        try bytes.withMutableRawBytes { (span) throws(CodecError) in try context.run(&span, sector: sector) }
        return Bytes16(bytes.rawBytes)
    }
}

extension Header {
    /// Computes both hashes: `seal`, and with a cipher the encrypted form of the second.
    public mutating func seal(with cipher: BlockCipher?) throws(CodecError) {
        seal()
        if let cipher { setEncryptedHash(try cipher.encryptedHash(of: self)) }
    }
}

/// A context of the cipher library whose key is set: per sector only the tweak is.
@safe
private final class XTSContext {
    private let context: OpaquePointer
    private let encrypts: Bool

    init(_ key1: Bytes16, _ key2: Bytes16, encrypts: Bool) throws(CodecError) {
        guard let context = unsafe EVP_CIPHER_CTX_new() else { throw .cipher(code: ERR_get_error()) }
        unsafe self.context = context
        self.encrypts = encrypts
        var key = key1.bytes + key2.bytes
        let done = unsafe key.withUnsafeMutableBufferPointer { key -> Int32 in
            let result = unsafe EVP_CipherInit_ex(
                context, EVP_aes_128_xts(), nil, key.baseAddress, nil, encrypts ? 1 : 0)
            unsafe OPENSSL_cleanse(key.baseAddress, key.count)
            return result
        }
        guard done == 1 else { throw .cipher(code: ERR_get_error()) }
    }

    deinit { unsafe EVP_CIPHER_CTX_free(context) }

    func run(_ bytes: inout MutableRawSpan, sector: UInt64) throws(CodecError) {
        let done = unsafe bytes.withUnsafeMutableBytes { bytes in
            unsafe run(UnsafeRawBufferPointer(bytes), bytes, sector)
        }
        guard done else { throw .cipher(code: ERR_get_error()) }
    }

    func run(_ source: RawSpan, into target: inout MutableRawSpan, sector: UInt64) throws(CodecError) {
        let done = unsafe source.withUnsafeBytes { source in
            unsafe target.withUnsafeMutableBytes { target in unsafe run(source, target, sector) }
        }
        guard done else { throw .cipher(code: ERR_get_error()) }
    }

    /// Both spans have the same length, or are the same memory.
    private func run(_ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer, _ sector: UInt64)
        -> Bool
    {
        var tweak = (sector.littleEndian, 0 as UInt64)
        let ready = unsafe withUnsafeBytes(of: &tweak) { tweak in
            unsafe EVP_CipherInit_ex(context, nil, nil, nil, tweak.bindMemory(to: UInt8.self).baseAddress, -1)
        }
        guard ready == 1, let from = source.baseAddress, let to = target.baseAddress else { return false }
        var length: Int32 = 0
        let done = unsafe EVP_CipherUpdate(
            context, to.assumingMemoryBound(to: UInt8.self), &length, from.assumingMemoryBound(to: UInt8.self),
            Int32(truncatingIfNeeded: source.count))
        return done == 1 && Int(length) == source.count
    }
}
