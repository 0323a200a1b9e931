import Platform

/// Part of another device: a partition.
public final class SubrangeDevice: BlockDevice {
    private let base: any BlockDevice
    /// Where the part begins on the whole device, in bytes.
    public let offset: UInt64
    /// The size of the part in bytes.
    public let byteCount: UInt64

    /// - Throws: `BlockDeviceError.outOfRange` if the part does not lie inside the device.
    public init(_ base: any BlockDevice, offset: UInt64, byteCount: UInt64) throws(BlockDeviceError) {
        try base.checkRange(offset, byteCount, .open)
        self.base = base
        self.offset = offset
        self.byteCount = byteCount
    }

    /// As the whole device.
    public var isWritable: Bool { base.isWritable }

    /// Fills the buffer; offsets in errors are those of the whole device unless the part is left.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try checkRange(offset, UInt64(buffer.byteCount), .read)
        // Doesn't overflow: the part was checked to lie inside the device.
        try base.read(at: self.offset + offset, into: &buffer)
    }

    /// Writes to the whole device.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try checkWritable()
        _ = try checkedLength(at: offset, buffers)
        try base.write(at: self.offset + offset, buffers)
    }

    /// Flushes the whole device.
    public func flush() throws(BlockDeviceError) {
        try base.flush()
    }

    /// Discards on the whole device.
    public func discard(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        try checkRange(offset, length, .discard)
        try base.discard(at: self.offset + offset, byteCount: length)
    }

    /// Makes a range of the whole device zero.
    public func writeZeros(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        try checkRange(offset, length, .write)
        try base.writeZeros(at: self.offset + offset, byteCount: length)
    }
}
