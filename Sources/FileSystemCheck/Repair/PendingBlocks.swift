import BlockDevice
import DiskFormat
import Platform

/// A device whose writes stay in memory until they are known to be right; what lies below is only read.
///
/// All writes must be whole, aligned blocks of 4096 bytes.
final class PendingBlocks: BlockDevice {
    private let base: any BlockDevice
    private let blocks = Locked<[UInt64: AlignedBuffer]>([:])

    init(over base: any BlockDevice) { self.base = base }

    var byteCount: UInt64 { base.byteCount }
    var isWritable: Bool { true }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try base.read(at: offset, into: &buffer)
        let size = UInt64(Limits.blockSize)
        guard buffer.byteCount > 0 else { return }
        let end = offset + UInt64(buffer.byteCount)
        for index in offset / size...(end - 1) / size {
            guard let block = blocks.withLock({ $0[index] }) else { continue }
            let from = max(offset, index * size)
            let to = min(end, (index + 1) * size)
            let source = block.bytes(Int(from - index * size)..<Int(to - index * size))
            buffer.copyBytes(from: source, at: Int(from - offset))
        }
    }

    func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        let size = UInt64(Limits.blockSize)
        guard offset % size == 0, buffers.allSatisfy({ $0.byteCount % Limits.blockSize == 0 }) else {
            throw .unsupported(.write)
        }
        _ = try checkedLength(at: offset, buffers)
        var index = offset / size
        for buffer in buffers {
            for at in stride(from: 0, to: buffer.byteCount, by: Limits.blockSize) {
                let copy = AlignedBuffer(copying: buffer.bytes.extracting(at..<at + Limits.blockSize))
                blocks.withLock { $0[index] = copy }
                index += 1
            }
        }
    }

    func flush() throws(BlockDeviceError) {}

    /// The device's blocks that were written, in ascending order.
    var written: [(index: UInt64, block: AlignedBuffer)] {
        blocks.withLock { blocks in blocks.map { ($0.key, $0.value) } }.sorted { $0.0 < $1.0 }
    }
}
