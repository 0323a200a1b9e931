import DiskFormat

/// The fixed fields of a node as they are stored, whatever they say.
struct NodeFields: Sendable, Equatable {
    var mode: UInt16
    var uid: UInt32
    var gid: UInt32
    var links: UInt32
    var size: UInt64
    var blocks: UInt64
    var creation: StoredTime
    var modification: StoredTime
    var access: StoredTime
    var recordLevel: UInt32
    var flags: UInt32

    struct StoredTime: Sendable, Equatable {
        var seconds: UInt64
        var nanoseconds: UInt32
    }

    /// The bit of `flags` that says that the content lies in the node.
    static let inlineFlag: UInt32 = 1
    /// Where the content or the pointers begin.
    static let contentOffset = 128

    /// The fields of a block of 4096 bytes (format: Node).
    init(_ block: RawSpan) {
        mode = block.u16(at: 0)
        uid = block.u32(at: 2)
        gid = block.u32(at: 6)
        links = block.u32(at: 10)
        size = block.u64(at: 14)
        blocks = block.u64(at: 22)
        creation = StoredTime(seconds: block.u64(at: 30), nanoseconds: block.u32(at: 38))
        modification = StoredTime(seconds: block.u64(at: 42), nanoseconds: block.u32(at: 50))
        access = StoredTime(seconds: block.u64(at: 54), nanoseconds: block.u32(at: 62))
        recordLevel = block.u32(at: 66)
        flags = block.u32(at: 70)
    }

    /// Stores the fields; all other bytes stay.
    func encode(into block: inout MutableRawSpan) {
        block.setU16(mode, at: 0)
        block.setU32(uid, at: 2)
        block.setU32(gid, at: 6)
        block.setU32(links, at: 10)
        block.setU64(size, at: 14)
        block.setU64(blocks, at: 22)
        for (offset, time) in [(30, creation), (42, modification), (54, access)] {
            block.setU64(time.seconds, at: offset)
            block.setU32(time.nanoseconds, at: offset + 8)
        }
        block.setU32(recordLevel, at: 66)
        block.setU32(flags, at: 70)
    }

    var isInline: Bool { flags & Self.inlineFlag != 0 }

    /// Nil if the mode has no known type.
    var kind: NodeKind? { NodeKind(mode: mode) }

    /// One of the 248 pointers of a node without inline data.
    static func pointer(_ block: RawSpan, _ slot: Int) -> BlockPointer {
        BlockPointer(block, at: contentOffset + slot * BlockPointer.byteCount)
    }
}
