/// The type of a node: the high four bits of its mode, with the values of stat(2).
public enum NodeKind: UInt8, Sendable, CaseIterable {
    /// Named pipe.
    case fifo = 0x1
    /// Character device.
    case characterDevice = 0x2
    /// Directory.
    case directory = 0x4
    /// Block device.
    case blockDevice = 0x6
    /// Regular file.
    case file = 0x8
    /// Symbolic link.
    case symbolicLink = 0xA
    /// Unix socket.
    case socket = 0xC

    /// The type in a mode; nil for a value that stands for none.
    @inlinable public init?(mode: UInt16) { self.init(rawValue: UInt8(truncatingIfNeeded: mode &>> 12)) }

    /// The type's bits in a mode.
    @inlinable public var modeBits: UInt16 { UInt16(rawValue) &<< 12 }

    /// The word for it in manifests and everywhere else where results are printed.
    public var word: String {
        switch self {
        case .file: "file"
        case .directory: "dir"
        case .symbolicLink: "symlink"
        case .fifo: "fifo"
        case .socket: "socket"
        case .characterDevice: "char"
        case .blockDevice: "block"
        }
    }

    /// Whether nodes of this type carry a device number.
    @inlinable public var isDevice: Bool { self == .characterDevice || self == .blockDevice }

    /// Record level of a new node of this type: files have records of 128 KiB, all others of 4 KiB.
    @inlinable public var defaultRecordLevel: UInt32 { self == .file ? Limits.fileRecordLevel : 0 }

    /// Flags of a new node of this type: content starts inline in all but directories.
    @inlinable public var defaultFlags: NodeFlags { self == .directory ? [] : .inlineData }
}

/// Flags of a node.
public struct NodeFlags: OptionSet, Hashable, Sendable {
    /// The bits as stored.
    public var rawValue: UInt32
    /// Flags of stored bits.
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The content lies in the node itself.
    public static let inlineData = NodeFlags(rawValue: 1)
}
