import DiskFormat

/// How a new file system is made.
public struct FormatOptions: Sendable {
    /// What encryption needs; randomness comes from the caller.
    public struct Encryption: Sendable {
        /// The password's bytes.
        public var password: [UInt8]
        /// The salt of the first key slot, random.
        public var salt: Bytes16
        /// The key of the data, random.
        public var dataKey: Bytes16
        /// The key of the tweak, random and another one.
        public var tweakKey: Bytes16

        /// Parameters of an encryption.
        public init(password: [UInt8], salt: Bytes16, dataKey: Bytes16, tweakKey: Bytes16) {
            self.password = password
            self.salt = salt
            self.dataKey = dataKey
            self.tweakKey = tweakKey
        }
    }

    /// A random UUID (version 4).
    public var uuid: Bytes16
    /// The root directory's times.
    public var time: Timespec
    /// Blocks of 4 KiB in front of the file system that are left alone, for a boot loader.
    public var reservedBlocks: UInt64 = 0
    /// The encryption, or nil.
    public var encryption: Encryption?
    /// The size in bytes with the reserved blocks; nil: the device's.
    public var byteCount: UInt64?
    /// The root directory's permission bits.
    public var rootMode: UInt16 = 0o755
    /// The root directory's owner.
    public var rootUID: UInt32 = 0
    /// The root directory's group.
    public var rootGID: UInt32 = 0

    /// Options for an unencrypted file system on the whole device.
    public init(uuid: Bytes16, time: Timespec) {
        self.uuid = uuid
        self.time = time
    }
}

/// Where a header of a file system is: whoever opens it again need not search the ring.
public struct HeaderPlace: Sendable, Equatable {
    /// The file system's UUID.
    public var uuid: Bytes16
    /// The block of the device where the file system begins.
    public var start: UInt64
    /// The header's generation.
    public var generation: Generation

    /// A place.
    public init(uuid: Bytes16, start: UInt64, generation: Generation) {
        self.uuid = uuid
        self.start = start
        self.generation = generation
    }
}

/// How a file system is opened.
public struct OpenOptions: Sendable {
    /// Never write to the device.
    public var readOnly = false
    /// Open this generation instead of the newest; read-only.
    public var generation: Generation?
    /// The password's bytes, for an encrypted file system.
    public var password: [UInt8]?
    /// Bytes of changes that may wait in memory before they are written.
    public var dirtyBytes = 64 << 20
    /// Bytes of unchanged data and metadata that are kept in memory.
    public var cacheBytes = 256 << 20
    /// Threads for hashing, compression and encryption, besides the callers.
    public var threads = 1
    /// Stored in each header together with the sequence number: who wrote it.
    public var mountID = Bytes16()
    /// Leave nodes alone that lost their last name while they were open, until `FileSystem.releaseUnnamed`: somebody has them open still.
    public var keepsUnnamed = false
    /// Creation times differ in their last digits, by less than two milliseconds, so that no two nodes have number and
    /// `Attributes.inodeGeneration` in common: for clients that keep nodes in mind. Without it they are what the caller says.
    public var tellsBirthsApart = false
    /// For how many changes a small file stays that has lost its last name, if no commit comes before: for clients that found the name
    /// just before another one removed or replaced it.
    public var departedStay: UInt64 = 0
    /// Called before anything up to a sequence number becomes durable, on the thread that writes; nothing is locked. Whoever must tell
    /// others of these changes first waits here until it has.
    public var beforeDurable: (@Sendable (UInt64) -> Void)?
    /// A header that is known to have been durable, if nobody else has written to the device since: the newest is found from there. The
    /// ring is searched if it isn't there any more.
    public var lastHeader: HeaderPlace?
    /// How many first blocks of the device are searched for a header.
    public var searchBlocks: UInt64 = 65_536

    /// The usual options.
    public init() {}
}
