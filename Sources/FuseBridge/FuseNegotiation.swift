import CFuse3
import Glibc

/// What the kernel and we agree on at the start of a mount.
///
/// Not asked for, with the reason:
/// - FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS: all users of a mount live under one kernel, whose own lock tables are exact, cost us nothing and
///   survive any death on our side.
/// - splice: a request must land in the backend's memory, not in a pipe.
/// - FUSE_AUTO_INVAL_DATA: what changes without the kernel's knowing is announced by notification.
/// - io_uring, passthrough: neither survives a restart.
enum FuseNegotiation {
    /// Chooses among what the kernel offers and this libfuse knows.
    @unsafe
    static func apply(_ connection: UnsafeMutablePointer<fuse_conn_info>, _ options: FuseSession.Options) {
        var wanted: UInt32 = 0
        for capability in [
            FUSE_CAP_ASYNC_READ, FUSE_CAP_ASYNC_DIO, FUSE_CAP_ATOMIC_O_TRUNC, FUSE_CAP_EXPORT_SUPPORT,
            FUSE_CAP_DONT_MASK, FUSE_CAP_IOCTL_DIR, FUSE_CAP_READDIRPLUS, FUSE_CAP_READDIRPLUS_AUTO,
            FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_POSIX_ACL, FUSE_CAP_CACHE_SYMLINKS, FUSE_CAP_NO_OPENDIR_SUPPORT,
            FUSE_CAP_EXPLICIT_INVAL_DATA,
        ] {
            wanted |= UInt32(capability)
        }
        if options.usesWriteBackCache { wanted |= UInt32(FUSE_CAP_WRITEBACK_CACHE) }
        unsafe connection.pointee.want = wanted & connection.pointee.capable
        unsafe connection.pointee.max_write = UInt32(FuseSession.maximumTransferByteCount)
        unsafe connection.pointee.max_readahead = UInt32(FuseSession.maximumTransferByteCount)
        unsafe connection.pointee.max_background = 64
        unsafe connection.pointee.congestion_threshold = 48
        unsafe connection.pointee.time_gran = 1
    }

    /// Flags of the INIT reply that this libfuse has no name for.
    private static let further =
        UInt32(FUSE_HANDLE_KILLPRIV_V2) | UInt32(FUSE_SETXATTR_EXT) | UInt32(FUSE_INIT_EXT)

    /// Flags of the second word: files whose reads and writes all reach the server can be mapped shared
    /// (FUSE_DIRECT_IO_ALLOW_MMAP, newer than the header that this is built with).
    private static let furtherExtended: UInt32 = 1 << 4

    /// Adds them to libfuse's reply: header, then fuse_init_out with the flags at bytes 12 and 32.
    @unsafe
    static func completeReply(_ vector: UnsafeMutablePointer<iovec>, _ count: Int32) {
        guard count >= 2, let reply = unsafe vector[1].iov_base else { return }
        guard unsafe vector[1].iov_len >= 16 else { return }
        let flags = unsafe reply.load(fromByteOffset: 12, as: UInt32.self)
        unsafe reply.storeBytes(of: flags | further, toByteOffset: 12, as: UInt32.self)
        guard unsafe vector[1].iov_len >= 36 else { return }
        let extended = unsafe reply.load(fromByteOffset: 32, as: UInt32.self)
        unsafe reply.storeBytes(of: extended | furtherExtended, toByteOffset: 32, as: UInt32.self)
    }
}
