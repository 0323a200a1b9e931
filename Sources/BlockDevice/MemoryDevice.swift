import Platform

/// A device in memory. Memory that was never written isn't occupied.
public final class MemoryDevice: BlockDevice {
    private let storage: Locked<AlignedBuffer>
    /// Whether the device may be written.
    public let isWritable: Bool

    /// A device of zeros.
    public init(byteCount: Int) {
        storage = Locked(AlignedBuffer(byteCount: byteCount))
        isWritable = true
    }

    /// A device of zeros that occupies all its memory from the start.
    public init(residentByteCount byteCount: Int) {
        storage = Locked(AlignedBuffer(residentByteCount: byteCount))
        isWritable = true
    }

    /// A device with the given contents.
    public init(contents: [UInt8], isWritable: Bool = true) {
        let buffer = AlignedBuffer(byteCount: contents.count)
        unsafe buffer.copyBytes(from: contents.span.bytes, at: 0)
        storage = Locked(buffer)
        self.isWritable = isWritable
    }

    /// The size in bytes.
    public var byteCount: UInt64 { UInt64(current.byteCount) }

    /// All bytes as they are now.
    public func snapshot() -> [UInt8] {
        let buffer = current
        return unsafe buffer.bytes.withUnsafeBytes { unsafe [UInt8]($0) }
    }

    // Only the reference is taken under the lock: copying doesn't hold up others.
    private var current: AlignedBuffer { storage.withLock { $0 } }

    /// Fills the buffer.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try checkRange(offset, UInt64(buffer.byteCount), .read)
        let start = Int(offset)
        buffer.copyBytes(from: current.bytes(start..<start + buffer.byteCount))
    }

    /// Copies the buffers.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try checkWritable()
        _ = try checkedLength(at: offset, buffers)
        let target = current
        var position = Int(offset)
        for buffer in buffers {
            target.copyBytes(from: buffer.bytes, at: position)
            position += buffer.byteCount
        }
    }

    /// Nothing to do: memory has no cache in front.
    public func flush() throws(BlockDeviceError) {}

    /// Changes the size; what is accessed at the same time may be lost.
    public func resize(to byteCount: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        guard let count = Int(exactly: byteCount) else {
            throw .outOfRange(offset: 0, length: byteCount, deviceByteCount: self.byteCount, operation: .resize)
        }
        storage.withLock { buffer in
            let resized = AlignedBuffer(byteCount: count)
            resized.copyBytes(from: buffer.bytes(0..<min(count, buffer.byteCount)), at: 0)
            buffer = resized
        }
    }
}
