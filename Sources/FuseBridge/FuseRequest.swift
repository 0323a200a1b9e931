import SchemeProtocol

/// Who asked for an operation, and when: what every operation of a `FuseBackend` gets beside its arguments.
public struct FuseRequest: Sendable {
    /// The kernel's number of this request, without the mark of a resent one. No two requests of a mount share it.
    public var unique: UInt64
    /// The kernel handed this request out before, to a process that died: it may already have been carried out.
    public var isResent: Bool
    /// The caller's file system user id.
    public var user: UInt32
    /// The caller's file system group id. Supplementary groups don't reach a FUSE server.
    public var group: UInt32
    /// The caller's thread id, 0 if it lives in a pid namespace that the mount doesn't see.
    public var process: UInt32
    /// The caller's umask, which the server applies itself where no default ACL replaces it.
    public var mask: UInt32
    /// When the request was read. The kernel's coarse clock, so that times set by the kernel and by us never go back.
    public var time: WireTime

    /// A request as if it had been read from the kernel.
    public init(
        unique: UInt64, isResent: Bool = false, user: UInt32 = 0, group: UInt32 = 0, process: UInt32 = 0,
        mask: UInt32 = 0, time: WireTime
    ) {
        self.unique = unique
        self.isResent = isResent
        self.user = user
        self.group = group
        self.process = process
        self.mask = mask
        self.time = time
    }

    /// Bit of `unique` in the wire's header that marks a resent request (FUSE_UNIQUE_RESEND).
    static let resendMark: UInt64 = 1 << 63
}
