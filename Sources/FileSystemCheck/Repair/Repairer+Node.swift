import DiskFormat
import Platform

extension Repairer {
    /// Repairs one node and all that hangs on it.
    mutating func repair(_ node: UInt32, _ extra: [StoredEntry]) throws(CheckError) {
        let pointer = tree.pointer(to: node)
        guard !pointer.isNull, let block = try? reader.readVerified(pointer), block.byteCount == Limits.blockSize else {
            return
        }
        let damage = checker.damage.nodes[node] ?? NodeDamage()
        var fields = NodeFields(block.bytes)
        correct(&fields, block, node: node)
        if fields.kind == .directory {
            try repairDirectory(node, block, &fields, damage, extra)
        } else if fields.isInline {
            fields.blocks = 0
        } else {
            try repairRecords(node, block, &fields, damage)
        }
        fields.blocks += 1
        fields.blocks += try repairAttributes(node, block, damage)
        var bytes = block.mutableBytes
        fields.encode(into: &bytes)
        tree.setPointer(to: node, try writer.write(block))
    }

    /// Puts right the fields that depend on nothing but the node and its names.
    private func correct(_ fields: inout NodeFields, _ block: AlignedBuffer, node: UInt32) {
        if fields.kind == nil {
            let isDirectory = !fields.isInline && NodeFields.pointer(block.bytes, 0).isMarker
            let kind: NodeKind = isDirectory ? .directory : .file
            fields.mode = fields.mode & 0o7777 | kind.modeBits
        }
        let isDirectory = fields.kind == .directory
        fields.flags &= isDirectory ? 0 : NodeFields.inlineFlag
        let highest = fields.kind == .file || !isDirectory && !fields.isInline ? Limits.maximumRecordLevel : 0
        fields.recordLevel = min(fields.recordLevel, highest)
        for path in [\NodeFields.creation, \NodeFields.modification, \NodeFields.access] {
            fields[keyPath: path].nanoseconds = min(fields[keyPath: path].nanoseconds, 999_999_999)
            // As a number with a sign it would lie before 1970, for which the format has 0.
            if fields[keyPath: path].seconds > UInt64(Int64.max) {
                fields[keyPath: path] = NodeFields.StoredTime(seconds: 0, nanoseconds: 0)
            }
        }
        if !isDirectory {
            fields.size = min(fields.size, Checker.maximumSize(recordLevel: fields.recordLevel))
        }
        if isDirectory || node == NodeID.root.rawValue {
            fields.links = 1
        } else if let index = checker.nodes.index(of: node) {
            fields.links = checker.nodes[index].references + (attached.contains(node) ? 1 : 0)
        }
    }

    // MARK: Directories

    private mutating func repairDirectory(
        _ node: UInt32, _ block: AlignedBuffer, _ fields: inout NodeFields, _ damage: NodeDamage, _ extra: [StoredEntry]
    ) throws(CheckError) {
        let marker = NodeFields.pointer(block.bytes, 0)
        let depth = marker.isMarker ? marker.address.level : 0
        let isEmpty = !marker.isMarker && marker.isNull
        if !damage.needsNewHashTree, extra.isEmpty {
            let blocks = isEmpty ? 0 : checker.countHashTree(NodeFields.pointer(block.bytes, 1), levels: depth)
            fields.size = blocks * UInt64(Limits.blockSize)
            fields.blocks = blocks
            return
        }
        var entries: [StoredEntry] = []
        var isIncomplete = false
        if marker.isMarker, depth <= Checker.maximumHashTreeDepth {
            isIncomplete = !checker.forEachEntry(under: NodeFields.pointer(block.bytes, 1), levels: depth) {
                entries.append($0)
            }
        }
        if isIncomplete {
            losses.append(Loss(node: node, "names of the directory: what they named is in lost+found"))
        }
        var builder = DirectoryBuilder()
        var directories: Set<UInt32> = []
        for entry in entries {
            guard let index = checker.nodes.index(of: entry.node), entry.node != NodeID.root.rawValue else { continue }
            if checker.nodes[index].kind == .directory {
                // A directory keeps its first name only.
                guard checker.nodes[index].parent == node, directories.insert(entry.node).inserted else { continue }
            }
            builder.add(entry.name, entry.node)
        }
        for entry in extra {
            builder.add(entry.name, entry.node)
        }
        try store(builder, in: block, &fields)
    }

    // MARK: Records

