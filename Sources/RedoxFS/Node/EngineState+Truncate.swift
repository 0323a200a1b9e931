// Freeing content: from the end, in steps of a bounded number of list blocks, each of which is atomic. A file with more
// is shortened step by step; a crash between two leaves it at a size in between, or, if it has no name any more, on the
// release list.

import DiskFormat
import Platform

/// What one step of freeing did.
struct FreeStep: Sendable {
    /// Everything from this record on was freed.
    var first: UInt64
}

extension EngineState {
    /// How many list blocks one step reads at most.
    private static let listsPerStep = 256

    /// Sets a file's size. Returns false if another step is needed.
    mutating func setSize(_ id: NodeID, _ size: UInt64, _ time: Timespec) throws(Fault) -> Bool {
        try requireFile(id)
        let nodeSlot = try touchNode(id)
        let layout = try layout(nodeSlot)
        guard size <= layout.maximumSize else { throw .failed(.fileTooLarge) }
        let old = NodeBlock.size(blocks.buffer(nodeSlot).bytes)
        if NodeBlock.isInline(blocks.buffer(nodeSlot).bytes) {
            try secure(isFreeing: size < old)
            applyPlan()
            blocks.change(nodeSlot) { block in
                let from = min(Int(clamping: min(old, size)), Limits.inlineCapacity)
                block.fill(NodeBlock.Offset.content &+ from..<Limits.blockSize)
                NodeBlock.setSize(&block, size)
            }
            return true
        }
        if size >= old {
            if size > old { try planTail(nodeSlot, layout, old) }
            try secure()
            applyPlan()
            if size > old { cleanTail(nodeSlot, layout, old) }
            blocks.change(nodeSlot) { NodeBlock.setSize(&$0, size) }
            return true
        }
        let keep = layout.recordCount(size: size)
        try planShrinking(nodeSlot, layout, size)
        let step = try planFreeing(nodeSlot, from: keep, to: RecordLayout.capacity)
        try secure(isFreeing: true)
        applyPlan()
        freeRecords(nodeSlot, from: step.first, to: RecordLayout.capacity)
        if step.first > keep {
            blocks.change(nodeSlot) { NodeBlock.setSize(&$0, layout.start(of: step.first)) }
            setTimes(nodeSlot, modification: time, change: time)
            return false
        }
        shrinkTail(nodeSlot, layout, size)
        blocks.change(nodeSlot) { NodeBlock.setSize(&$0, size) }
        return true
    }

    /// Plans the record that keeps a part to be cut.
    private mutating func planShrinking(_ nodeSlot: Slot, _ layout: RecordLayout, _ size: UInt64) throws(Fault) {
        guard layout.offset(of: size) != 0 else { return }
        try planCut(nodeSlot, layout, layout.record(at: size), contentEnd: size)
    }

    /// Plans a record to be changed inside, if it isn't a hole.
    mutating func planCut(
        _ nodeSlot: Slot, _ layout: RecordLayout, _ record: UInt64, contentEnd: UInt64
    ) throws(Fault) {
        let id = NodeID(blocks.slots[nodeSlot].owner)
        let level = contentLevel(layout, record, contentEnd)
        if let slot = records.find(RecordKey(index: record, node: id.rawValue)) {
            if records.slots[slot].isDirty {
                plan.extra[level] += 1
                plan.extra[Int(records.slots[slot].reservedLevel)] -= 1
            } else {
                _ = try touchRecord(nodeSlot, record, isFirst: true)
                plan.addRecord(level: level)
            }
            return
        }
        let pointer = try recordPointer(nodeSlot, record)
        if !pointer.isNull { throw .load(try recordLoad(id, record, pointer, layout)) }
    }

    private mutating func shrinkTail(_ nodeSlot: Slot, _ layout: RecordLayout, _ size: UInt64) {
        let offset = layout.offset(of: size)
        guard offset != 0 else { return }
        let record = layout.record(at: size)
        guard let slot = records.find(RecordKey(index: record, node: blocks.slots[nodeSlot].owner)) else { return }
        // A record that was short before the file grew by a hole may be smaller than what is left of the file.
        let level = contentLevel(layout, record, size)
        records.grow(slot, level: level)
        records.change(slot) { bytes in
            if offset < bytes.byteCount { bytes.fill(offset..<bytes.byteCount) }
        }
        makeRecordDirty(nodeSlot, slot, level: level)
    }

    // MARK: Freeing a range of records

