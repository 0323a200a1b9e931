import DiskFormat

/// What a metadata block must satisfy before an operation works with it: its structure is whole and every pointer leads
/// into the file system. Operations rely on it, so that no image can make them trap or reach outside.
enum BlockCheck {
    /// Checks a block of a kind.
    static func check(_ bytes: RawSpan, _ kind: BlockKind, blockCount: UInt64) throws(FormatError) {
        if kind.isTree {
            for index in 0..<TreeBlock.pointerCount {
                try checkMetadata(TreeBlock.pointer(bytes, index), blockCount, .tree)
            }
        } else if kind == .list(levels: 1) {
            for index in 0..<ListBlock.pointerCount { try checkRecord(ListBlock.pointer(bytes, index), blockCount) }
        } else if kind.isList {
            for index in 0..<ListBlock.pointerCount {
                try checkMetadata(ListBlock.pointer(bytes, index), blockCount, .list)
            }
        } else if kind == .directoryList {
            try checkDirectoryList(bytes)
        } else if kind.isHashTree {
            try HashTreeBlock.check(bytes)
            for index in 0..<HashTreeBlock.usedCount(bytes) {
                try checkMetadata(HashTreeBlock.pointer(bytes, index), blockCount, .hashTree)
            }
        } else {
            try checkNode(bytes, blockCount)
        }
    }

    @inline(__always)
    private static func checkMetadata(
        _ pointer: BlockPointer, _ blockCount: UInt64, _ structure: FormatError.Structure
    ) throws(FormatError) {
        if !pointer.isNull { try pointer.address.checkMetadata(blocks: blockCount, of: structure) }
    }

    @inline(__always)
    private static func checkRecord(_ pointer: BlockPointer, _ blockCount: UInt64) throws(FormatError) {
        guard pointer.isNull || pointer.address.isInside(blocks: blockCount),
            pointer.address.level <= Limits.maximumRecordLevel
        else { throw FormatError(.list, .outOfRange, value: pointer.address.rawValue) }
    }

    /// The entries' structure; names that the format doesn't allow can be read and removed all the same.
    private static func checkDirectoryList(_ bytes: RawSpan) throws(FormatError) {
        var count = 0
        try DirectoryList.forEach(bytes) { _ in
            count &+= 1
            return true
        }
        guard count == DirectoryList.count(bytes) else {
            throw FormatError(.directoryList, .length, at: DirectoryList.countOffset, value: UInt64(count))
        }
    }

    private static func checkNode(_ bytes: RawSpan, _ blockCount: UInt64) throws(FormatError) {
        let header = try NodeHeader(decoding: bytes)
        let (kind, _) = try header.check()
        if kind == .directory {
            if case .tree(_, let root) = try DirectoryRoot.content(bytes) {
                try checkMetadata(root, blockCount, .node)
            }
        } else if !header.isInline {
            for slot in 0..<RecordLayout.nodePointerCount {
                let pointer = NodeBlock.pointer(bytes, slot)
                if RecordLayout.depth(ofSlot: slot) == 0 {
                    try checkRecord(pointer, blockCount)
                } else {
                    try checkMetadata(pointer, blockCount, .node)
                }
            }
        }
        let attributes = NodeExtension.attributes(bytes)
        guard attributes.isNull || attributes.address.isInside(blocks: blockCount),
            attributes.address.level <= AttributeTable.maximumLevel, !attributes.address.isCompressed
        else { throw FormatError(.nodeExtension, .outOfRange, value: attributes.address.rawValue) }
    }
}
