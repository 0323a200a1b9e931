/// Takes pieces off the front of a list of buffers.
public struct BufferQueue {
    private let buffers: [BufferSlice]
    private var index = 0
    private var used = 0

    /// A queue of these.
    public init(_ buffers: [BufferSlice]) { self.buffers = buffers }

    /// The next so many bytes, or what there is.
    public mutating func take(_ count: Int) -> [BufferSlice] {
        var result: [BufferSlice] = []
        var wanted = count
        while wanted > 0, index < buffers.count {
            let buffer = buffers[index]
            let part = min(wanted, buffer.byteCount - used)
            if part > 0 {
                let start = buffer.range.lowerBound + used
                result.append(BufferSlice(buffer.buffer, start..<(start + part)))
            }
            used += part
            wanted -= part
            if used == buffer.byteCount {
                index += 1
                used = 0
            }
        }
        return result
    }
}
