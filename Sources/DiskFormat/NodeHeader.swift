/// The first 74 bytes of a node as a value: for printing, checking and making nodes. The hot paths use `NodeBlock`.
public struct NodeHeader: Hashable, Sendable {
    /// Type and permissions.
    public var mode: UInt16
    /// Owner.
    public var uid: UInt32
    /// Group.
    public var gid: UInt32
    /// Number of names.
    public var links: UInt32
    /// Size in bytes.
    public var size: UInt64
    /// Blocks in use, 4 KiB each: 1 for the node, plus records, lists, directory blocks.
    public var blocks: UInt64
    /// Creation time.
    public var creationTime: Timespec
    /// Stored time of the last change of the content.
    public var modificationTime: Timespec
    /// Stored time of the last read.
    public var accessTime: Timespec
    /// Record level.
    public var recordLevel: UInt32
    /// Flags.
    public var flags: NodeFlags

    /// A new node without content or names.
    public init(kind: NodeKind, permissions: UInt16, uid: UInt32, gid: UInt32, time: Timespec) {
        mode = kind.modeBits | permissions & 0o7777
        self.uid = uid
        self.gid = gid
        links = 0
        size = 0
        blocks = 1
        creationTime = time
        modificationTime = time
        accessTime = time
        recordLevel = kind.defaultRecordLevel
        flags = kind.defaultFlags
    }

    /// The fields of a node block. The only error is `.tooShort`: what the values mean is for `check`.
    public init(decoding bytes: RawSpan) throws(FormatError) {
        try FormatError.checkBlock(bytes, .node)
        mode = NodeBlock.mode(bytes)
        uid = NodeBlock.uid(bytes)
        gid = NodeBlock.gid(bytes)
        links = NodeBlock.links(bytes)
        size = NodeBlock.size(bytes)
        blocks = NodeBlock.blocks(bytes)
        creationTime = NodeBlock.creationTime(bytes)
        modificationTime = NodeBlock.storedTime(bytes, at: NodeBlock.Offset.modificationTime)
        accessTime = NodeBlock.storedTime(bytes, at: NodeBlock.Offset.accessTime)
        recordLevel = NodeBlock.recordLevel(bytes)
        flags = NodeBlock.flags(bytes)
    }

    /// Stores the fields into a node block; the padding and what follows stay as they are.
    @_lifetime(block: copy block)
    public func encode(into block: inout MutableRawSpan) {
        NodeBlock.setMode(&block, mode)
        NodeBlock.setUID(&block, uid)
        NodeBlock.setGID(&block, gid)
        NodeBlock.setLinks(&block, links)
        NodeBlock.setSize(&block, size)
        NodeBlock.setBlocks(&block, blocks)
        NodeBlock.setStoredTime(&block, at: NodeBlock.Offset.creationTime, creationTime)
        NodeBlock.setStoredTime(&block, at: NodeBlock.Offset.modificationTime, modificationTime)
        NodeBlock.setStoredTime(&block, at: NodeBlock.Offset.accessTime, accessTime)
        NodeBlock.setRecordLevel(&block, recordLevel)
        NodeBlock.setFlags(&block, flags)
    }

    /// Type; nil if the mode has none.
    public var kind: NodeKind? { NodeKind(mode: mode) }

    /// Permissions: the low 12 bits of the mode.
    public var permissions: UInt16 { mode & 0o7777 }

    /// Whether the content lies in the node itself.
    public var isInline: Bool { flags.contains(.inlineData) }

    /// Makes sure that the fields can be worked with: a known type, a record level and a size that the lists reach, no
    /// directory with inline data.
    @discardableResult
    public func check() throws(FormatError) -> (kind: NodeKind, layout: RecordLayout) {
        guard let kind else { throw FormatError(.node, .value, at: NodeBlock.Offset.mode, value: UInt64(mode)) }
        let layout = try RecordLayout(recordLevel: recordLevel)
        guard size <= layout.maximumSize else {
            throw FormatError(.node, .tooLarge, at: NodeBlock.Offset.size, value: size)
        }
        guard kind != .directory || !isInline, flags.isSubset(of: .inlineData) else {
            throw FormatError(.node, .value, at: NodeBlock.Offset.flags, value: UInt64(flags.rawValue))
        }
        return (kind, layout)
    }
}