    /// Plans the freeing of records, as far down from the end as one step goes. Lists that keep something become dirty.
    mutating func planFreeing(_ nodeSlot: Slot, from first: UInt64, to end: UInt64) throws(Fault) -> FreeStep {
        var left = Self.listsPerStep
        let owner = blocks.slots[nodeSlot].owner
        for slot in (0..<RecordLayout.nodePointerCount).reversed() {
            let start = RecordLayout.firstRecord(ofSlot: slot)
            let depth = RecordLayout.depth(ofSlot: slot)
            let span = RecordLayout.recordsPerPointer(depth: depth)
            if start &+ span <= first { break }
            if start >= end || depth == 0 { continue }
            let pointer = NodeBlock.pointer(blocks.buffer(nodeSlot).bytes, slot)
            if pointer.isNull { continue }
            if let stop = try planFreeing(
                pointer, depth, start, owner, nodeSlot, slot, from: first, to: end, &left)
            {
                return FreeStep(first: stop)
            }
        }
        return FreeStep(first: first)
    }

    /// Plans the freeing below a list. The record from which on it goes, if not everything fits into the step.
    private mutating func planFreeing(
        _ pointer: BlockPointer, _ depth: Int, _ start: UInt64, _ owner: UInt32, _ parent: Slot, _ parentIndex: Int,
        from first: UInt64, to end: UInt64, _ left: inout Int
    ) throws(Fault) -> UInt64? {
        let span = RecordLayout.recordsPerPointer(depth: depth)
        guard left > 0 else { return min(end, start &+ span) }
        left &-= 1
        let slot = try block(pointer, .list(levels: depth), owner: owner)
        // All that are freed in part must stay; for simplicity every list on the way becomes dirty before it goes.
        let isKept = start < first || start &+ span > end
        if isKept { touch(slot, parent: parent, parentIndex: parentIndex) }
        guard depth > 1 else { return nil }
        let childSpan = RecordLayout.recordsPerPointer(depth: depth &- 1)
        for index in (0..<ListBlock.pointerCount).reversed() {
            let childStart = start &+ UInt64(index) &* childSpan
            if childStart &+ childSpan <= first { break }
            if childStart >= end { continue }
            let child = ListBlock.pointer(blocks.buffer(slot).bytes, index)
            if child.isNull { continue }
            if let stop = try planFreeing(
                child, depth &- 1, childStart, owner, slot, index, from: first, to: end, &left)
            {
                // The lists above keep something: they are dirty from the top down.
                touch(slot, parent: parent, parentIndex: parentIndex)
                return stop
            }
        }
        return nil
    }

    /// Frees records as planned; lists without pointers go.
    mutating func freeRecords(_ nodeSlot: Slot, from first: UInt64, to end: UInt64) {
        for slot in (0..<RecordLayout.nodePointerCount).reversed() {
            let start = RecordLayout.firstRecord(ofSlot: slot)
            let depth = RecordLayout.depth(ofSlot: slot)
            if start &+ RecordLayout.recordsPerPointer(depth: depth) <= first { break }
            if start >= end { continue }
            if freeBelow(nodeSlot, slot, depth, start, nodeSlot, from: first, to: end) {
                setChildPointer(nodeSlot, slot, .null)
            }
        }
    }

    /// Frees what is below a pointer and in the range. Whether the pointer must be cleared.
    private mutating func freeBelow(
        _ parent: Slot, _ index: Int, _ depth: Int, _ start: UInt64, _ nodeSlot: Slot, from first: UInt64,
        to end: UInt64
    ) -> Bool {
        let pointer = childPointer(parent, index)
        if pointer.isNull { return false }
        if depth == 0 {
            dropRecord(nodeSlot, start, pointer)
            return true
        }
        guard let slot = blocks.find(pointer) else { return false }
        let span = RecordLayout.recordsPerPointer(depth: depth &- 1)
        let isWhole = start >= first && start &+ span &<< 8 <= end
        for child in 0..<ListBlock.pointerCount {
            let childStart = start &+ UInt64(child) &* span
            if childStart &+ span <= first { continue }
            if childStart >= end { break }
            let isCleared = freeBelow(slot, child, depth &- 1, childStart, nodeSlot, from: first, to: end)
            if isCleared, !isWhole { setChildPointer(slot, child, .null) }
        }
        guard isWhole || ListBlock.isEmpty(blocks.buffer(slot).bytes) else { return false }
        dropBlock(slot)
        addBlocks(nodeSlot, -1)
        return true
    }
}
