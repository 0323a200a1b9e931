/// What the router and the server loop must know of an opcode without understanding it.
public struct OpcodeProperties: Sendable {
    /// The name in Redox's scheme protocol, or empty where Redox has no such call.
    public let redoxName: String
    /// The name in the FUSE protocol (without FUSE_), or empty where FUSE has no such call.
    public let fuseName: String
    /// Which fields of entry and arguments the call uses, and what its reply holds.
    public let arguments: String
    /// Doing it twice gives the same as doing it once: it may be resubmitted without a look at what the first one did.
    public let isIdempotent: Bool
    /// It may change state: its completion may carry a sequence number, and then the request is kept until committed.
    public let isLogged: Bool
    /// It may wait for another request: it must not hold up the ones behind it, and has no bounded time.
    public let mayBlock: Bool
}

extension Opcode {
    /// The row of the table for this opcode.
    ///
    /// In the arguments, `h` is the handle (chosen by the client when it opens), `n` the node, `p` the payload, `len` the
    /// length field, `f` the flags word, `w0...w5` the argument words; what follows the arrow is in the reply.
    /// "attr" is `NodeAttributes`.
    public var properties: OpcodeProperties {
        switch self {
        //                          Redox         FUSE            arguments                                   i      l      b
        case .ping: row("", "", "", true, false, false)
        case .cancel: row("cancel", "INTERRUPT", "w0 tag, w1 generation", true, false, false)
        case .commit: row("", "", "-> v0 committed sequence", true, false, false)
        case .hello: row("", "INIT", "w0 incarnation -> result root node, v0 recovered sequence", true, false, false)
        case .adoptHandle:
            row("", "", "n h f=open flags, w0 node generation, w1 opened after change", true, false, false)
        case .replayFinished: row("", "", "", true, true, false)

        case .read: row("read", "READ", "n h offset len f=file flags -> bytes", true, true, true)
        case .write: row("write", "WRITE", "n h offset p=bytes f=file flags w0=write flags -> count", true, true, true)
        case .fsync: row("fsync", "FSYNC", "n h f=1 data only", true, false, false)
        case .close: row("close", "RELEASE", "n h f=open flags w0 lock owner w1=1 drop flock", false, true, false)
        case .flush: row("", "FLUSH", "n h w0 lock owner", true, false, false)
        case .poll: row("", "POLL", "n h f=events w0=1 notify -> result ready events", true, false, false)
        case .fcntl: row("fcntl", "", "h f=command w0 argument -> result", true, false, false)
        case .fstat: row("fstat", "GETATTR", "h -> attr", true, false, false)
        case .fsize: row("fsize", "", "h -> result size", true, false, false)
        case .ftruncate: row("ftruncate", "SETATTR", "h w0 size", true, true, false)
        case .futimens: row("futimens", "SETATTR", "h p=AttributeChanges", true, true, false)
        case .fchmod: row("fchmod", "SETATTR", "h w0 mode", true, true, false)
        case .fchown: row("fchown", "SETATTR", "h w0 uid w1 gid", true, true, false)
        case .getdents: row("getdents", "READDIR", "h offset len -> DirectoryRecord stream", true, false, false)
        case .fpath: row("fpath", "", "h len -> bytes", true, false, false)
        case .fstatvfs: row("fstatvfs", "STATFS", "h -> FileSystemFigures", true, false, false)
        case .fevent: row("fevent", "", "h f=events -> result ready events", true, false, false)
        case .dup: row("dup", "", "h w0 new handle p=kind", false, false, false)
        case .mmap: row("mmap_prep", "", "h offset w0 length f=protection", true, false, false)
        case .munmap: row("munmap", "", "h offset w0 length", true, false, false)
        case .sendfd: row("sendfd", "", "h w0 descriptor number in the control message", false, false, false)
        case .call: row("call", "", "n h p=bytes len w0...w5 -> bytes", false, true, true)
        case .ioctl: row("", "IOCTL", "n h w0 command w1 argument p=bytes len -> result, bytes", false, true, false)
        case .fallocate: row("", "FALLOCATE", "n h offset w0 length f=mode", true, true, false)
        case .lseek: row("", "LSEEK", "n h offset f=whence -> result offset", true, false, false)
        case .copyFileRange:
            row("", "COPY_FILE_RANGE", "n h offset w0 node w1 handle w2 offset w3 length -> count", false, true, false)
        case .getlk: row("", "GETLK", "n h w0 owner w1 start w2 end w3 type -> w FileLock", true, false, false)
        case .setlk: row("", "SETLK", "n h w0 owner w1 start w2 end w3 type f=1 wait", true, false, true)
        case .flock: row("", "SETLK", "n h w0 owner w3 type f=1 wait", true, false, true)

        case .openat:
            row("openat", "", "n=directory handle or 0, h f=flags w0 mode p=path -> v0 opened flags", false, true, true)
        case .unlinkat: row("unlinkat", "", "n=directory handle or 0, f=flags p=path", false, true, false)
        case .frename: row("frename", "", "h p=path", false, true, false)
        case .flink: row("flink", "", "h p=path", false, true, false)

        case .lookup: row("", "LOOKUP", "n p=name -> attr", true, false, false)
        case .forget: row("", "FORGET", "n w0 count", false, false, false)
        case .getattr: row("", "GETATTR", "n h -> attr", true, false, false)
        case .setattr: row("", "SETATTR", "n h p=AttributeChanges -> attr", true, true, false)
        case .readlink: row("", "READLINK", "n len -> bytes", true, false, false)
        case .symlink: row("", "SYMLINK", "n p=name,target w1=bytes of name -> attr", false, true, false)
        case .mknod: row("", "MKNOD", "n p=name w0 mode|umask<<32 w1 device -> attr", false, true, false)
        case .mkdir: row("", "MKDIR", "n p=name w0 mode|umask<<32 -> attr", false, true, false)
        case .unlink: row("", "UNLINK", "n p=name -> v0 node that is gone, 0 if none is", false, true, false)
        case .rmdir: row("", "RMDIR", "n p=name", false, true, false)
        case .rename: row("", "RENAME2", "n p=name,new name w0 new parent w1=bytes of name f=flags", false, true, false)
        case .link: row("", "LINK", "n w0 new parent p=name -> attr", false, true, false)
        case .open: row("", "OPEN", "n h f=flags -> v0 opened flags, v1 opened after change", false, true, true)
        case .create: row("", "CREATE", "n h f=flags p=name w0 mode|umask<<32 -> attr, v0", false, true, false)
        case .tmpfile: row("", "TMPFILE", "n h f=flags w0 mode|umask<<32 -> attr, v0", false, true, false)
        case .opendir: row("", "OPENDIR", "n h f=flags -> v0 opened flags", false, false, false)
        case .readdir:
            row("", "READDIRPLUS", "n h offset len f=1 attributes -> DirectoryRecord stream", true, false, false)
        case .releasedir: row("", "RELEASEDIR", "n h", false, true, false)
        case .fsyncdir: row("", "FSYNCDIR", "n h f=1 data only", true, false, false)
        case .statfs: row("", "STATFS", "n -> FileSystemFigures", true, false, false)
        case .setxattr: row("", "SETXATTR", "n p=name,value w1=bytes of name f=flags", false, true, false)
        case .getxattr: row("", "GETXATTR", "n p=name len -> bytes, result size", true, false, false)
        case .listxattr: row("", "LISTXATTR", "n len -> names, each ended by 0; result size", true, false, false)
        case .removexattr: row("", "REMOVEXATTR", "n p=name", false, true, false)
        case .access: row("", "ACCESS", "n f=mask", true, false, false)
        case .syncfs: row("", "SYNCFS", "n", true, false, false)
        }
    }

    private func row(
        _ redoxName: String, _ fuseName: String, _ arguments: String, _ isIdempotent: Bool, _ isLogged: Bool,
        _ mayBlock: Bool
    ) -> OpcodeProperties {
        OpcodeProperties(
            redoxName: redoxName, fuseName: fuseName, arguments: arguments, isIdempotent: isIdempotent,
            isLogged: isLogged, mayBlock: mayBlock)
    }

    /// Whether a completion of this opcode may carry a sequence number, without building the whole row.
    public var isLogged: Bool {
        switch self {
        case .replayFinished, .read, .write, .close, .ftruncate, .futimens, .fchmod, .fchown, .call, .ioctl, .fallocate,
            .copyFileRange, .openat, .unlinkat, .frename, .flink, .setattr, .symlink, .mknod, .mkdir, .unlink, .rmdir,
            .rename, .link, .open, .create, .tmpfile, .releasedir, .setxattr, .removexattr:
            true
        default: false
        }
    }

    /// The name in messages, traces and the scheme `sys`: the case's.
    public var name: String { "\(self)" }
}
