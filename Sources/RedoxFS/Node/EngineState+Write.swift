import DiskFormat
import Platform

/// Bytes to be written to a file, cut at the borders of its records.
struct WritePiece: Sendable {
    /// The record.
    var record: UInt64
    /// Where the bytes begin in the record.
    var start: Int
    /// How many bytes.
    var count: Int
    /// Where they begin in the request.
    var source: Int
    /// A buffer that already holds them and nothing else, if they fill the record from its start on.
    var buffer: AlignedBuffer?
}

/// What a write is about to do to one record.
private struct RecordChange {
    var piece: WritePiece
    /// The record in memory, if it is.
    var slot: Slot?
    /// Its pointer, if it isn't.
    var pointer = BlockPointer.null
    /// The level that its content needs afterwards.
    var level = 0
    /// Zeros into a hole: nothing to do.
    var isNothing = false
}

extension EngineState {
    /// Writes a request that fits into one step. The pieces are cut for the node's record level; nil if it is another one.
    mutating func write(
        _ id: NodeID, at offset: UInt64, _ bytes: RawSpan, _ pieces: [WritePiece], level pieceLevel: Int,
        _ context: inout RequestContext
    ) throws(Fault) -> Bool {
        try requireFile(id)
        let nodeSlot = try touchNode(id)
        // It could become too large to be deleted in one step, and nobody would read it.
        if isDeparted(id, nodeSlot) { throw .failed(.notFound) }
        let layout = try layout(nodeSlot)
        let size = NodeBlock.size(blocks.buffer(nodeSlot).bytes)
        let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.byteCount))
        guard !overflow, end <= layout.maximumSize else { throw .failed(.fileTooLarge) }
        let isInline = NodeBlock.isInline(blocks.buffer(nodeSlot).bytes)
        if isInline, end < UInt64(Limits.inlineCapacity) {
            try secure()
            applyPlan()
            writeInline(nodeSlot, offset, bytes, size: size, end: end)
        } else {
            guard layout.level == pieceLevel else { return false }
            let newSize = max(size, end)
            var changes: [RecordChange] = []
            changes.reserveCapacity(pieces.count)
            if isInline {
                try planConversion(nodeSlot, layout, size, newSize, pieces)
                for piece in pieces { changes.append(try plan(fresh: piece, bytes, layout, newSize)) }
            } else {
                if offset > size { try planTail(nodeSlot, layout, size) }
                try plan(pieces, bytes, nodeSlot, layout, size: size, newSize: newSize, &changes)
            }
            try secure()
            applyPlan()
            if isInline { convert(nodeSlot, layout, size, newSize, pieces) }
            if offset > size, !isInline { cleanTail(nodeSlot, layout, size) }
            for change in changes { apply(change, bytes, nodeSlot, layout) }
            blocks.change(nodeSlot) { NodeBlock.setSize(&$0, newSize) }
        }
        setTimes(nodeSlot, modification: context.time, change: context.time)
        noteChange(&context)
        return true
    }

    // MARK: Inline content

    private mutating func writeInline(
        _ nodeSlot: Slot, _ offset: UInt64, _ bytes: RawSpan, size: UInt64, end: UInt64
    ) {
        blocks.change(nodeSlot) { block in
            // What lies past the size is no content, also if an old image has something there.
            if size < offset {
                let start = NodeBlock.Offset.content &+ Int(size)
                block.fill(start..<(NodeBlock.Offset.content &+ Int(offset)))
            }
            block.copy(bytes, at: NodeBlock.Offset.content &+ Int(offset))
            NodeBlock.setSize(&block, max(size, end))
        }
    }

    /// How many bytes of an inline node's content are stored.
    private func inlineCount(_ size: UInt64) -> Int { Int(min(size, UInt64(Limits.inlineCapacity))) }

    /// Whether the pieces cover everything that an inline node holds.
    private func coversInline(_ size: UInt64, _ pieces: [WritePiece]) -> Bool {
        guard let first = pieces.first, first.record == 0, first.start == 0 else { return size == 0 }
        return first.count >= inlineCount(size)
    }

    private mutating func planConversion(
        _ nodeSlot: Slot, _ layout: RecordLayout, _ size: UInt64, _ newSize: UInt64, _ pieces: [WritePiece]
    ) throws(Fault) {
        // Record 0 is counted with the pieces if one of them is for it.
        if !coversInline(size, pieces), pieces.first?.record != 0 {
            plan.addRecord(level: contentLevel(layout, 0, newSize))
        }
        for (position, piece) in pieces.enumerated() {
            guard let path = RecordLayout.path(to: piece.record) else { throw .failed(.fileTooLarge) }
            // All lists are new; neighbours share theirs.
            if path.depth > 0, position == 0 || path.index(inList: path.depth &- 1) == 0 {
                plan.addBlocks(path.depth)
            }
        }
    }

    /// Moves inline content into record 0.
    private mutating func convert(
        _ nodeSlot: Slot, _ layout: RecordLayout, _ size: UInt64, _ newSize: UInt64, _ pieces: [WritePiece]
    ) {
        let count = inlineCount(size)
        let old = blocks.buffer(nodeSlot)
        let content = NodeBlock.Offset.content..<NodeBlock.Offset.content &+ count
        let isKept = !coversInline(size, pieces) && !old.bytes(content).isAllZero()
        let saved = isKept ? AlignedBuffer(copying: old.bytes(content)) : nil
        blocks.change(nodeSlot) { block in
            NodeBlock.setFlags(&block, NodeBlock.flags(block.bytes).subtracting(.inlineData))
            NodeBlock.clearContent(&block)
        }
        guard let saved else { return }
        let level = contentLevel(layout, 0, newSize)
        let buffer = AlignedBuffer(byteCount: Limits.blockSize &<< level)
        buffer.copyBytes(from: saved.bytes, at: 0)
        let key = RecordKey(index: 0, node: blocks.slots[nodeSlot].owner)
        let slot = records.create(key, pointer: .null, buffer: buffer)
        makeRecordDirty(nodeSlot, slot, level: level)
    }

    // MARK: Records

    /// The level of the block that a record's content needs in a file of a size.
    func contentLevel(_ layout: RecordLayout, _ record: UInt64, _ size: UInt64) -> Int {
        let start = layout.start(of: record)
        guard size > start else { return 0 }
        return layout.tailLevel(byteCount: Int(min(UInt64(layout.recordSize), size &- start)))
    }

    private mutating func plan(
        _ pieces: [WritePiece], _ bytes: RawSpan, _ nodeSlot: Slot, _ layout: RecordLayout, size: UInt64,
        newSize: UInt64, _ changes: inout [RecordChange]
    ) throws(Fault) {
        let id = NodeID(blocks.slots[nodeSlot].owner)
        var loads: [Load] = []
        for (position, piece) in pieces.enumerated() {
            var change = RecordChange(piece: piece)
            change.level = contentLevel(layout, piece.record, newSize)
            if let slot = records.find(RecordKey(index: piece.record, node: id.rawValue)) {
                change.slot = slot
                let old = records.slots[slot]
                if old.isDirty {
                    let reserved = Int(old.reservedLevel)
                    if reserved != change.level {
                        plan.extra[change.level] += 1
                        plan.extra[reserved] -= 1
                    }
                } else {
                    _ = try touchRecord(nodeSlot, piece.record, isFirst: position == 0)
                    plan.addRecord(level: change.level)
                }
            } else {
                change.pointer = try touchRecord(nodeSlot, piece.record, isFirst: position == 0)
                if change.pointer.isNull {
                    change.isNothing = bytes.extracting(piece.source..<piece.source &+ piece.count).isAllZero()
                } else if !isCovered(piece, layout, size) {
                    loads.append(try recordLoad(id, piece.record, change.pointer, layout))
                }
                if !change.isNothing { plan.addRecord(level: change.level) }
            }
            changes.append(change)
        }
        guard loads.isEmpty else { throw .load(loads) }
    }

    private mutating func plan(
        fresh piece: WritePiece, _ bytes: RawSpan, _ layout: RecordLayout, _ newSize: UInt64
    ) throws(Fault) -> RecordChange {
        var change = RecordChange(piece: piece)
        change.level = contentLevel(layout, piece.record, newSize)
        change.isNothing =
            piece.record != 0 && bytes.extracting(piece.source..<piece.source &+ piece.count).isAllZero()
        if !change.isNothing { plan.addRecord(level: change.level) }
        return change
    }

    /// Whether a piece overwrites everything that a record holds.
    private func isCovered(_ piece: WritePiece, _ layout: RecordLayout, _ size: UInt64) -> Bool {
        let start = layout.start(of: piece.record)
        let content = size > start ? Int(min(UInt64(layout.recordSize), size &- start)) : 0
        return piece.start == 0 && piece.count >= content
    }

    private mutating func apply(_ change: RecordChange, _ bytes: RawSpan, _ nodeSlot: Slot, _ layout: RecordLayout) {
        if change.isNothing { return }
        let piece = change.piece
        let key = RecordKey(index: piece.record, node: blocks.slots[nodeSlot].owner)
        let payload = bytes.extracting(piece.source..<piece.source &+ piece.count)
        let size = Limits.blockSize &<< change.level
        if let slot = records.find(key) {
            if let buffer = piece.buffer, piece.count == layout.recordSize {
                records.replace(slot, with: buffer)
            } else {
                records.grow(slot, level: change.level)
                records.change(slot) { $0.copy(payload, at: piece.start) }
            }
            makeRecordDirty(nodeSlot, slot, level: change.level)
            return
        }
        let buffer: AlignedBuffer
        if let full = piece.buffer, full.byteCount >= size {
            buffer = full
        } else {
            buffer = AlignedBuffer(uninitializedByteCount: size)
            buffer.zero(0..<piece.start)
            buffer.copyBytes(from: payload, at: piece.start)
            buffer.zero(piece.start &+ piece.count..<size)
        }
        let slot = records.create(key, pointer: change.pointer, buffer: buffer)
        makeRecordDirty(nodeSlot, slot, level: change.level)
    }

    // MARK: The tail

    /// Plans what is needed before a file grows past a gap: bytes behind its end in the last record must become zeros.
    mutating func planTail(_ nodeSlot: Slot, _ layout: RecordLayout, _ size: UInt64) throws(Fault) {
        guard layout.offset(of: size) != 0 else { return }
        let record = layout.record(at: size)
        let id = NodeID(blocks.slots[nodeSlot].owner)
        if let slot = records.find(RecordKey(index: record, node: id.rawValue)) {
            guard records.slots[slot].hasStaleTail, !records.slots[slot].isDirty else { return }
            _ = try touchRecord(nodeSlot, record, isFirst: true)
            plan.addRecord(level: RecordCache.level(of: records.buffer(slot).byteCount))
            return
        }
        let pointer = try recordPointer(nodeSlot, record)
        guard !pointer.isNull, UInt64(pointer.address.contentByteCount) > UInt64(layout.offset(of: size)) else {
            return
        }
        throw .load(try recordLoad(id, record, pointer, layout))
    }

    /// Writes a last record anew whose bytes on disk behind the end aren't zero.
    mutating func cleanTail(_ nodeSlot: Slot, _ layout: RecordLayout, _ size: UInt64) {
        guard layout.offset(of: size) != 0 else { return }
        let key = RecordKey(index: layout.record(at: size), node: blocks.slots[nodeSlot].owner)
        guard let slot = records.find(key), records.slots[slot].hasStaleTail, !records.slots[slot].isDirty else {
            return
        }
        records.change(slot) { _ in }
        makeRecordDirty(nodeSlot, slot, level: RecordCache.level(of: records.buffer(slot).byteCount))
    }
}
