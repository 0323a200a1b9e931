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
        from old: SharedMapping, descriptor: SharedDescriptor, to new: SharedMapping,
        newDescriptor: SharedDescriptor, _ layout: ChannelLayout, _ side: inout SubmissionSide
    ) throws(ChannelError) {
        try ChannelHeader.check(old, magic: ChannelLayout.requestMagic, layout.geometry)
        copy(old, new, 0, layout.requestRecords)
        let generation = old.load32(ChannelLayout.memoryGenerationOffset)
        new.store32(ChannelLayout.memoryGenerationOffset, generation &+ 1)
        side.tail = old.load32(ChannelLayout.submissionTailOffset)
        try copyTouched(old, new, descriptor, layout.clientArea..<(layout.clientArea + layout.geometry.clientAreaBytes))
        side.usedRecords = try usedRecords(descriptor, layout)
        for index in stride(from: layout.geometry.recordCount - 1, through: 0, by: -1) {
            guard index < side.usedRecords else {
                side.free.append(UInt32(index))
                continue
            }
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
            try copyPages(
                old, newDescriptor, layout.payloadArea + pages.payload * ProtocolLimits.pageBytes,
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

    /// Copies whole pages by way of the file: the kernel makes its pages with the contents in them, where a store into the mapping
    /// would fault for each and have it filled with zeros first.
    private static func copyPages(
        _ old: SharedMapping, _ descriptor: SharedDescriptor, _ offset: Int, _ count: Int
    ) throws(ChannelError) {
        guard count > 0 else { return }
        var done = 0
        while done < count {
            let at = offset + done
            let rest = count - done
            let written = try system("pwrite") { () throws(Errno) in
                try SystemCall.write(descriptor.rawValue, at: UInt64(at), old.bytes(at, count: rest))
            }
            guard written > 0 else { throw .system(.ioError, call: "pwrite") }
            done += written
        }
    }

    /// How many records may ever have been used: those up to the last one whose memory is there.
    private static func usedRecords(
        _ descriptor: SharedDescriptor, _ layout: ChannelLayout
    ) throws(ChannelError) -> Int {
        let end = layout.requestRecords + layout.geometry.recordCount * ProtocolLimits.requestRecordBytes
        var position = layout.requestRecords
        var last = position
        while position < end, let touched = try touchedRange(descriptor, from: position), touched.lowerBound < end {
            last = min(touched.upperBound, end)
            position = touched.upperBound
        }
        return (last - layout.requestRecords + ProtocolLimits.requestRecordBytes - 1)
            / ProtocolLimits.requestRecordBytes
    }

    /// The next range at or behind an offset that was ever written; nil if there is none.
    private static func touchedRange(
        _ descriptor: SharedDescriptor, from offset: Int
    ) throws(ChannelError) -> Range<Int>? {
        let touched = try system("lseek") { () throws(Errno) in
            try SharedMemory.nextTouchedRange(descriptor.rawValue, from: offset)
        }
        guard let touched, !touched.isEmpty else { return nil }
        return touched
    }

    /// Copies the pages of a range that were ever written: the others are zeros on both sides.
    private static func copyTouched(
        _ old: SharedMapping, _ new: SharedMapping, _ descriptor: SharedDescriptor, _ range: Range<Int>
    ) throws(ChannelError) {
        var position = range.lowerBound
        while position < range.upperBound {
            guard let touched = try touchedRange(descriptor, from: position), touched.lowerBound < range.upperBound
            else { return }
            copy(old, new, touched.lowerBound, min(touched.upperBound, range.upperBound) - touched.lowerBound)
            position = touched.upperBound
        }
    }
}
