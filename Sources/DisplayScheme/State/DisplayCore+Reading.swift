import SchemeKit

extension DisplayCore {
    /// Reads events as lines or records into a buffer; returns how many bytes. Nothing is taken that doesn't fit, but for a line of which
    /// a part does: its rest comes with the next read.
    mutating func readEvents(
        _ events: inout DisplayState.EventQueue, _ queue: Int, asRecords: Bool, into buffer: inout MutableRawSpan
    ) -> Int {
        var count = 0
        if !asRecords {
            count = buffer.fill(from: events.rest, at: 0)
            events.rest.removeFirst(count)
        }
        while events.head != events.tail {
            let event = memory.event(queue, at: events.head)
            let bytes = asRecords ? event.bytes : Array(event.line.utf8)
            let room = buffer.byteCount - count
            if asRecords ? room < bytes.count : room == 0 { break }
            let part = min(room, bytes.count)
            for index in 0..<part { buffer.storeBytes(of: bytes[index], toByteOffset: count + index, as: UInt8.self) }
            count += part
            events.head += 1
            if part < bytes.count { events.rest = Array(bytes[part...]) }
        }
        return count
    }
}
