// A process that is killed while the kernel copies between it and a page that isn't mapped yet makes the kernel give up, and the
// request fails with EIO for the application. So every page that a read or a reply is going to touch is touched before, in every
// process: also shared memory that is resident for others. Locking (mlockall) keeps it so where the limits allow.

import Platform
import Synchronization

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

/// Receive buffers of a session's own.
enum ReceiveMemory {
    /// One that was made ahead of time; 0: none.
    private static let prepared = Atomic<UInt>(0)
    /// Those that nobody reads into at the moment, by address.
    private static let spare = Locked<[UInt]>([])
    private static let spareLimit = 4

    /// Makes a buffer that is taken later.
    static func prepare() {
        let new = unsafe make(isResident: true)
        let old = prepared.exchange(UInt(bitPattern: new), ordering: .relaxed)
        unsafe UnsafeMutableRawPointer(bitPattern: old)?.deallocate()
    }

    /// A buffer; the caller gives it back.
    @unsafe
    static func take(isResident: Bool) -> UnsafeMutableRawPointer {
        let address = spare.withLock { $0.popLast() ?? 0 }
        if let ready = unsafe UnsafeMutableRawPointer(bitPattern: address) { return unsafe ready }
        if isResident, let ready = unsafe UnsafeMutableRawPointer(bitPattern: prepared.exchange(0, ordering: .relaxed))
        {
            return unsafe ready
        }
        return unsafe make(isResident: isResident)
    }

    /// Gives a buffer back. Kept for others only if its pages are there.
    @unsafe
    static func give(_ buffer: UnsafeMutableRawPointer, isResident: Bool) {
        let isKept = spare.withLock { spare in
            guard isResident, spare.count < spareLimit else { return false }
            spare.append(UInt(bitPattern: buffer))
            return true
        }
        if !isKept { unsafe buffer.deallocate() }
    }

    @unsafe
    private static func make(isResident: Bool) -> UnsafeMutableRawPointer {
        let new = UnsafeMutableRawPointer.allocate(byteCount: FuseSession.receiveByteCount, alignment: 4096)
        if isResident { unsafe Residence.prepareForReading(new, byteCount: FuseSession.receiveByteCount) }
        return unsafe new
    }
}
