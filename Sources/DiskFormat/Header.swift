/// A header: one block of the ring at the start of the file system. The whole block is kept, so that bytes this version
/// gives no meaning survive a rewrite.
///
///     0     "RedoxFS\0"                     80    64 key slots of 48 bytes
///     8     version = 8                     3152  pointer to the newest release-list block
///     16    uuid                            3168  904 bytes of padding: HeaderExtension
///     32    size of the file system, bytes  4072  encrypted hash, 16 bytes
///     40    generation                      4088  hash of bytes 0..<4072
///     48    pointer to the top tree block
///     64    pointer to the newest allocation-log block
public struct Header: Hashable, Sendable {
    /// Byte offsets of the fields.
    public enum Offset {
        /// "RedoxFS\0".
        public static let signature = 0
        /// Version of the format.
        public static let version = 8
        /// UUID of the file system.
        public static let uuid = 16
        /// Size in bytes.
        public static let byteCount = 32
        /// Generation.
        public static let generation = 40
        /// Pointer to the top tree block.
        public static let tree = 48
        /// Pointer to the newest allocation-log block.
        public static let allocationLog = 64
        /// The key slots.
        public static let keySlots = 80
        /// Pointer to the newest release-list block.
        public static let releaseList = 3152
        /// The padding.
        public static let padding = 3168
        /// The encrypted hash.
        public static let encryptedHash = 4072
        /// The hash.
        public static let hash = 4088
    }

    /// The signature as a little-endian number.
    public static let signature: UInt64 = 0x0053_4678_6F64_6552

    private var storage: [UInt8]

    /// The header of a file system that is being made. It gets its hashes from `seal`.
    public init(uuid: Bytes16, byteCount: UInt64, generation: Generation) {
        storage = [UInt8](repeating: 0, count: Limits.blockSize)
        store(Self.signature, at: Offset.signature)
        store(Limits.version, at: Offset.version)
        store(uuid.low, at: Offset.uuid)
        store(uuid.high, at: Offset.uuid + 8)
        store(byteCount, at: Offset.byteCount)
        store(generation.rawValue, at: Offset.generation)
    }

    /// The header in the first 4096 bytes of a span.
    ///
    /// Errors: `.tooShort`, `.signature`, `.version`, `.hash`. What the fields say about the disk is for `checkGeometry`.
    public init(decoding bytes: RawSpan) throws(FormatError) {
        try FormatError.checkBlock(bytes, .header)
        let block = bytes.extracting(0..<Limits.blockSize)
        let signature = block.u64(at: Offset.signature)
        guard signature == Self.signature else { throw FormatError(.header, .signature, value: signature) }
        let version = block.u64(at: Offset.version)
        guard version == Limits.version else {
            throw FormatError(.header, .version, at: Offset.version, value: version)
        }
        let hash = block.u64(at: Offset.hash)
        guard SeaHash.hash(block.extracting(0..<Offset.encryptedHash)) == hash else {
            throw FormatError(.header, .hash, at: Offset.hash, value: hash)
        }
        storage = block.copyToArray()
    }

    /// Whether a block holds a valid header: signature, version and hash all right. Cheap where there is none.
    public static func isValid(_ bytes: RawSpan) -> Bool {
        guard bytes.byteCount >= Limits.blockSize, bytes.u64(at: 0) == signature else { return false }
        guard bytes.u64(at: Offset.version) == Limits.version else { return false }
        return SeaHash.hash(bytes.extracting(0..<Offset.encryptedHash)) == bytes.u64(at: Offset.hash)
    }

    /// Stores the 4096 bytes at the start of a span that has them.
    @_lifetime(target: copy target)
    public func encode(into target: inout MutableRawSpan) {
        target.copy(storage.rawBytes, at: 0)
    }

    /// The 4096 bytes.
    public var bytes: [UInt8] { storage }

    // MARK: Fields

    /// UUID of the file system.
    public var uuid: Bytes16 {
        get { Bytes16(storage.rawBytes, at: Offset.uuid) }
        set {
            store(newValue.low, at: Offset.uuid)
            store(newValue.high, at: Offset.uuid + 8)
        }
    }

