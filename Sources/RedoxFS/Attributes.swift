import DiskFormat

/// What stat(2) shows of a node, and a little more.
public struct Attributes: Hashable, Sendable {
    /// The node's number.
    public var node: NodeID
    /// Tells one use of a node number from the next.
    public var inodeGeneration: UInt32
    /// What the node is.
    public var kind: NodeKind
    /// Permission bits with set-user-id, set-group-id and sticky: 0o7777.
    public var mode: UInt16
    /// The owner.
    public var uid: UInt32
    /// The group.
    public var gid: UInt32
    /// Number of links as POSIX counts them. A directory has 2 and one for each subdirectory; 1 where the directory is
    /// so large that counting would be expensive and nobody has counted, as on btrfs: find(1) knows that 1 says nothing.
    public var links: UInt32
    /// Number of links as the format stores it: 1 for a directory.
    public var storedLinks: UInt32
    /// The size in bytes: of the content, of the target of a symbolic link, of the blocks of a directory.
    public var size: UInt64
    /// Used blocks of 4 KiB, the node's own among them.
    public var blocks: UInt64
    /// Last access.
    public var atime: Timespec
    /// Last change of the content.
    public var mtime: Timespec
    /// Last change of content or attributes.
    public var ctime: Timespec
    /// Creation.
    public var btime: Timespec
    /// The device number of a device node, as the caller gave it.
    public var device: UInt32
    /// Base-two logarithm of the size of a record in blocks of 4 KiB.
    public var recordLevel: UInt32
}

/// What `FileSystem.setAttributes` is to change; nil leaves things as they are.
public struct AttributeChanges: Hashable, Sendable {
    /// Permission bits: 0o7777.
    public var mode: UInt16?
    /// The owner.
    public var uid: UInt32?
    /// The group.
    public var gid: UInt32?
    /// The size in bytes, of regular files.
    public var size: UInt64?
    /// Last access.
    public var atime: Timespec?
    /// Last change of the content.
    public var mtime: Timespec?
    /// Whether set-user-id, and set-group-id of an executable, are to be dropped, as a write by an ordinary user does.
    public var killSuidgid: Bool

    /// Changes.
    public init(
        mode: UInt16? = nil, uid: UInt32? = nil, gid: UInt32? = nil, size: UInt64? = nil, atime: Timespec? = nil,
        mtime: Timespec? = nil, killSuidgid: Bool = false
    ) {
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.atime = atime
        self.mtime = mtime
        self.killSuidgid = killSuidgid
    }
}

/// Who asks for a change, and when: the engine reads no clock. The sequence number comes back.
public struct RequestContext: Hashable, Sendable {
    /// The time to note.
    public var time: Timespec
    /// The owner of what is created.
    public var uid: UInt32
    /// The group of what is created, unless the directory passes on its own.
    public var gid: UInt32
    /// Set by each operation that changes something, at the moment it is applied: one order of all changes.
    public internal(set) var sequence: UInt64 = 0
    /// The number that the operation had when it was applied the first time, in a repetition after a crash; 0 otherwise.
    public var repeatedSequence: UInt64 = 0
    /// In a repetition: the operation is one of several that had numbers of their own, and the number counts as reached when
    /// `FileSystem.endRepetition` says so. A commit in between doesn't claim to contain all of them.
    public var isStepOfRepetition = false

    /// A context.
    public init(time: Timespec, uid: UInt32 = 0, gid: UInt32 = 0) {
        self.time = time
        self.uid = uid
        self.gid = gid
    }
}

/// Flags of `FileSystem.rename`, as renameat2(2) has them.
public struct RenameFlags: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt32
    /// Flags of bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Fail if the new name exists.
    public static let noReplace = RenameFlags(rawValue: 1)
    /// Exchange the two.
    public static let exchange = RenameFlags(rawValue: 2)
}

/// What `FileSystem.allocate` does, after fallocate(2).
public enum AllocateMode: Hashable, Sendable {
    /// Makes sure that there is room at this moment; copy-on-write can't keep blocks for later. The size grows unless kept.
    case reserve(keepSize: Bool)
    /// Frees the range; it reads as zeros, the size stays.
    case punchHole
    /// The range reads as zeros afterwards.
    case zeroRange(keepSize: Bool)
}

/// What `FileSystem.seek` looks for.
public enum SeekTarget: Hashable, Sendable {
    /// The next byte that is stored.
    case data
    /// The next byte that isn't, at the latest the end of the file.
    case hole
}

/// A place in a directory where reading can go on, also after entries came and went and after a restart. 63 bits.
public struct DirectoryPosition: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number.
    public var rawValue: UInt64
    /// The place of a number that was got from an entry; 0 is the start.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Where reading begins.
    public static let start = DirectoryPosition(rawValue: 0)
    /// Order in the directory.
    public static func < (a: DirectoryPosition, b: DirectoryPosition) -> Bool { a.rawValue < b.rawValue }
}

/// An entry of a directory.
public struct DirectoryEntry: Hashable, Sendable {
    /// The name's bytes, UTF-8 unless the image breaks that rule.
    public var name: [UInt8]
    /// The node.
    public var node: NodeID
    /// What the node is; nil where its block can't be read.
    public var kind: NodeKind?
    /// Where the next entry is.
    public var next: DirectoryPosition
}

/// The state of the whole file system, as statvfs(3) wants it. Blocks of 4 KiB.
public struct FileSystemStatistics: Hashable, Sendable {
    /// All blocks.
    public var totalBlocks: UInt64
    /// Blocks that are free.
    public var freeBlocks: UInt64
    /// Blocks that an operation can still use.
    public var availableBlocks: UInt64
    /// The newest durable generation.
    public var generation: Generation
    /// The newest sequence number that is durable.
    public var durableSequence: UInt64
    /// The newest sequence number that was given out.
    public var sequence: UInt64
    /// Bytes of file content that wait to be written.
    public var dirtyBytes: UInt64
    /// Blocks of the allocation log.
    public var logBlocks: Int
    /// Whether the content is encrypted.
    public var isEncrypted: Bool
    /// The file system's UUID.
    public var uuid: Bytes16
}
