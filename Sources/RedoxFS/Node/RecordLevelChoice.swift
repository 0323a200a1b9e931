// How large a file's records are. 128 KiB unless the directory says otherwise, and:
//
//   - a file that gets its first record when no chunk of that size is left gets smaller ones
//   - a file that is overwritten in small parts here and there, as databases are, gets smaller ones, if it isn't so large
//     already that rewriting it would cost more than it gains: each such write costs reading, compressing and writing a
//     whole record

import DiskFormat
import Platform

extension EngineState {
    /// How many scattered writes more than others make the records smaller.
    private static let scatteredLimit: Int32 = 64
    /// The largest file that is rewritten: its records are pointed to from the node and fit into memory.
    private static let largestRewritten: UInt64 = 16 << 20

    /// Whether a file of a size can be rewritten: all of it must be in memory at once.
    private func isRewritable(_ size: UInt64) -> Bool {
        size <= min(Self.largestRewritten, UInt64(records.workingSet))
    }

    /// Learns from a write. The record level that the file should have from now on, if it is another.
    mutating func noteWrite(
        _ id: NodeID, at offset: UInt64, count: Int, size: UInt64, _ layout: RecordLayout
    ) -> UInt32? {
        guard count &* 8 <= layout.recordSize, offset &+ UInt64(count) <= size else {
            if let old = inodes[UInt64(id.rawValue)], old.scatteredWrites > 0 {
                inodes.update(UInt64(id.rawValue), initial: old) { $0.scatteredWrites -= 1 }
            }
            return nil
        }
        let end = offset &+ UInt64(count)
        let scattered = inodes.update(UInt64(id.rawValue), initial: InodeState()) { inode -> Int32 in
            inode.scatteredWrites = max(0, inode.scatteredWrites + (offset == inode.writeEnd ? -1 : 1))
            inode.writeEnd = end
            return inode.scatteredWrites
        }
        guard scattered >= Self.scatteredLimit, isRewritable(size) else { return nil }
        let wanted = layout.tailLevel(byteCount: count &* 4)
        return wanted < layout.level ? UInt32(wanted) : nil
    }

    /// Gives a file without records smaller ones, one level less. False if that is not possible.
    mutating func lowerRecordLevel(_ id: NodeID) throws(Fault) -> Bool {
        let slot = try touchNode(id)
        let buffer = blocks.buffer(slot)
        let level = NodeBlock.recordLevel(buffer.bytes)
        guard NodeBlock.isInline(buffer.bytes), level > 0 else { return false }
        try secure(isFreeing: true)
        applyPlan()
        blocks.change(slot) { NodeBlock.setRecordLevel(&$0, level &- 1) }
        changes &+= 1
        return true
    }

    /// Cuts a file's content anew into smaller records. False if it has changed so that this makes no sense any more.
    mutating func changeRecordLevel(_ id: NodeID, to level: UInt32) throws(Fault) -> Bool {
        let nodeSlot = try touchNode(id)
        let old = try layout(nodeSlot)
        let buffer = blocks.buffer(nodeSlot)
        let size = NodeBlock.size(buffer.bytes)
        guard !NodeBlock.isInline(buffer.bytes), level < old.level, isRewritable(size),
            let new = try? RecordLayout(recordLevel: level)
        else { return false }
        // Everything in memory, and what the parts need.
        var parts: [(record: UInt64, source: Slot, start: Int)] = []
        var loads: [Load] = []
        for record in 0..<old.recordCount(size: size) {
            if let slot = records.find(RecordKey(index: record, node: id.rawValue)) {
                let content = records.buffer(slot)
                for start in stride(from: 0, to: content.byteCount, by: new.recordSize) {
                    let end = min(start &+ new.recordSize, content.byteCount)
                    if content.bytes(start..<end).isAllZero() { continue }
                    parts.append((new.record(at: old.start(of: record)) &+ UInt64(start / new.recordSize), slot, start))
                }
            } else {
                let pointer = try recordPointer(nodeSlot, record)
                if !pointer.isNull { loads.append(try recordLoad(id, record, pointer, old)) }
            }
        }
        guard loads.isEmpty else { throw .load(loads) }
        let step = try planFreeing(nodeSlot, from: 0, to: RecordLayout.capacity)
        guard step.first == 0 else { return false }
        for (position, part) in parts.enumerated() {
            plan.addRecord(level: contentLevel(new, part.record, size))
            guard let path = RecordLayout.path(to: part.record) else { throw .failed(.fileTooLarge) }
            // All lists are new. A list is counted with the first part that has it, which need not be the list's first.
            if path.depth > 0, position == 0 || !sharesList(part.record, parts[position &- 1].record) {
                plan.addBlocks(path.depth)
            }
        }
        try secure()
        applyPlan()

        let contents = parts.map { part -> AlignedBuffer in
            let source = records.buffer(part.source)
            let end = min(part.start &+ new.recordSize, source.byteCount)
            let copy = AlignedBuffer(byteCount: new.recordSize)
            copy.copyBytes(from: source.bytes(part.start..<end), at: 0)
            return copy
        }
        freeRecords(nodeSlot, from: 0, to: RecordLayout.capacity)
        blocks.change(nodeSlot) { NodeBlock.setRecordLevel(&$0, level) }
        for (part, content) in zip(parts, contents) {
            let slot = records.create(RecordKey(index: part.record, node: id.rawValue), pointer: .null, buffer: content)
            makeRecordDirty(nodeSlot, slot, level: contentLevel(new, part.record, size))
        }
        inodes.update(UInt64(id.rawValue), initial: InodeState()) { $0.scatteredWrites = 0 }
        changes &+= 1
        return true
    }
}

/// Whether the pointers of two records, neither of which the node holds itself, are in the same list.
private func sharesList(_ a: UInt64, _ b: UInt64) -> Bool {
    guard a >= RecordLayout.firstRecord(ofDepth: 1), b >= RecordLayout.firstRecord(ofDepth: 1) else { return false }
    return (a &- RecordLayout.firstRecord(ofDepth: 1)) &>> 8 == (b &- RecordLayout.firstRecord(ofDepth: 1)) &>> 8
}

extension FileSystem {
    /// Gives a file that has no records yet smaller ones.
    func lowerRecordLevel(_ node: NodeID, _ context: inout RequestContext) throws(FileSystemError) -> Bool {
        try change(&context) { (state, _) throws(Fault) in try state.lowerRecordLevel(node) }
    }

    /// Cuts a file into smaller records. If there is no room for it, things stay as they are.
    func adoptRecordLevel(
        _ node: NodeID, _ level: UInt32, _ context: inout RequestContext
    ) throws(FileSystemError) {
        do throws(FileSystemError) {
            _ = try change(&context, .afterwards) { (state, _) throws(Fault) in
                try state.changeRecordLevel(node, to: level)
            }
        } catch {
            // The write itself is done: nothing here may make it fail.
            state.withLock { state in
                state.inodes.update(UInt64(node.rawValue), initial: InodeState()) { $0.scatteredWrites = .min / 2 }
            }
        }
    }
}
