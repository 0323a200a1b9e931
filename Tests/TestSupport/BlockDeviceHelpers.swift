import BlockDevice
import Platform

extension BlockDevice {
    /// The bytes of a range.
    public func readBytes(at offset: UInt64, count: Int) throws(BlockDeviceError) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        var span = result.mutableSpan
        var bytes = unsafe span.mutableBytes
        try read(at: offset, into: &bytes)
        return result
    }

    /// Writes bytes at a position.
    public func writeBytes(at offset: UInt64, _ bytes: [UInt8]) throws(BlockDeviceError) {
        let buffer = AlignedBuffer(uninitializedByteCount: bytes.count)
        unsafe buffer.copyBytes(from: bytes.span.bytes, at: 0)
        try write(at: offset, buffer)
    }
}

/// Bytes that a seed determines and that don't compress.
public func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    var result: [UInt8] = []
    result.reserveCapacity(count + 8)
    while result.count < count {
        unsafe withUnsafeBytes(of: generator.next()) { unsafe result.append(contentsOf: $0) }
    }
    result.removeLast(result.count - count)
    return result
}
