import DiskFormat
import Platform

/// Copies the blocks that a plan moves, from the leaves up: each copy of what points gets the new pointers.
struct Relocator {
    let reader: BlockReader
    let writer: BlockWriter
    let destinations: [UInt64: UInt64]
    let progress: (UInt64) -> Void
    private var done: UInt64 = 0

    init(
        reader: BlockReader, writer: BlockWriter, destinations: [UInt64: UInt64], progress: @escaping (UInt64) -> Void
    ) {
        self.reader = reader
        self.writer = writer
        self.destinations = destinations
        self.progress = progress
    }

    /// Moves the tree with all that hangs on it; returns where it is now.
    mutating func moveTree(_ pointer: BlockPointer) throws(CheckError) -> BlockPointer {
        try move(pointer, .tree(level: 3, firstNode: 0))
    }

    /// Moves the release list.
    mutating func moveReleaseList(_ pointer: BlockPointer) throws(CheckError) -> BlockPointer {
        try move(pointer, .releaseList(0))
    }

    private mutating func move(_ pointer: BlockPointer, _ kind: BlockClaim.Kind) throws(CheckError) -> BlockPointer {
        guard !pointer.isNull, !pointer.isMarker, let place = destinations[pointer.address.number] else {
            return pointer
        }
        let block: AlignedBuffer
        do throws(BlockReader.Fault) {
            block = try reader.readVerified(pointer)
        } catch {
            throw .unreadable("block \(pointer.address): \(error)")
        }
        try moveChildren(of: kind, block)
        try writer.write(block, to: place)
        done += pointer.address.blockCount
        progress(done)
        return BlockPointer(
            address: BlockAddress(
                number: place, level: pointer.address.level, decompressedLevel: pointer.address.decompressedLevel),
            hash: SeaHash.hash(block.bytes))
    }

    /// Moves what the pointer at an offset leads to.
    private mutating func moveChild(
        _ block: AlignedBuffer, at offset: Int, _ kind: BlockClaim.Kind
    ) throws(CheckError) {
        let pointer = BlockPointer(block.bytes, at: offset)
        let moved = try move(pointer, kind)
        guard moved != pointer else { return }
        var bytes = block.mutableBytes
        moved.encode(into: &bytes, at: offset)
    }

    private mutating func moveChildren(of kind: BlockClaim.Kind, _ block: AlignedBuffer) throws(CheckError) {
        switch kind {
        case .tree(let level, _):
            for index in 0..<TreeBlock.pointerCount {
                let child = level > 0 ? BlockClaim.Kind.tree(level: level - 1, firstNode: 0) : .node
                try moveChild(block, at: index * BlockPointer.byteCount, child)
            }
        case .node:
            try moveContent(ofNode: block)
        case .list(let depth, _):
            for index in 0..<ListBlock.pointerCount {
                let child = depth == 1 ? BlockClaim.Kind.record(0) : .list(depth: depth - 1, firstRecord: 0)
                try moveChild(block, at: index * BlockPointer.byteCount, child)
            }
        case .hashTree(let levels):
            for index in 0..<HashTreeBlock.entryCount {
                let child = levels == 1 ? BlockClaim.Kind.directoryList : .hashTree(levels: levels - 1)
                try moveChild(block, at: index * HashTreeBlock.entrySize + 4, child)
            }
        case .attributeTable:
            var offset = AttributeTable.headerSize
            while let entry = try? AttributeTable.entry(block.bytes, at: offset) {
                offset = entry.end
                if entry.valuePointer != nil {
                    try moveChild(block, at: entry.valueRange.lowerBound, .attributeValue)
                }
            }
            let next = AttributeTable.next(block.bytes)
            let moved = try move(next, .attributeTable)
            var bytes = block.mutableBytes
            AttributeTable.setNext(&bytes, moved)
        case .releaseList, .allocationLog:
            try moveChild(block, at: 0, kind)
        case .record, .directoryList, .attributeValue:
            return
        }
    }

    private mutating func moveContent(ofNode block: AlignedBuffer) throws(CheckError) {
        if !NodeExtension.attributes(block.bytes).isNull {
            try moveChild(block, at: NodeExtension.Offset.attributes, .attributeTable)
        }
        let fields = NodeFields(block.bytes)
        if fields.kind == .directory {
            let marker = NodeFields.pointer(block.bytes, 0)
            guard marker.isMarker else { return }
            let depth = marker.address.level
            try moveChild(
                block, at: NodeFields.contentOffset + BlockPointer.byteCount,
                depth == 0 ? .directoryList : .hashTree(levels: depth))
        } else if !fields.isInline {
            for slot in 0..<RecordLayout.nodePointerCount {
                let depth = RecordLayout.depth(ofSlot: slot)
                try moveChild(
                    block, at: NodeFields.contentOffset + slot * BlockPointer.byteCount,
                    depth == 0 ? .record(0) : .list(depth: depth, firstRecord: 0))
            }
        }
    }
}
