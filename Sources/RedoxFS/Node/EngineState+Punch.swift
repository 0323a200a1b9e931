import DiskFormat
import Platform

extension EngineState {
    /// Makes a range read as zeros without storing them. Returns false if another step is needed.
    ///
    /// - Parameter newSize: the size afterwards; nil keeps it.
    mutating func punch(
        _ id: NodeID, _ range: Range<UInt64>, newSize: UInt64?, _ context: inout RequestContext
    ) throws(Fault) -> Bool {
        try requireFile(id)
        let nodeSlot = try touchNode(id)
        let layout = try layout(nodeSlot)
        let size = NodeBlock.size(blocks.buffer(nodeSlot).bytes)
        let finalSize = max(size, newSize ?? size)
        guard finalSize <= layout.maximumSize else { throw .failed(.fileTooLarge) }
        let end = min(range.upperBound, size)
        var isDone = true
        if NodeBlock.isInline(blocks.buffer(nodeSlot).bytes) {
            try secure(isFreeing: true)
            applyPlan()
            blocks.change(nodeSlot) { block in
                let from = Int(min(range.lowerBound, UInt64(Limits.inlineCapacity)))
                let to = Int(min(end, UInt64(Limits.inlineCapacity)))
                if from < to { block.fill(NodeBlock.Offset.content &+ from..<NodeBlock.Offset.content &+ to) }
                let old = Int(min(size, UInt64(Limits.inlineCapacity)))
                if finalSize > size { block.fill(NodeBlock.Offset.content &+ old..<Limits.blockSize) }
            }
        } else {
            if finalSize > size { try planTail(nodeSlot, layout, size) }
            var cuts: [(record: UInt64, bytes: Range<Int>)] = []
            var first = layout.record(at: range.lowerBound)
            var last = first
            if range.lowerBound < end {
                (cuts, first, last) = Self.cuts(range.lowerBound..<end, layout, size)
                for cut in cuts { try planCut(nodeSlot, layout, cut.record, contentEnd: finalSize) }
            }
            let step = first < last ? try planFreeing(nodeSlot, from: first, to: last) : FreeStep(first: first)
            try secure(isFreeing: finalSize == size)
            applyPlan()
            if finalSize > size { cleanTail(nodeSlot, layout, size) }
            if first < last { freeRecords(nodeSlot, from: step.first, to: last) }
            isDone = step.first <= first
            for cut in cuts { zero(nodeSlot, layout, cut.record, cut.bytes, finalSize) }
        }
        blocks.change(nodeSlot) { NodeBlock.setSize(&$0, finalSize) }
        setTimes(nodeSlot, modification: context.time, change: context.time)
        noteChange(&context)
        return isDone
    }

    /// Cuts a range into parts of records at its ends, and whole records between. The last record counts as whole if the
    /// range reaches the end of the file.
    private static func cuts(
        _ range: Range<UInt64>, _ layout: RecordLayout, _ size: UInt64
    ) -> (cuts: [(record: UInt64, bytes: Range<Int>)], first: UInt64, last: UInt64) {
        let startRecord = layout.record(at: range.lowerBound)
        let startOffset = layout.offset(of: range.lowerBound)
        let endRecord = layout.record(at: range.upperBound)
        let endOffset = range.upperBound == size ? 0 : layout.offset(of: range.upperBound)
        let last = range.upperBound == size ? layout.recordCount(size: size) : endRecord
        var cuts: [(record: UInt64, bytes: Range<Int>)] = []
        if startOffset != 0 {
            let isInside = endRecord == startRecord && range.upperBound != size
            cuts.append((startRecord, startOffset..<(isInside ? endOffset : layout.recordSize)))
            if isInside { return (cuts, startRecord &+ 1, startRecord &+ 1) }
        }
        if endOffset != 0 { cuts.append((endRecord, 0..<endOffset)) }
        return (cuts, startOffset == 0 ? startRecord : startRecord &+ 1, last)
    }

    private mutating func zero(
        _ nodeSlot: Slot, _ layout: RecordLayout, _ record: UInt64, _ range: Range<Int>, _ size: UInt64
    ) {
        guard let slot = records.find(RecordKey(index: record, node: blocks.slots[nodeSlot].owner)) else { return }
        let level = contentLevel(layout, record, size)
        records.grow(slot, level: level)
        records.change(slot) { bytes in
            let end = min(range.upperBound, bytes.byteCount)
            if range.lowerBound < end { bytes.fill(range.lowerBound..<end) }
        }
        makeRecordDirty(nodeSlot, slot, level: level)
    }
}