    /// Size of the file system in bytes.
    public var byteCount: UInt64 {
        get { load(Offset.byteCount) }
        set { store(newValue, at: Offset.byteCount) }
    }

    /// Size of the file system in whole blocks.
    public var blockCount: UInt64 { byteCount >> 12 }

    /// The generation that this header makes current.
    public var generation: Generation {
        get { Generation(load(Offset.generation)) }
        set { store(newValue.rawValue, at: Offset.generation) }
    }

    /// Pointer to the top tree block.
    public var tree: BlockPointer {
        get { pointer(Offset.tree) }
        set { store(newValue, at: Offset.tree) }
    }

    /// Pointer to the newest allocation-log block.
    public var allocationLog: BlockPointer {
        get { pointer(Offset.allocationLog) }
        set { store(newValue, at: Offset.allocationLog) }
    }

    /// Pointer to the newest release-list block; null if no node waits for its release.
    public var releaseList: BlockPointer {
        get { pointer(Offset.releaseList) }
        set { store(newValue, at: Offset.releaseList) }
    }

    /// The key slot of an index, 0 to 63.
    public func keySlot(_ index: Int) -> KeySlot {
        KeySlot(storage.rawBytes, at: Offset.keySlots + index * KeySlot.byteCount)
    }

    /// Replaces the key slot of an index, 0 to 63.
    public mutating func setKeySlot(_ index: Int, _ slot: KeySlot) {
        let offset = Offset.keySlots + index * KeySlot.byteCount
        for (place, part) in [slot.salt, slot.key1, slot.key2].enumerated() {
            store(part.low, at: offset + place * 16)
            store(part.high, at: offset + place * 16 + 8)
        }
    }

    /// Whether any key slot is in use.
    public var hasKeySlots: Bool {
        !storage.rawBytes.extracting(Offset.keySlots..<Offset.keySlots + Limits.keySlotCount * KeySlot.byteCount)
            .isAllZero()
    }

    /// What this project keeps in the padding; nil if there is nothing or it belongs to another generation.
    public var headerExtension: HeaderExtension? {
        HeaderExtension(decoding: storage.rawBytes, generation: generation)
    }

    /// Stores the extension for the header's present generation, or removes it.
    public mutating func setHeaderExtension(_ value: HeaderExtension?) {
        let generation = generation
        storage.withMutableRawBytes { HeaderExtension.store(value, into: &$0, generation: generation) }
    }

    // MARK: Hashes

    /// Hash of bytes 0..<4072 as they are now.
    public var contentHash: UInt64 { SeaHash.hash(storage.rawBytes.extracting(0..<Offset.encryptedHash)) }

    /// The stored hash.
    public var storedHash: UInt64 { load(Offset.hash) }

    /// The stored encrypted hash.
    public var encryptedHash: Bytes16 { Bytes16(storage.rawBytes, at: Offset.encryptedHash) }

    /// What the encrypted hash is before encryption: the hash and eight zero bytes.
    public var plainEncryptedHash: Bytes16 { Bytes16(low: storedHash, high: 0) }

    /// Whether this header says that everything but headers and the reserved area is encrypted. The 16 bytes that say so are covered
    /// by no hash: `HeaderRing.isEncrypted` asks all headers.
    public var isEncrypted: Bool { encryptedHash != plainEncryptedHash }

    /// Computes and stores the hash. The encrypted hash becomes its plain form, which says that nothing is encrypted: on
    /// an encrypted disk the caller encrypts `plainEncryptedHash` and calls `setEncryptedHash`.
    public mutating func seal() {
        let hash = contentHash
        store(hash, at: Offset.hash)
        store(hash, at: Offset.encryptedHash)
        store(0, at: Offset.encryptedHash + 8)
    }

    /// Stores the encrypted hash of an encrypted disk, after `seal`.
    public mutating func setEncryptedHash(_ value: Bytes16) {
        store(value.low, at: Offset.encryptedHash)
        store(value.high, at: Offset.encryptedHash + 8)
    }

