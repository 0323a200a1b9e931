import BlockDevice
import Platform
import SystemPackage

/// A device that fails once it was asked for more than so many times its own size: an endless loop over an image ends, and is
/// found out.
public final class BoundedDevice: BlockDevice {
    private let base: any BlockDevice
    private let left: Locked<Int64>

    /// - Parameter factor: how often the whole device may be read or written, in blocks of 4 KiB and at least.
    public init(_ base: any BlockDevice, factor: Int64 = 400) {
        self.base = base
        left = Locked(Int64(clamping: base.byteCount / 4096 + 1024) * factor)
    }

    /// Whether the device was asked for too much.
    public var isExhausted: Bool { left.withLock { $0 < 0 } }

    /// Size of the device below.
    public var byteCount: UInt64 { base.byteCount }
    /// Whether the device below may be written.
    public var isWritable: Bool { base.isWritable }

    private func spend(_ byteCount: Int, at offset: UInt64, _ operation: BlockDeviceError.Operation)
        throws(BlockDeviceError)
    {
        let remains = left.withLock { left -> Int64 in
            left -= Int64(byteCount / 4096 + 1)
            return left
        }
        if remains < 0 { throw .io(.ioError, offset: offset, length: byteCount, operation: operation) }
    }

    /// Fills the buffer.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try spend(buffer.byteCount, at: offset, .read)
        try base.read(at: offset, into: &buffer)
    }

    /// Writes the buffers one after another.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try spend(buffers.reduce(0) { $0 + $1.byteCount }, at: offset, .write)
        try base.write(at: offset, buffers)
    }

    /// Passes on.
    public func flush() throws(BlockDeviceError) { try base.flush() }

    /// Passes on.
    public func resize(to byteCount: UInt64) throws(BlockDeviceError) { try base.resize(to: byteCount) }
}
