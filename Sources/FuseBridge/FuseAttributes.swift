import DiskFormat

/// What stat(2) shows of a node, and for how long the kernel may keep it.
public struct FuseAttributes: Sendable, Equatable {
    /// The node id that the kernel uses from now on, also st_ino. 0 in a lookup's reply: the name doesn't exist.
    public var node: UInt64
    /// Distinguishes the files that had this node id one after another.
    public var generation: UInt64
    /// File type and permission bits, as in st_mode.
    public var mode: UInt32
    /// Number of names.
    public var links: UInt32
    /// Owner.
    public var user: UInt32
    /// Owning group.
    public var group: UInt32
    /// Device number of a device node: low 32 bits of glibc's dev_t.
    public var device: UInt32
    /// Bytes.
    public var size: UInt64
    /// Allocated space in units of 512 bytes.
    public var blocks: UInt64
    /// Preferred size of an I/O in bytes.
    public var blockSize: UInt32
    /// Time of the last access.
    public var accessed: Timespec
    /// Time of the last change of the contents.
    public var modified: Timespec
    /// Time of the last change of the node.
    public var changed: Timespec
    /// Seconds for which the kernel may use these attributes without asking.
    public var attributeSeconds: Double
    /// Seconds for which the kernel may use the name without asking.
    public var entrySeconds: Double

    /// Attributes of a node without contents; set the rest as needed.
    public init(node: UInt64, generation: UInt64 = 0, mode: UInt32, time: Timespec) {
        self.node = node
        self.generation = generation
        self.mode = mode
        links = 1
        user = 0
        group = 0
        device = 0
        size = 0
        blocks = 0
        blockSize = 4096
        accessed = time
        modified = time
        changed = time
        attributeSeconds = 0
        entrySeconds = 0
    }

    /// A lookup's answer that the name doesn't exist, which the kernel may remember for some seconds.
    public static func absent(seconds: Double) -> FuseAttributes {
        var result = FuseAttributes(node: 0, mode: 0, time: Timespec(seconds: 0, nanoseconds: 0))
        result.entrySeconds = seconds
        return result
    }
}

/// Changes of a node's attributes; nil leaves one as it is.
public struct FuseAttributeChanges: Sendable, Equatable {
    /// Permission bits.
    public var mode: UInt32?
    /// Owner.
    public var user: UInt32?
    /// Owning group.
    public var group: UInt32?
    /// Bytes.
    public var size: UInt64?
    /// Time of the last access.
    public var accessed: Timespec?
    /// Time of the last change of the contents.
    public var modified: Timespec?
    /// Time of the last change of the node: sent by a kernel that keeps times in its write-back cache. The request's time
    /// otherwise.
    public var changed: Timespec?
    /// Clear set-user-id, and set-group-id of a group-executable file (HANDLE_KILLPRIV_V2).
    public var clearsPrivileges = false

    /// No change.
    public init() {}
}

/// What open(2) and create give the kernel.
public struct FuseOpenedFile: Sendable, Equatable {
    /// Comes back with each operation on the open file.
    public var handle: UInt64
    /// Reads and writes reach the server as they are, the kernel caches nothing: for pipes and files that change by
    /// themselves.
    public var isDirect = false
    /// What the kernel has cached of this file is still valid.
    public var keepsCache = false
    /// The file has no position (pipes).
    public var isStream = false

    /// A file that the kernel caches.
    public init(handle: UInt64) {
        self.handle = handle
    }
}

/// What statfs(2) shows.
public struct FuseStatistics: Sendable, Equatable {
    /// Bytes of a block.
    public var blockSize: UInt32 = 4096
    /// Blocks of the file system.
    public var blocks: UInt64 = 0
    /// Free blocks.
    public var freeBlocks: UInt64 = 0
    /// Free blocks for an ordinary user.
    public var availableBlocks: UInt64 = 0
    /// Nodes that may exist.
    public var nodes: UInt64 = 0
    /// Nodes that may be added.
    public var freeNodes: UInt64 = 0
    /// Bytes of the longest name.
    public var nameLength: UInt32 = 252

    /// An empty file system.
    public init() {}
}