    /// Makes sure that the fields fit the place where the header was found.
    /// - Parameter availableBytes: bytes of the device from the start of the file system on.
    ///
    /// Errors: `.outOfRange` for a size that is larger than the device or too small for any file system, and for
    /// pointers that lead outside; `.value` for pointers that are not to single blocks, or missing.
    public func checkGeometry(availableBytes: UInt64) throws(FormatError) {
        guard byteCount <= availableBytes else {
            throw FormatError(.header, .outOfRange, at: Offset.byteCount, value: byteCount)
        }
        try checkTree()
        try allocationLog.address.checkMetadata(blocks: blockCount, of: .header)
        if !releaseList.isNull { try releaseList.address.checkMetadata(blocks: blockCount, of: .header) }
    }

    /// Makes sure that there is room for a file system, and that the tree can be in it: all that is needed for reading.
    ///
    /// Errors: `.outOfRange` for a size that is too small for any file system, and for a tree that lies outside; `.value` for a pointer
    /// to the tree that is not to a single block, or missing.
    public func checkTree() throws(FormatError) {
        guard blockCount > Limits.firstAllocatableBlock else {
            throw FormatError(.header, .outOfRange, at: Offset.byteCount, value: byteCount)
        }
        try tree.address.checkMetadata(blocks: blockCount, of: .header)
    }

    private func load(_ offset: Int) -> UInt64 { storage.rawBytes.u64(at: offset) }

    private func pointer(_ offset: Int) -> BlockPointer { BlockPointer(storage.rawBytes, at: offset) }

    private mutating func store(_ value: UInt64, at offset: Int) {
        storage.withMutableRawBytes { $0.setU64(value, at: offset) }
    }

    private mutating func store(_ value: BlockPointer, at offset: Int) {
        store(value.address.rawValue, at: offset)
        store(value.hash, at: offset + 8)
    }
}

/// One of the 64 places for a password: a salt and the two keys of the disk, encrypted with the key that the password
/// and the salt give.
public struct KeySlot: Hashable, Sendable {
    /// Bytes that a slot occupies.
    public static let byteCount = 48

    /// Salt of the password hash.
    public var salt: Bytes16
    /// The data key, encrypted.
    public var key1: Bytes16
    /// The tweak key, encrypted.
    public var key2: Bytes16

    /// A slot of its parts; all zero is an unused one.
    public init(salt: Bytes16 = Bytes16(), key1: Bytes16 = Bytes16(), key2: Bytes16 = Bytes16()) {
        self.salt = salt
        self.key1 = key1
        self.key2 = key2
    }

    /// The slot stored at an offset; 48 bytes must be there.
    public init(_ bytes: RawSpan, at offset: Int) {
        salt = Bytes16(bytes, at: offset)
        key1 = Bytes16(bytes, at: offset + 16)
        key2 = Bytes16(bytes, at: offset + 32)
    }

    /// Whether nothing was ever stored here.
    public var isUnused: Bool { self == KeySlot() }
}

/// Where headers lie.
public enum HeaderRing {
    /// The block of the disk where the file system begins, if the disk's block `block` holds the header of `generation`.
    /// No value if it would begin before the disk.
    public static func start(headerAt block: UInt64, generation: Generation) -> UInt64? {
        let inRing = generation.ringBlock
        return inRing <= block ? block - inRing : nil
    }

    /// Whether a file system is encrypted, by all valid headers of its ring.
    ///
    /// No hash covers what a header says about that, so one alone may be damaged: a claim to be encrypted without a key slot doesn't
    /// count, as no password could open it, and of the others the majority decides.
    public static func isEncrypted(_ headers: [Header]) -> Bool {
        let plain = headers.count { !$0.isEncrypted }
        let encrypted = headers.count { $0.isEncrypted && $0.hasKeySlots }
        return encrypted > 0 && encrypted >= plain
    }

    /// Whether the header of a generation may lie in a block of the ring, 0 to 255.
    public static func accepts(_ generation: Generation, inBlock block: UInt64) -> Bool {
        generation.ringBlock == block
    }
}
