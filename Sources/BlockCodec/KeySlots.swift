import CArgon2
import CCrypto
import DiskFormat

/// From a password to a key: Argon2id, version 0x13, 4096 KiB, 3 passes, 1 lane, 16 bytes.
public enum KeyDerivation {
    /// The key that encrypts a slot's keys. Takes some ten milliseconds, and 4 MiB while it runs.
    public static func key(password: [UInt8], salt: Bytes16) throws(CodecError) -> Bytes16 {
        let salt = salt.bytes
        var output = [UInt8](repeating: 0, count: 16)
        let code = unsafe output.withUnsafeMutableBytes { output in
            unsafe password.withUnsafeBytes { password in
                unsafe salt.withUnsafeBytes { salt in
                    unsafe argon2id_hash_raw(
                        Limits.keyDerivationPasses, Limits.keyDerivationKibibytes, 1, password.baseAddress,
                        password.count, salt.baseAddress, salt.count, output.baseAddress, output.count)
                }
            }
        }
        guard code == ARGON2_OK.rawValue else { throw .keyDerivation(code: code) }
        return Bytes16(output.rawBytes)
    }
}

/// The 64 key slots of a header: passwords that open the disk.
public enum KeySlots {
    /// The cipher of an encrypted disk and the slot that the password fits; nil if it fits none. Unused slots are skipped,
    /// the others tried in turn.
    ///
    /// - Parameter others: further headers of the same ring, which have the same keys. What proves a key right is covered by no hash: if
    ///   it is damaged in the header, another one may still have it.
    public static func unlock(
        _ header: Header, among others: [Header] = [], password: [UInt8]
    ) throws(CodecError) -> (cipher: BlockCipher, slot: Int)? {
        for index in 0..<Limits.keySlotCount {
            let slot = header.keySlot(index)
            guard !slot.isUnused else { continue }
            let key = try KeyDerivation.key(password: password, salt: slot.salt)
            let key1 = try AESBlock.run(slot.key1, key: key, encrypts: false)
            let key2 = try AESBlock.run(slot.key2, key: key, encrypts: false)
            // Equal halves are no key of a cipher, but what a damaged slot may well decrypt to.
            guard key1 != key2 else { continue }
            let cipher = try BlockCipher(key1: key1, key2: key2)
            for witness in [header] + others where try cipher.opens(witness) { return (cipher, index) }
        }
        return nil
    }

    /// A slot through which a password leads to a disk's keys.
    /// - Parameter salt: 16 random bytes from the caller, never used before.
    public static func make(
        password: [UInt8], salt: Bytes16, key1: Bytes16, key2: Bytes16
    ) throws(CodecError) -> KeySlot {
        let key = try KeyDerivation.key(password: password, salt: salt)
        return KeySlot(
            salt: salt, key1: try AESBlock.run(key1, key: key, encrypts: true),
            key2: try AESBlock.run(key2, key: key, encrypts: true))
    }

    /// Puts a slot into the first unused place of a header, which must be sealed again; the place.
    public static func add(_ slot: KeySlot, to header: inout Header) throws(CodecError) -> Int {
        for index in 0..<Limits.keySlotCount where header.keySlot(index).isUnused {
            header.setKeySlot(index, slot)
            return index
        }
        throw .noFreeSlot
    }

    /// How many slots are in use.
    public static func usedCount(_ header: Header) -> Int {
        (0..<Limits.keySlotCount).count { !header.keySlot($0).isUnused }
    }
}

/// AES-128 of one 16-byte block, as it protects the keys in a slot.
private enum AESBlock {
    static func run(_ block: Bytes16, key: Bytes16, encrypts: Bool) throws(CodecError) -> Bytes16 {
        guard let context = unsafe EVP_CIPHER_CTX_new() else { throw .cipher(code: ERR_get_error()) }
        defer { unsafe EVP_CIPHER_CTX_free(context) }
        let keyBytes = key.bytes
        let source = block.bytes
        var output = [UInt8](repeating: 0, count: 16)
        var length: Int32 = 0
        let ready = unsafe EVP_CipherInit_ex(context, EVP_aes_128_ecb(), nil, keyBytes, nil, encrypts ? 1 : 0)
        guard ready == 1, unsafe EVP_CIPHER_CTX_set_padding(context, 0) == 1,
            unsafe EVP_CipherUpdate(context, &output, &length, source, 16) == 1, length == 16
        else { throw .cipher(code: ERR_get_error()) }
        return Bytes16(output.rawBytes)
    }
}
