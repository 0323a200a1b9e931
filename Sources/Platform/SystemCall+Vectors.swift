import Glibc
import SystemPackage

/// Reading and writing several buffers with one call.
extension SystemCall {
    /// The most buffers that one vectored call takes (IOV_MAX of Linux).
    public static let maximumVectorCount = 1024

    /// Writes slices of buffers one after another from `offset` on, completely; short writes are continued.
    ///
    /// - Returns: the number of system calls made.
    @discardableResult
    public static func writeAll(
        _ descriptor: Int32, at offset: UInt64, _ slices: [BufferSlice]
    ) throws(Errno) -> Int {
        guard var position = off_t(exactly: offset) else { throw .invalidArgument }
        var next = 0
        var skip = 0
        var calls = 0
        while next < slices.count {
            let first = next
            let firstSkip = skip
            let count = min(slices.count - first, maximumVectorCount)
            let at = position
            var written = unsafe try withUnsafeTemporaryAllocation(of: iovec.self, capacity: count) {
                (vectors) throws(Errno) -> Int in
                for index in 0..<count {
                    let slice = slices[first + index]
                    let drop = index == 0 ? firstSkip : 0
                    unsafe vectors.initializeElement(
                        at: index,
                        to: iovec(
                            iov_base: slice.buffer.base + (slice.range.lowerBound + drop),
                            iov_len: slice.range.count - drop))
                }
                return try retrying { unsafe pwritev(descriptor, vectors.baseAddress, Int32(count), at) }
            }
            calls += 1
            guard let moved = position.addingChecked(written) else { throw .fileTooLarge }
            position = moved
            var progressed = written > 0
            while next < slices.count, next < first + count, written >= slices[next].range.count - skip {
                written -= slices[next].range.count - skip
                skip = 0
                next += 1
                progressed = true
            }
            skip += written
            if !progressed { throw .ioError }
        }
        return calls
    }
}

extension off_t {
    fileprivate func addingChecked(_ count: Int) -> off_t? {
        let (sum, overflow) = addingReportingOverflow(count)
        return overflow ? nil : sum
    }
}
