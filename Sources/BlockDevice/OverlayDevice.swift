import Platform

/// A device whose writes stay in memory, over another that isn't changed: copy-on-write in pages of 4 KiB.
///
/// Cheap to make by the thousand: it costs what is written to it.
public final class OverlayDevice: BlockDevice {
    private struct State {
        var pages: PageMap
        var byteCount: UInt64
    }

    private let base: any BlockDevice
    private let state: Locked<State>
    /// Whether the overlay may be written; the device below never is.
    public let isWritable: Bool

    /// An overlay that shows the base as it is. The base must not change as long as the overlay is used.
    public convenience init(over base: any BlockDevice) {
        self.init(over: base, pages: PageMap(), byteCount: base.byteCount, isWritable: true)
    }

    init(over base: any BlockDevice, pages: PageMap, byteCount: UInt64, isWritable: Bool) {
        self.base = base
        self.isWritable = isWritable
        state = Locked(State(pages: pages, byteCount: byteCount))
    }

    /// The size in bytes.
    public var byteCount: UInt64 { state.withLock { $0.byteCount } }

    /// The number of 4 KiB pages that differ, or may differ, from the base.
    public var changedPageCount: Int { state.withLock { $0.pages.count } }

    /// Fills the buffer from the overlay where it was written, from the base elsewhere.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try checkRange(offset, UInt64(buffer.byteCount), .read)
        // A copy of the map is a reference; whoever writes meanwhile makes a new one.
        let pages = state.withLock { $0.pages }
        try pages.read(at: offset, into: &buffer, over: base)
    }

    /// Keeps copies of the bytes.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try checkWritable()
        _ = try checkedLength(at: offset, buffers)
        try state.withLock { state throws(BlockDeviceError) in
            var position = offset
            for buffer in buffers {
                try state.pages.write(at: position, buffer.bytes, over: base)
                position += UInt64(buffer.byteCount)
            }
        }
    }

    /// Nothing to do.
    public func flush() throws(BlockDeviceError) {}

    /// Changes the size of the overlay; new bytes are zero.
    public func resize(to byteCount: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        try state.withLock { state throws(BlockDeviceError) in
            try state.pages.resize(from: state.byteCount, to: byteCount, over: base)
            state.byteCount = byteCount
        }
    }
}
