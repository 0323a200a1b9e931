import DiskFormat

/// Calls every decoder of the format with any bytes. What they return doesn't matter: they must return.
public enum BlockExerciser {
    /// The decoders that check a span's length themselves.
    public static func decode(_ bytes: [UInt8]) {
        let span = bytes.rawBytes
        _ = Header.isValid(span)
        _ = try? Header(decoding: span)
        _ = try? NodeHeader(decoding: span).check()
        _ = try? DirectoryList.check(span)
        _ = try? HashTreeBlock.check(span)
        _ = try? AttributeTable.check(span)
        _ = try? CompressedRecord.payload(span)
        _ = FileName.fault(span)
        _ = HeaderExtension(decoding: span, generation: Generation(1))
        _ = SeaHash.hash(span)
    }

    /// All decoders and changes of a whole block.
    public static func decodeWhole(_ block: [UInt8]) {
        decode(block)
        let span = block.rawBytes
        let node = NodeExtension(span)
        _ = node.attributes.address.description
        _ = NodeExtension.device(span)
        _ = try? DirectoryRoot.content(span)
        for slot in 0..<RecordLayout.nodePointerCount { exercise(NodeBlock.pointer(span, slot)) }
        for index in 0..<TreeBlock.pointerCount { exercise(TreeBlock.pointer(span, index)) }
        _ = TreeBlock.firstFree(span, from: Int(block[0]))
        for index in 0..<ListBlock.pointerCount { exercise(ListBlock.pointer(span, index)) }
        let name = Array("name".utf8)
        _ = try? DirectoryList.find(span, name.rawBytes)
        _ = try? DirectoryList.maximumHash(span)
        _ = try? DirectoryList.entry(span, at: Int(block[1]))
        _ = try? DirectoryList.forEach(span) { FileName.fault(DirectoryList.name(span, $0)) == nil }
        _ = HashTreeBlock.insertionIndex(span, NameHash.of(name.rawBytes))
        for index in 0..<AllocationLogBlock.entryCount {
            _ = AllocationLogBlock.entry(span, index).blocks(total: 1 << 20)
        }
        for index in 0..<ReleaseListBlock.nodeCount { _ = ReleaseListBlock.node(span, index).isValid }
        if (try? AttributeTable.check(span)) != nil { _ = try? AttributeTable.find(span, name.rawBytes) }
        var copy = block
        copy.withMutableRawBytes { span in
            _ = try? DirectoryList.append(&span, node: .root, name: name.rawBytes)
            if let entry = (try? DirectoryList.entry(span.bytes, at: 0)) ?? nil {
                _ = try? DirectoryList.remove(&span, entry)
            }
            _ = HashTreeBlock.insert(&span, at: 100, hash: 5, .null)
            HashTreeBlock.remove(&span, at: 3)
            _ = AttributeTable.append(&span, name: name.rawBytes, value: name.rawBytes)
            NodeExtension.setTimes(
                &span,
                NodeTimes(
                    access: Timespec(seconds: .min), modification: Timespec(seconds: .max),
                    change: Timespec(seconds: 1, nanoseconds: .max)))
        }
    }

    private static func exercise(_ pointer: BlockPointer) {
        _ = pointer.address.isInside(blocks: 4096)
        _ = try? pointer.address.checkRecord(blocks: 4096, recordLevel: 5)
        _ = try? pointer.address.checkMetadata(blocks: 4096, of: .tree)
        _ = pointer.address.blocks
        _ = pointer.isMarker
        _ = pointer.address.byteOffset &+ UInt64(pointer.address.contentByteCount)
    }
}
