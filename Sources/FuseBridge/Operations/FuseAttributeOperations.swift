import CFuse3
import Glibc
import SystemPackage

/// GETXATTR, LISTXATTR, REMOVEXATTR. SETXATTR comes in a form that libfuse doesn't know: see `FuseWorker.handleDirectly`.
@unsafe
func addAttributeOperations(_ operations: inout fuse_lowlevel_ops) {
    unsafe operations.getxattr = { request, node, name, limit in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            unsafe try backend.extendedAttribute(details, node: UInt64(node), name: unsafe span(name), limit: limit) {
                value in
                unsafe reply(request, value, limit)
            }
        }
    }
    unsafe operations.listxattr = { request, node, limit in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            unsafe try backend.listExtendedAttributes(details, node: UInt64(node), limit: limit) { names in
                unsafe reply(request, names, limit)
            }
        }
    }
    unsafe operations.removexattr = { request, node, name in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            try backend.removeExtendedAttribute(details, node: UInt64(node), name: unsafe span(name))
            _ = unsafe fuse_reply_err(request, 0)
        }
    }
}

/// Replies the bytes, or their count to a caller that only asks for it, or ERANGE to one whose buffer is too small.
@unsafe
private func reply(_ request: fuse_req_t?, _ bytes: UnsafeRawBufferPointer, _ limit: Int) {
    if limit == 0 {
        _ = unsafe fuse_reply_xattr(request, bytes.count)
    } else if bytes.count > limit {
        _ = unsafe fuse_reply_err(request, ERANGE)
    } else {
        _ = unsafe fuse_reply_buf(request, bytes.baseAddress, bytes.count)
    }
}
