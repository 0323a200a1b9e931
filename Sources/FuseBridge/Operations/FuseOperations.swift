import CFuse3
import Glibc
import SystemPackage

// Operations by theme, one file each. Each entry of the table calls a method of FuseWorker: the thread's worker knows the request's
// own bytes, in which there is more than libfuse passes on.
//
// FLUSH is not in the table: closing a file changes nothing here, and after the first ENOSYS the kernel stops asking.
// ACCESS neither: the kernel checks permissions itself (default_permissions).

/// The table that libfuse calls.
func makeOperations() -> fuse_lowlevel_ops {
    var operations = fuse_lowlevel_ops()
    unsafe operations.`init` = { context, connection in
        guard let context = unsafe context, let connection = unsafe connection else { return }
        let session = unsafe Unmanaged<FuseSession>.fromOpaque(context).takeUnretainedValue()
        unsafe FuseNegotiation.apply(connection, session.options)
    }
    unsafe addNodeOperations(&operations)
    unsafe addNameOperations(&operations)
    unsafe addFileOperations(&operations)
    unsafe addDirectoryOperations(&operations)
    unsafe addAttributeOperations(&operations)
    return operations
}

extension FuseWorker {
    /// Runs an operation on the thread's worker. The body replies itself on success; its error is replied here.
    @unsafe
    static func perform(
        _ request: fuse_req_t?, _ body: (FuseWorker, any FuseBackend, FuseRequest) throws(Errno) -> Void
    ) {
        guard let worker = unsafe current, let context = unsafe fuse_req_ctx(request) else {
            _ = unsafe fuse_reply_err(request, EIO)
            return
        }
        let details = worker.request(worker.header, mask: unsafe context.pointee.umask)
        do throws(Errno) {
            try body(worker, worker.session.backend, details)
        } catch {
            _ = unsafe fuse_reply_err(request, error.rawValue)
        }
        worker.session.backend.didReply(details)
    }
}

/// A C string's bytes.
@unsafe @_lifetime(immortal)
func span(_ text: UnsafePointer<CChar>?) -> RawSpan {
    guard let text = unsafe text else { return RawSpan() }
    let bytes = unsafe UnsafeRawBufferPointer(start: text, count: strlen(text))
    let result = unsafe RawSpan(_unsafeBytes: bytes)
    return unsafe _overrideLifetime(result, copying: ())
}

/// A name for something new: RedoxFS's names are UTF-8.
@unsafe @_lifetime(immortal)
func newName(_ text: UnsafePointer<CChar>?) throws(Errno) -> RawSpan {
    let name = unsafe span(text)
    guard isUTF8(name) else { throw .illegalByteSequence }
    return name
}
