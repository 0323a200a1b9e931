import DiskFormat

/// A file, directory or other entry on its way from one place to another, with everything that is kept of it.
public struct TreeEntry: Sendable {
    /// Names from the top of the copied tree down; empty for the top itself.
    public var path: [[UInt8]]
    /// What it is.
    public var kind: NodeKind
    /// Permission bits: 0o7777.
    public var mode: UInt16
    /// The owner.
    public var uid: UInt32 = 0
    /// The group.
    public var gid: UInt32 = 0
    /// Bytes of content, of regular files.
    public var size: UInt64 = 0
    /// Last change of the content.
    public var modified = Timespec()
    /// Last access; nil where the source doesn't know.
    public var accessed: Timespec?
    /// Last change of anything; nil where the source doesn't know.
    public var changed: Timespec?
    /// Creation; nil where the source doesn't know.
    public var created: Timespec?
    /// Number of a device node, as the kernel encodes it in 32 bits.
    public var device = DeviceNumber(major: 0, minor: 0)
    /// What a symbolic link says.
    public var target: [UInt8] = []
    /// The path of an earlier entry that this is another name of; everything but `path` is that entry's then.
    public var hardLink: [[UInt8]]?
    /// Extended attributes.
    public var attributes: [ExtendedAttribute] = []
    /// Where the content is, in order and without overlap; the rest of the size is holes. Nil: all of it is content.
    public var extents: [Range<UInt64>]?

    /// An entry.
    public init(path: [[UInt8]], kind: NodeKind, mode: UInt16) {
        self.path = path
        self.kind = kind
        self.mode = mode
    }

    /// The path with slashes, "." for the top.
    public var joinedPath: [UInt8] {
        path.isEmpty ? [0x2E] : Array(path.joined(separator: [0x2F]))
    }

    /// The path for messages.
    public var displayPath: String { ToolFailure.display(joinedPath) }
}

/// A name and a value.
public struct ExtendedAttribute: Hashable, Sendable {
    /// The name with its namespace, such as "user.comment".
    public var name: [UInt8]
    /// The value.
    public var value: [UInt8]

    /// An attribute.
    public init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

/// The number of a device node.
public struct DeviceNumber: Hashable, Sendable {
    /// Which driver.
    public var major: UInt32
    /// Which of its devices.
    public var minor: UInt32

    /// A number of its parts.
    public init(major: UInt32, minor: UInt32) {
        self.major = major
        self.minor = minor
    }

    /// The kernel's encoding in 32 bits: minor 0..<8, major 8..<20, the rest of minor 20..<32.
    public init(encoded: UInt32) {
        major = (encoded >> 8) & 0xFFF
        minor = (encoded & 0xFF) | ((encoded >> 12) & 0xFFF00)
    }

    /// As `init(encoded:)` reads it; parts too large for it lose their high bits.
    public var encoded: UInt32 {
        (minor & 0xFF) | ((major & 0xFFF) << 8) | ((minor & 0xFFF00) << 12)
    }
}