    private mutating func repairRecords(
        _ node: UInt32, _ block: AlignedBuffer, _ fields: inout NodeFields, _ damage: NodeDamage
    ) throws(CheckError) {
        guard let layout = try? RecordLayout(recordLevel: fields.recordLevel) else { return }
        var map = MapRepair(
            node: node, damage: damage, layout: layout, size: fields.size,
            recordCount: layout.recordCount(size: fields.size))
        var bytes = block.mutableBytes
        for slot in 0..<RecordLayout.nodePointerCount {
            let pointer = NodeFields.pointer(bytes.bytes, slot)
            let new = try rewrite(
                pointer, &map, depth: RecordLayout.depth(ofSlot: slot), first: RecordLayout.firstRecord(ofSlot: slot),
                isShared: false)
            new.encode(into: &bytes, at: NodeFields.contentOffset + slot * BlockPointer.byteCount)
        }
        fields.blocks = map.blocks
        losses += map.losses
    }

    /// Rewrites what is under a pointer of the record map as far as it must be; returns the new pointer.
    private mutating func rewrite(
        _ pointer: BlockPointer, _ map: inout MapRepair, depth: Int, first: UInt64, isShared: Bool
    ) throws(CheckError) -> BlockPointer {
        // A null record may say how large it would be; a null list must not.
        if pointer.isNull { return depth == 0 ? pointer : .null }
        let cut = RecordCut(firstRecord: first, depth: depth)
        if map.damage.lost.contains(cut) {
            map.lose(first, depth: depth)
            return .null
        }
        let isShared = isShared || map.damage.recopied.contains(cut)
        if depth == 0 {
            if first >= map.recordCount { return .null }
            let new = isShared ? try copyRecord(pointer, &map, record: first) : pointer
            if !new.isNull {
                map.blocks += new.address.blockCount
            }
            return new
        }
        guard pointer.address.level == 0, !pointer.address.isCompressed, let list = try? reader.readVerified(pointer)
        else {
            map.lose(first, depth: depth)
            return .null
        }
        let step = RecordLayout.recordsPerPointer(depth: depth - 1)
        var bytes = list.mutableBytes
        var isChanged = isShared
        for index in 0..<ListBlock.pointerCount {
            let old = ListBlock.pointer(bytes.bytes, index)
            let new = try rewrite(
                old, &map, depth: depth - 1, first: first + UInt64(index) * step, isShared: isShared)
            if new != old {
                ListBlock.setPointer(&bytes, index, new)
                isChanged = true
            }
        }
        if ListBlock.isEmpty(bytes.bytes) { return .null }
        map.blocks += 1
        return isChanged ? try writer.write(list) : pointer
    }

    /// Writes a record's content to a new place, at a level that the node's records can have.
    private mutating func copyRecord(
        _ pointer: BlockPointer, _ map: inout MapRepair, record: UInt64
    ) throws(CheckError) -> BlockPointer {
        let address = pointer.address
        let highest = Int(Limits.maximumRecordLevel)
        guard address.level <= highest, address.contentLevel <= highest, let stored = try? reader.readVerified(pointer)
        else {
            map.lose(record, depth: 0)
            return .null
        }
        let isFitting = address.contentLevel <= map.layout.level
        if isFitting, !address.isCompressed || address.level < address.decompressedLevel {
            return try writer.write(stored, level: address.level, decompressedLevel: address.decompressedLevel)
        }
        var plain = stored
        if address.isCompressed {
            plain = AlignedBuffer(byteCount: Limits.maximumRecordSize)
            guard RecordQueue.isDecompressible(stored.bytes, address, plain) else {
                map.lose(record, depth: 0)
                return .null
            }
        }
        let level = min(address.contentLevel, map.layout.level)
        let fitting = AlignedBuffer(copying: plain.bytes(0..<Limits.blockSize << level))
        return try writer.write(fitting, level: level)
    }
}

/// A record map on its way to being right.
struct MapRepair {
    let node: UInt32
    let damage: NodeDamage
    let layout: RecordLayout
    let size: UInt64
    let recordCount: UInt64
    var blocks: UInt64 = 0
    var losses: [Loss] = []

    /// Notes that all records under a pointer are lost.
    mutating func lose(_ first: UInt64, depth: Int) {
        let start = layout.start(of: first)
        let end = min(size, layout.start(of: first + RecordLayout.recordsPerPointer(depth: depth)))
        guard start < end else { return }
        if let last = losses.indices.last, let bytes = losses[last].bytes, bytes.upperBound == start {
            losses[last].bytes = bytes.lowerBound..<end
        } else {
            losses.append(Loss(node: node, bytes: start..<end, "content: it is a hole now"))
        }
    }
}
