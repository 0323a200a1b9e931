import BlockDevice
import Platform
import SchemeKit

/// A disk scheme's disk as a block device. Deaths of the disk's server aren't seen: calls wait for its successor.
public final class ChannelDevice: BlockDevice {
    private let file: RemoteFile
    private let host: SchemeHost?
    /// Size of the disk in bytes.
    public let byteCount: UInt64
    /// Whether it was opened for writing.
    public let isWritable: Bool

    /// The disk that a file of another scheme is.
    public init(_ file: RemoteFile, isWritable: Bool, host: SchemeHost? = nil) throws(Errno) {
        self.file = file
        self.host = host
        self.isWritable = isWritable
        byteCount = try file.attributes().size
    }

    /// Reads all of the buffer.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        let wanted = buffer.byteCount
        try checkRange(offset, UInt64(wanted), .read)
        let count: Int
        do throws(Errno) {
            count = try file.read(at: offset, into: &buffer)
        } catch {
            throw .io(error, offset: offset, length: wanted, operation: .read)
        }
        // The disk became shorter.
        guard count == wanted else { throw .io(.ioError, offset: offset, length: wanted, operation: .read) }
    }

    /// Writes the buffers one after another.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try write([BlockExtent(offset, buffers)])
    }

    /// Writes all ranges with one wait.
    public func write(_ extents: [BlockExtent]) throws(BlockDeviceError) {
        guard let first = extents.first else { return }
        let count = try checkedLength(extents)
        do throws(Errno) {
            try file.write(extents.map { ($0.offset, $0.buffers) })
        } catch {
            throw .io(error, offset: first.offset, length: Int(clamping: count), operation: .write)
        }
    }

    /// Returns when everything written before is durable.
    public func flush() throws(BlockDeviceError) {
        host?.reached(.flushing)
        defer { host?.reached(.flushed) }
        do throws(Errno) {
            try file.synchronize()
        } catch {
            throw .io(error, offset: 0, length: 0, operation: .flush)
        }
    }

    private func checkedLength(_ extents: [BlockExtent]) throws(BlockDeviceError) -> UInt64 {
        try checkWritable()
        var count: UInt64 = 0
        for extent in extents { count &+= try checkedLength(at: extent.offset, extent.buffers) }
        return count
    }

    /// All in one request, if it isn't too much: a small commit waits for the disk's server once.
    public func write(
        _ extents: [BlockExtent], thenAfterFlush offset: UInt64, _ buffer: BufferSlice
    ) throws(BlockDeviceError) {
        let all = extents + [BlockExtent(offset, [buffer])]
        let count = try checkedLength(all)
        guard file.opened.contains(.writesAfterFlush), file.fitTogether(all.count, byteCount: count) else {
            try write(extents)
            return try writeAfterFlush(at: offset, buffer)
        }
        host?.reached(.flushing)
        defer { host?.reached(.flushed) }
        do throws(Errno) {
            try file.write(all.map { ($0.offset, $0.buffers) }, flags: .afterFlush)
        } catch {
            throw .io(error, offset: offset, length: Int(clamping: count), operation: .write)
        }
    }

    /// One request instead of three: the end of a commit that is too large for one is one wait, not three.
    public func writeAfterFlush(at offset: UInt64, _ buffer: BufferSlice) throws(BlockDeviceError) {
        try checkWritable()
        let count = Int(clamping: try checkedLength(at: offset, [buffer]))
        guard file.opened.contains(.writesAfterFlush) else { return try writeBetweenFlushes(at: offset, buffer) }
        host?.reached(.flushing)
        defer { host?.reached(.flushed) }
        do throws(Errno) {
            try file.write(at: offset, [buffer], flags: .afterFlush)
        } catch {
            throw .io(error, offset: offset, length: count, operation: .write)
        }
    }

    /// Tells the disk that a range isn't needed.
    public func discard(at offset: UInt64, byteCount: UInt64) throws(BlockDeviceError) {
        try checkRange(offset, byteCount, .discard)
        try checkWritable()
        do throws(Errno) {
            try file.discard(at: offset, byteCount: byteCount)
        } catch {
            throw .io(error, offset: offset, length: Int(clamping: byteCount), operation: .discard)
        }
    }
}
