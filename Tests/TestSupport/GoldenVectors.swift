/// The values that the reference implementation's parts compute: `vectors.json`.
public struct GoldenVectors: Sendable {
    /// A block that was encrypted under a block number.
    public struct Cipher: Sendable {
        /// The first 32 bytes of the first sector, in hexadecimal.
        public let first32: String
        /// The first 32 bytes of the second sector, in hexadecimal.
        public let secondSector: String
        /// SeaHash of both sectors, in hexadecimal.
        public let hash: String
    }

    /// A password hash.
    public struct PasswordHash: Sendable {
        /// The password.
        public let password: String
        /// The key, in hexadecimal.
        public let out16: String
    }

    /// A key slot of that password hash.
    public struct Slot: Sendable {
        /// Data key, in hexadecimal.
        public let key1: String
        /// Tweak key, in hexadecimal.
        public let key2: String
        /// Data key encrypted, in hexadecimal.
        public let enc1: String
        /// Tweak key encrypted, in hexadecimal.
        public let enc2: String
    }

    /// Compressed bytes.
    public struct Compressed: Sendable {
        /// Their number.
        public let len: Int
        /// The bytes, in hexadecimal.
        public let hex: String
    }

    /// Text to its SeaHash, in hexadecimal.
    public let seahash: [String: String]
    /// Name to its hash, in hexadecimal.
    public let nameHashes: [String: String]
    /// A password hash.
    public let argon2id: PasswordHash
    /// A key slot of that password hash.
    public let keyslot: Slot
    /// 128 KiB of a repeated sentence, compressed.
    public let pangram: Compressed
    /// All values whose key tells what they belong to: `seahash_...` in hexadecimal.
    public let named: [String: String]
    /// Block number to a block encrypted under it.
    public let ciphers: [UInt64: Cipher]

    /// Reads the fixture.
    public static func load() throws -> GoldenVectors {
        try GoldenVectors(JSONValue(parsing: GoldenImage.file("vectors.json")))
    }

    init(_ value: JSONValue) throws {
        func texts(_ value: JSONValue) -> [String: String] { (value.object ?? [:]).compactMapValues(\.string) }
        seahash = texts(try value.member("seahash"))
        nameHashes = texts(try value.member("htree_hash_u32"))
        let hash = try value.member("argon2id")
        argon2id = PasswordHash(password: try hash.text("password"), out16: try hash.text("out16"))
        let slot = try value.member("keyslot")
        keyslot = Slot(
            key1: try slot.text("key1"), key2: try slot.text("key2"), enc1: try slot.text("enc1"),
            enc2: try slot.text("enc2"))
        let packed = try value.member("lz4_flex_pangram_131072")
        pangram = Compressed(len: try packed.whole("len"), hex: try packed.text("hex"))
        named = texts(value).filter { $0.key.hasPrefix("seahash_") }
        var ciphers: [UInt64: Cipher] = [:]
        let prefix = "xts_block_index_"
        for (key, value) in value.object ?? [:] where key.hasPrefix(prefix) {
            guard let block = UInt64(key.dropFirst(prefix.count)) else { continue }
            ciphers[block] = Cipher(
                first32: try value.text("first32"), secondSector: try value.text("second4k_first32"),
                hash: try value.text("seahash_of_ciphertext"))
        }
        self.ciphers = ciphers
    }
}
