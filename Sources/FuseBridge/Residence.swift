// A process that is killed while the kernel copies between it and a page that isn't mapped yet makes the kernel give up, and the
// request fails with EIO for the application. So every page that a read or a reply is going to touch is touched before, in every
// process: also shared memory that is resident for others. Locking (mlockall) keeps it so where the limits allow.

/// Memory that the kernel must find mapped.
enum Residence {
    private static let pageByteCount = 4096

    /// Maps the pages of memory that a request is going to be read into. Its contents don't matter.
    @unsafe
    static func prepareForReading(_ base: UnsafeMutableRawPointer, byteCount: Int) {
        var offset = 0
        while offset < byteCount {
            unsafe base.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self)
            offset += pageByteCount
        }
    }

    /// Maps the pages of a reply. Returns what was read, so that the reading isn't left out.
    @unsafe @discardableResult @inline(never)
    static func prepareForReplying(_ bytes: UnsafeRawBufferPointer) -> UInt8 {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return 0 }
        var sum: UInt8 = 0
        var offset = 0
        while offset < bytes.count {
            unsafe sum ^= base.load(fromByteOffset: offset, as: UInt8.self)
            offset += pageByteCount
        }
        return unsafe sum ^ base.load(fromByteOffset: bytes.count - 1, as: UInt8.self)
    }
}
