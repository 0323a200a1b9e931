import Platform
import SchemeProtocol
import SystemPackage

/// Builds a client's state from the memory that a dead one left.
enum RequestMemoryCopy {
    /// Copies everything alive to the same offsets of the new memory and rebuilds the bitmaps and lists.
    ///
    /// A client can die between any two instructions, so each record is judged by its state word, which is written last:
    /// - reserved, or submitted and not yet in the ring: the server can't know it. Freed; who asked will ask again.
    /// - submitted: in flight. - completed: the answer is recorded. - retained: the log.
    static func copyLive(
        from old: SharedMapping, descriptor: SharedDescriptor, to new: SharedMapping, _ layout: ChannelLayout,
        _ side: inout SubmissionSide
    ) throws(ChannelError) {
        try ChannelHeader.check(old, magic: ChannelLayout.requestMagic, layout.geometry)
        copy(old, new, 0, layout.requestRecords)
        let generation = old.load32(ChannelLayout.memoryGenerationOffset)
        new.store32(ChannelLayout.memoryGenerationOffset, generation &+ 1)
        side.tail = old.load32(ChannelLayout.submissionTailOffset)
        try copyTouched(old, new, descriptor, layout.clientArea..<(layout.clientArea + layout.geometry.clientAreaBytes))
        for index in stride(from: layout.geometry.recordCount - 1, through: 0, by: -1) {
            let base = layout.requestRecords + index * ProtocolLimits.requestRecordBytes
            let tag = UInt32(index)
            let state = RecordState(rawValue: old.load32(base + Bookkeeping.state)) ?? .free
            let flags = old.load32(base + Bookkeeping.flags)
            let behindTail = Int32(bitPattern: old.load32(base + Bookkeeping.position) &- side.tail) < 0
            let wasSent = flags & Bookkeeping.published != 0 && behindTail
            let isLive = state == .completed || state == .retained || (state == .submitted && wasSent)
            let pages = PageRuns(old, base)
            guard isLive, side.payloadPages.claim(pages.payload, pages.payloadCount) else {
                // The generation goes on counting: a late completion of the old use stays recognisable.
                let lastUse = old.load32(base + 4)
                if lastUse != 0 { new.store32(base + 4, lastUse) }
                side.free.append(tag)
                continue
            }
            copy(old, new, base, ProtocolLimits.requestRecordBytes)
            if !side.replyPages.claim(pages.reply, pages.replyCount) { new.store32(base + Bookkeeping.replyPages, 0) }
            copy(
                old, new, layout.payloadArea + pages.payload * ProtocolLimits.pageBytes,
                pages.payloadCount * ProtocolLimits.pageBytes)
            switch state {
            case .retained:
                side.retained.append(tag)
                side.retainedPages += pages.payloadCount
            case .submitted: side.inFlight += 1
            default: break
            }
        }
    }

    private struct PageRuns {
        let payload: Int
        let payloadCount: Int
        let reply: Int
        let replyCount: Int

        init(_ memory: SharedMapping, _ base: Int) {
            payload = Int(memory.load32(base + Bookkeeping.payloadPage))
            payloadCount = Int(memory.load32(base + Bookkeeping.payloadPages))
            reply = Int(memory.load32(base + Bookkeeping.replyPage))
            replyCount = Int(memory.load32(base + Bookkeeping.replyPages))
        }
    }

    private static func copy(_ old: SharedMapping, _ new: SharedMapping, _ offset: Int, _ count: Int) {
        guard count > 0 else { return }
        var target = new.mutableBytes(offset, count: count)
        target.copyBytes(from: old.bytes(offset, count: count))
    }

    /// Copies the pages of a range that were ever written: the others are zeros on both sides.
    private static func copyTouched(
        _ old: SharedMapping, _ new: SharedMapping, _ descriptor: SharedDescriptor, _ range: Range<Int>
    ) throws(ChannelError) {
        var position = range.lowerBound
        while position < range.upperBound {
            let at = position
            guard
                let touched = try system(
                    "lseek",
                    { () throws(Errno) in
                        try SharedMemory.nextTouchedRange(descriptor.rawValue, from: at)
                    }), touched.lowerBound < range.upperBound, !touched.isEmpty
            else { return }
            copy(old, new, touched.lowerBound, min(touched.upperBound, range.upperBound) - touched.lowerBound)
            position = touched.upperBound
        }
    }
}
