import CFuse3
import Glibc
import SchemeProtocol
import SystemPackage

/// LOOKUP, GETATTR, SETATTR, READLINK, STATFS.
@unsafe
func addNodeOperations(_ operations: inout fuse_lowlevel_ops) {
    unsafe operations.lookup = { request, parent, name in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            let name = unsafe span(name)
            // Nothing here has such a name; that is no error of a lookup.
            guard isUTF8(name) else { throw .noSuchFileOrDirectory }
            var entry = try backend.lookup(details, parent: UInt64(parent), name: name).parameter
            _ = unsafe fuse_reply_entry(request, &entry)
        }
    }
    unsafe operations.getattr = { request, node, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            let handle = unsafe file?.pointee.fh
            let attributes = try backend.attributes(details, node: UInt64(node), handle: handle)
            unsafe reply(request, attributes)
        }
    }
    unsafe operations.setattr = { request, node, new, selection, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let new = unsafe new?.pointee else { throw .invalidArgument }
            let changes = worker.changes(new, selection, time: details)
            let handle = unsafe file?.pointee.fh
            let attributes = try backend.setAttributes(details, node: UInt64(node), handle: handle, changes)
            unsafe reply(request, attributes)
        }
    }
    unsafe operations.readlink = { request, node in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            unsafe try backend.readSymbolicLink(details, node: UInt64(node)) { target in
                // libfuse's own reply wants a zero byte behind the target; this one doesn't.
                _ = unsafe fuse_reply_buf(request, target.baseAddress, target.count)
            }
        }
    }
    unsafe operations.statfs = { request, node in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            let statistics = try backend.statistics(details, node: UInt64(node))
            var result = statvfs()
            result.f_bsize = UInt(statistics.blockSize)
            result.f_frsize = UInt(statistics.blockSize)
            result.f_blocks = UInt(statistics.blocks)
            result.f_bfree = UInt(statistics.freeBlocks)
            result.f_bavail = UInt(statistics.availableBlocks)
            result.f_files = UInt(statistics.files)
            result.f_ffree = UInt(statistics.freeFiles)
            result.f_namemax = UInt(statistics.maximumName)
            _ = unsafe fuse_reply_statfs(request, &result)
        }
    }
}

/// Replies attributes.
@unsafe
private func reply(_ request: fuse_req_t?, _ attributes: NodeAttributes) {
    var status = attributes.status
    _ = unsafe fuse_reply_attr(request, &status, attributes.attributeSeconds)
}

extension FuseWorker {
    /// What SETATTR wants changed. That privileges are to be cleared is in the request alone (FATTR_KILL_SUIDGID).
    fileprivate func changes(_ new: stat, _ selection: Int32, time request: FuseRequest) -> AttributeChangeSet {
        func selects(_ flag: Int32) -> Bool { selection & flag != 0 }
        var result = AttributeChangeSet()
        if selects(FUSE_SET_ATTR_MODE) { result.mode = new.st_mode & 0o7777 }
        if selects(FUSE_SET_ATTR_UID) { result.uid = new.st_uid }
        if selects(FUSE_SET_ATTR_GID) { result.gid = new.st_gid }
        if selects(FUSE_SET_ATTR_SIZE) { result.size = UInt64(truncatingIfNeeded: new.st_size) }
        if selects(FUSE_SET_ATTR_ATIME) { result.accessTime = new.st_atim.timespecValue }
        if selects(FUSE_SET_ATTR_ATIME_NOW) { result.accessTime = request.time }
        if selects(FUSE_SET_ATTR_MTIME) { result.modificationTime = new.st_mtim.timespecValue }
        if selects(FUSE_SET_ATTR_MTIME_NOW) { result.modificationTime = request.time }
        if selects(FUSE_SET_ATTR_CTIME) { result.changeTime = new.st_ctim.timespecValue }
        let valid = argument(fuse_setattr_in.self)?.valid ?? 0
        result.killPrivileges = valid & UInt32(FATTR_KILL_SUIDGID) != 0
        return result
    }
}
