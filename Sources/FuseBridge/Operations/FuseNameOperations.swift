import CFuse3
import Glibc
import SystemPackage

/// MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, RENAME2.
@unsafe
func addNameOperations(_ operations: inout fuse_lowlevel_ops) {
    unsafe operations.mknod = { request, parent, name, mode, device in
        unsafe makeNode(request, parent, name, mode, UInt32(truncatingIfNeeded: device))
    }
    unsafe operations.mkdir = { request, parent, name, mode in
        unsafe makeNode(request, parent, name, mode & 0o7777 | S_IFDIR, 0)
    }
    unsafe operations.symlink = { request, target, parent, name in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            let name = unsafe try newName(name)
            let target = unsafe span(target)
            var entry = try backend.makeSymbolicLink(details, parent: UInt64(parent), name: name, target: target)
                .parameter
            _ = unsafe fuse_reply_entry(request, &entry)
        }
    }
    unsafe operations.link = { request, node, parent, name in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            let name = unsafe try newName(name)
            var entry = try backend.link(details, node: UInt64(node), parent: UInt64(parent), name: name).parameter
            _ = unsafe fuse_reply_entry(request, &entry)
        }
    }
    unsafe operations.unlink = { request, parent, name in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            try backend.unlink(details, parent: UInt64(parent), name: unsafe span(name))
            _ = unsafe fuse_reply_err(request, 0)
        }
    }
    unsafe operations.rmdir = { request, parent, name in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            try backend.removeDirectory(details, parent: UInt64(parent), name: unsafe span(name))
            _ = unsafe fuse_reply_err(request, 0)
        }
    }
    unsafe operations.rename = { request, parent, name, newParent, target, flags in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            let target = unsafe try newName(target)
            try backend.rename(
                details, parent: UInt64(parent), name: unsafe span(name), newParent: UInt64(newParent),
                newName: target, flags: flags)
            _ = unsafe fuse_reply_err(request, 0)
        }
    }
}

@unsafe
private func makeNode(
    _ request: fuse_req_t?, _ parent: fuse_ino_t, _ name: UnsafePointer<CChar>?, _ mode: UInt32, _ device: UInt32
) {
    unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
        let name = unsafe try newName(name)
        var entry = try backend.makeNode(details, parent: UInt64(parent), name: name, mode: mode, device: device)
            .parameter
        _ = unsafe fuse_reply_entry(request, &entry)
    }
}
