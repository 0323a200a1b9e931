import BlockDevice
import DiskFormat
import Platform

/// A device whose header ring is written last: until `release` it lies in memory, so that whatever ends the program before
/// leaves no header of an unfinished file system.
final class WithheldHeaders: BlockDevice {
    private struct State: Sendable {
        let ring: AlignedBuffer
        /// Where in the ring was written last.
        var last = 0
    }

    private let base: any BlockDevice
    private let ring: Range<UInt64>
    private let state: Locked<State>

    /// - Parameter start: the block in which the ring begins. What the base has there must be zeros.
    init(_ base: any BlockDevice, start: UInt64) {
        self.base = base
        let byteCount = Limits.ringBlocks * UInt64(Limits.blockSize)
        let first = start * UInt64(Limits.blockSize)
        ring = first..<first + byteCount
        state = Locked(State(ring: AlignedBuffer(byteCount: Int(byteCount))))
    }

    var byteCount: UInt64 { base.byteCount }

    var isWritable: Bool { base.isWritable }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try checkRange(offset, UInt64(buffer.byteCount), .read)
        try base.read(at: offset, into: &buffer)
        let common = ring.clamped(to: offset..<offset + UInt64(buffer.byteCount))
        if common.isEmpty { return }
        var part = buffer._mutatingExtracting(Int(common.lowerBound - offset)..<Int(common.upperBound - offset))
        let source = Int(common.lowerBound - ring.lowerBound)..<Int(common.upperBound - ring.lowerBound)
        state.withLock { part.copyBytes(from: $0.ring.bytes(source)) }
    }

    func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try checkWritable()
        let length = try checkedLength(at: offset, buffers)
        if ring.clamped(to: offset..<offset + length).isEmpty {
            try base.write(at: offset, buffers)
            return
        }
        var position = offset
        for slice in buffers {
            let range = position..<position + UInt64(slice.byteCount)
            position = range.upperBound
            // In front of the ring, in it, behind it.
            for place in [0..<ring.lowerBound, ring, ring.upperBound..<UInt64.max] {
                let common = place.clamped(to: range)
                if common.isEmpty { continue }
                let start = slice.range.lowerBound + Int(common.lowerBound - range.lowerBound)
                let part = BufferSlice(slice.buffer, start..<start + common.count)
                if place == ring {
                    state.withLock { state in
                        state.last = Int(common.lowerBound - ring.lowerBound)
                        state.ring.copyBytes(from: part.bytes, at: state.last)
                    }
                } else {
                    try base.write(at: common.lowerBound, [part])
                }
            }
        }
    }

    func flush() throws(BlockDeviceError) {
        try base.flush()
    }

    func discard(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        try checkRange(offset, length, .discard)
        if ring.clamped(to: offset..<offset + length).isEmpty {
            try base.discard(at: offset, byteCount: length)
        } else {
            try writeZeros(at: offset, byteCount: length)
        }
    }

    /// Writes the ring, when everything else is on the medium: the header that was written last first, as the older ones are of
    /// generations that may not be whole any more.
    func release() throws(BlockDeviceError) {
        let (buffer, last) = state.withLock { ($0.ring, $0.last / Limits.blockSize) }
        try base.flush()
        for block in [last] + (0..<Int(Limits.ringBlocks)).filter({ $0 != last }) {
            let range = block * Limits.blockSize..<(block + 1) * Limits.blockSize
            if buffer.bytes(range).isAllZero() { continue }
            try base.write(at: ring.lowerBound + UInt64(range.lowerBound), [BufferSlice(buffer, range)])
            if block == last { try base.flush() }
        }
        try base.flush()
    }
}
