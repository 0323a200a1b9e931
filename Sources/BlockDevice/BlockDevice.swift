import Platform
import SystemPackage

/// Something that keeps bytes at positions: a file, a disk, a partition, memory, a simulation.
///
/// All positions and lengths are in bytes and may have any alignment. A device may be used by several threads at
/// once; concurrent accesses to the same bytes are the callers' affair. What is written survives a loss of power only
/// after a following `flush` has returned.
public protocol BlockDevice: AnyObject, Sendable {
    /// The size in bytes.
    var byteCount: UInt64 { get }

    /// Whether `write`, `discard` and `resize` may be called; if not they throw `BlockDeviceError.readOnly`.
    var isWritable: Bool { get }

    /// Fills the whole buffer with the bytes from `offset` on.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError)

    /// Writes the buffers one after another from `offset` on, gathered into as few system calls as possible.
    func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError)

    /// Writes several ranges, in any order or at once.
    func write(_ extents: [BlockExtent]) throws(BlockDeviceError)

    /// Returns when everything written before is on the medium.
    func flush() throws(BlockDeviceError)

    /// Writes when everything written before is on the medium, and returns when this is, too: what a disk calls PREFLUSH and FUA.
    func writeAfterFlush(at offset: UInt64, _ buffer: BufferSlice) throws(BlockDeviceError)

    /// Writes several ranges, and one more by `writeAfterFlush`: what a commit ends with.
    func write(
        _ extents: [BlockExtent], thenAfterFlush offset: UInt64, _ buffer: BufferSlice
    ) throws(BlockDeviceError)

    /// Gives up the contents of a range, which reads as zeros afterwards. `.unsupported(.discard)` where that would mean to write zeros
    /// for long: nothing is changed then.
    func discard(at offset: UInt64, byteCount: UInt64) throws(BlockDeviceError)

    /// Makes a range zero.
    func writeZeros(at offset: UInt64, byteCount: UInt64) throws(BlockDeviceError)

    /// Changes the size. New bytes are zero.
    func resize(to byteCount: UInt64) throws(BlockDeviceError)
}

/// Buffers that go one after another to a position of a device.
public struct BlockExtent: Sendable {
    /// The position in bytes.
    public var offset: UInt64
    /// What is written there.
    public var buffers: [BufferSlice]

    /// Buffers for a position.
    public init(_ offset: UInt64, _ buffers: [BufferSlice]) {
        self.offset = offset
        self.buffers = buffers
    }
}

extension BlockDevice {
    /// One after another: the default for devices that are reached without waiting for anybody.
    public func write(_ extents: [BlockExtent]) throws(BlockDeviceError) {
        for extent in extents { try write(at: extent.offset, extent.buffers) }
    }

    /// Flush, write, flush: the default.
    public func writeAfterFlush(at offset: UInt64, _ buffer: BufferSlice) throws(BlockDeviceError) {
        try writeBetweenFlushes(at: offset, buffer)
    }

    /// One after the other: the default.
    public func write(
        _ extents: [BlockExtent], thenAfterFlush offset: UInt64, _ buffer: BufferSlice
    ) throws(BlockDeviceError) {
        try write(extents)
        try writeAfterFlush(at: offset, buffer)
    }

    /// Flush, write, flush, for devices that sometimes have no shorter way.
    public func writeBetweenFlushes(at offset: UInt64, _ buffer: BufferSlice) throws(BlockDeviceError) {
        try flush()
        try write(at: offset, [buffer])
        try flush()
    }

    /// Writes zeros: the default for devices that have nothing to gain.
    public func discard(at offset: UInt64, byteCount: UInt64) throws(BlockDeviceError) {
        try checkRange(offset, byteCount, .discard)
        try checkWritable()
        try writeZeros(at: offset, byteCount: byteCount)
    }

    /// Writes zeros as anything else: the default.
    public func writeZeros(at offset: UInt64, byteCount: UInt64) throws(BlockDeviceError) {
        try writeZeroBuffers(at: offset, byteCount: byteCount)
    }

    /// Writes zeros as anything else, for devices that can't do better with all ranges.
    public func writeZeroBuffers(at offset: UInt64, byteCount: UInt64) throws(BlockDeviceError) {
        try checkRange(offset, byteCount, .write)
        let zeros = AlignedBuffer(byteCount: Int(min(byteCount, 1 << 20)))
        var done: UInt64 = 0
        while done < byteCount {
            let count = min(byteCount - done, UInt64(zeros.byteCount))
            try write(at: offset + done, [BufferSlice(zeros, 0..<Int(count))])
            done += count
        }
    }

    /// The default for devices of a fixed size.
    public func resize(to byteCount: UInt64) throws(BlockDeviceError) {
        throw .unsupported(.resize)
    }

    /// Writes one buffer.
    public func write(at offset: UInt64, _ buffer: AlignedBuffer) throws(BlockDeviceError) {
        try write(at: offset, [BufferSlice(buffer)])
    }

    /// Fills part of a buffer that nobody else uses.
    public func read(
        at offset: UInt64, into buffer: AlignedBuffer, _ range: Range<Int>
    ) throws(BlockDeviceError) {
        var bytes = buffer.mutableBytes(range)
        try read(at: offset, into: &bytes)
    }

    /// Throws unless the range lies inside the device.
    @inlinable
    public func checkRange(
        _ offset: UInt64, _ length: UInt64, _ operation: BlockDeviceError.Operation
    ) throws(BlockDeviceError) {
        let size = byteCount
        guard offset <= size, length <= size - offset else {
            throw .outOfRange(offset: offset, length: length, deviceByteCount: size, operation: operation)
        }
    }

    /// Throws unless the device may be written.
    @inlinable public func checkWritable() throws(BlockDeviceError) {
        if !isWritable { throw .readOnly }
    }

    /// The sum of the buffers' lengths; throws unless that many bytes from `offset` on lie inside the device.
    @inlinable
    public func checkedLength(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) -> UInt64 {
        var length: UInt64 = 0
        for buffer in buffers {
            // A wrapped sum is impossible: the buffers are in memory, and one may be listed at most 2^63 times less.
            length &+= UInt64(buffer.byteCount)
        }
        try checkRange(offset, length, .write)
        return length
    }
}
