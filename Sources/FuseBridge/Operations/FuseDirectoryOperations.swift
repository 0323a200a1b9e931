import CFuse3
import Glibc
import SystemPackage

/// OPENDIR, READDIR, READDIRPLUS, FSYNCDIR.
@unsafe
func addDirectoryOperations(_ operations: inout fuse_lowlevel_ops) {
    // Positions in a directory are computed from names: there is nothing to open. After this answer the kernel neither opens nor
    // closes directories any more, and caches listings.
    unsafe operations.opendir = { request, _, _ in _ = unsafe fuse_reply_err(request, ENOSYS) }
    unsafe operations.readdir = { request, node, byteCount, offset, file in
        unsafe list(request, node, byteCount, offset, file, withAttributes: false)
    }
    unsafe operations.readdirplus = { request, node, byteCount, offset, file in
        unsafe list(request, node, byteCount, offset, file, withAttributes: true)
    }
    unsafe operations.fsyncdir = { request, node, dataOnly, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            try backend.synchronize(details, node: UInt64(node), handle: nil, dataOnly: dataOnly != 0)
            _ = unsafe fuse_reply_err(request, 0)
        }
    }
}

@unsafe
private func list(
    _ request: fuse_req_t?, _ node: fuse_ino_t, _ byteCount: Int, _ offset: off_t,
    _ file: UnsafeMutablePointer<fuse_file_info>?, withAttributes: Bool
) {
    unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
        let limit = min(byteCount, FuseSession.maximumTransferByteCount)
        let buffer = unsafe worker.listingBuffer(byteCount: limit)
        var used = 0
        let handle = unsafe file?.pointee.fh ?? 0
        try backend.readDirectory(
            details, node: UInt64(node), handle: handle, from: UInt64(bitPattern: Int64(offset)), byteCount: limit,
            withAttributes: withAttributes
        ) { entry in
            let start = withAttributes ? MemoryLayout<fuse_entry_out>.size : 0
            let count = (start + FuseWorker.entryHeaderByteCount + entry.name.byteCount + 7) & ~7
            guard used + count <= limit else { return false }
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[used..<(used + count)])
            unsafe FuseWorker.encode(entry, into: target, start: start)
            used += count
            return true
        }
        _ = unsafe fuse_reply_buf(request, buffer.baseAddress, used)
    }
}

extension FuseWorker {
    /// struct fuse_dirent without its name: ino, off, namelen, type.
    fileprivate static let entryHeaderByteCount = 24

    /// Encodes one entry: fuse_entry_out if `start` leaves room for it, fuse_dirent, the name, zero bytes.
    @unsafe
    fileprivate static func encode(
        _ entry: borrowing FuseDirectoryEntry, into target: UnsafeMutableRawBufferPointer, start: Int
    ) {
        if start > 0 {
            // With node 0 the kernel takes the name alone.
            let known = entry.hasAttributes ? entry.attributes.entry : fuse_entry_out()
            unsafe target.storeBytes(of: known, as: fuse_entry_out.self)
        }
        unsafe target.storeBytes(of: entry.attributes.node, toByteOffset: start, as: UInt64.self)
        unsafe target.storeBytes(of: entry.next, toByteOffset: start + 8, as: UInt64.self)
        unsafe target.storeBytes(of: UInt32(entry.name.byteCount), toByteOffset: start + 16, as: UInt32.self)
        unsafe target.storeBytes(
            of: (entry.attributes.mode & S_IFMT) >> 12, toByteOffset: start + 20, as: UInt32.self)
        let name = start + entryHeaderByteCount
        let end = name + entry.name.byteCount
        unsafe entry.name.withUnsafeBytes { bytes in
            unsafe UnsafeMutableRawBufferPointer(rebasing: target[name..<end]).copyMemory(from: bytes)
        }
        for index in end..<target.count { unsafe target[index] = 0 }
    }
}
