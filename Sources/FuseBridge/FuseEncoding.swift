import CFuse3
import DiskFormat
import Glibc

/// The time that the kernel itself stamps with: its tick, not finer, so that times set by the kernel and by us never go back.
func coarseTime() -> Timespec {
    var now = timespec()
    _ = unsafe clock_gettime(CLOCK_REALTIME_COARSE, &now)
    return Timespec(seconds: Int64(now.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: now.tv_nsec))
}

extension timespec {
    init(_ time: Timespec) {
        self.init(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
    }

    var timespecValue: Timespec {
        Timespec(seconds: Int64(tv_sec), nanoseconds: UInt32(truncatingIfNeeded: tv_nsec))
    }
}

extension FuseAttributes {
    /// As stat(2) has them, for libfuse.
    var status: stat {
        var result = stat()
        result.st_ino = node
        result.st_mode = mode
        result.st_nlink = UInt(links)
        result.st_uid = user
        result.st_gid = group
        result.st_rdev = dev_t(device)
        result.st_size = Int(truncatingIfNeeded: size)
        result.st_blocks = Int(truncatingIfNeeded: blocks)
        result.st_blksize = Int(blockSize)
        result.st_atim = timespec(accessed)
        result.st_mtim = timespec(modified)
        result.st_ctim = timespec(changed)
        return result
    }

    /// As libfuse wants a new name's node.
    var parameter: fuse_entry_param {
        var result = fuse_entry_param()
        result.ino = node
        result.generation = generation
        result.attr = status
        result.attr_timeout = attributeSeconds
        result.entry_timeout = entrySeconds
        return result
    }

    /// As the kernel reads a new name's node.
    var entry: fuse_entry_out {
        var result = fuse_entry_out()
        result.nodeid = node
        result.generation = generation
        (result.entry_valid, result.entry_valid_nsec) = Self.split(entrySeconds)
        (result.attr_valid, result.attr_valid_nsec) = Self.split(attributeSeconds)
        result.attr.ino = node
        result.attr.size = size
        result.attr.blocks = blocks
        result.attr.atime = UInt64(bitPattern: accessed.seconds)
        result.attr.mtime = UInt64(bitPattern: modified.seconds)
        result.attr.ctime = UInt64(bitPattern: changed.seconds)
        result.attr.atimensec = accessed.nanoseconds
        result.attr.mtimensec = modified.nanoseconds
        result.attr.ctimensec = changed.nanoseconds
        result.attr.mode = mode
        result.attr.nlink = links
        result.attr.uid = user
        result.attr.gid = group
        result.attr.rdev = device
        result.attr.blksize = blockSize
        return result
    }

    private static func split(_ seconds: Double) -> (UInt64, UInt32) {
        guard seconds > 0 else { return (0, 0) }
        let whole = UInt64(min(seconds, 4e9))
        return (whole, UInt32(max(0, min((min(seconds, 4e9) - Double(whole)) * 1e9, 999_999_999))))
    }
}

extension FuseOpenedFile {
    /// FOPEN_ flags.
    var openFlags: UInt32 {
        var result: UInt32 = 0
        if isDirect { result |= UInt32(FOPEN_DIRECT_IO) }
        if keepsCache { result |= UInt32(FOPEN_KEEP_CACHE) }
        if isStream { result |= UInt32(FOPEN_STREAM) }
        return result
    }

    /// Puts the file into what libfuse replies from.
    @unsafe
    func fill(_ information: UnsafeMutablePointer<fuse_file_info>) {
        unsafe information.pointee.fh = handle
        unsafe information.pointee.direct_io = isDirect ? 1 : 0
        unsafe information.pointee.keep_cache = keepsCache ? 1 : 0
        unsafe information.pointee.nonseekable = isStream ? 1 : 0
    }
}
