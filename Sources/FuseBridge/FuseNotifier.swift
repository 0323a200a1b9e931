import CFuse3
import Glibc
import Platform
import SystemPackage

/// Tells the kernel of a session's mount what it didn't ask for. Layouts: linux/fuse.h, `fuse_notify_*_out`.
///
/// Who notifies holds this and not the session, which holds him. Of a mount that is gone nobody is notified: the descriptor is its own.
public final class FuseNotifier: Sendable {
    /// FUSE_NOTIFY_RESEND, newer than the header that this is built with.
    private static let resendCode: Int32 = 7

    private let descriptor: OwnedDescriptor

    /// - Parameter descriptor: stays the caller's.
    init(_ descriptor: Int32) throws(Errno) { self.descriptor = try SystemCall.duplicate(descriptor) }

    /// Something happened to an open file that poll(2) waits for.
    ///
    /// - Parameter wakeHandle: what the backend's `poll` got.
    public func poll(wakeHandle: UInt64) {
        notify(Int32(FUSE_NOTIFY_POLL.rawValue), fuse_notify_poll_wakeup_out(kh: wakeHandle))
    }

    /// The kernel is to forget a node's attributes and contents.
    ///
    /// Never called from inside an operation on the same node: the kernel may hold the page that it is asked to drop.
    public func invalidate(node: UInt64) {
        notify(Int32(FUSE_NOTIFY_INVAL_INODE.rawValue), fuse_notify_inval_inode_out(ino: node, off: 0, len: 0))
    }

    /// The kernel is to forget a node's attributes alone.
    public func forgetAttributes(node: UInt64) {
        notify(Int32(FUSE_NOTIFY_INVAL_INODE.rawValue), fuse_notify_inval_inode_out(ino: node, off: -1, len: 0))
    }

    /// The kernel is to hand out again what it got no reply for.
    func resend() { notify(Self.resendCode, ()) }

    /// Writes a header with the unique number 0 and the code in place of an error, and the body.
    private func notify<Body: BitwiseCopyable>(_ code: Int32, _ body: Body) {
        let number = descriptor.rawValue
        var header = fuse_out_header()
        var body = body
        let headerCount = MemoryLayout<fuse_out_header>.size
        let bodyCount = MemoryLayout<Body>.size
        header.error = code
        header.len = UInt32(headerCount + bodyCount)
        _ = unsafe withUnsafeMutableBytes(of: &header) { headerBytes in
            unsafe withUnsafeMutableBytes(of: &body) { bodyBytes in
                var vector = unsafe (
                    iovec(iov_base: headerBytes.baseAddress, iov_len: headerCount),
                    iovec(iov_base: bodyBytes.baseAddress, iov_len: bodyCount)
                )
                return unsafe withUnsafePointer(to: &vector) { pair in
                    unsafe pair.withMemoryRebound(to: iovec.self, capacity: 2) { unsafe writev(number, $0, 2) }
                }
            }
        }
    }
}
