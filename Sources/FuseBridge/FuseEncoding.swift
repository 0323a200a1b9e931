import CFuse3
import SchemeProtocol
import Glibc

/// The time that the kernel itself stamps with: its tick, not finer, so that times set by the kernel and by us never go back.
func coarseTime() -> WireTime {
    var now = timespec()
    _ = unsafe clock_gettime(CLOCK_REALTIME_COARSE, &now)
    return WireTime(seconds: Int64(now.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: now.tv_nsec))
}

extension timespec {
    init(_ time: WireTime) {
        self.init(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
    }

    var timespecValue: WireTime {
        WireTime(seconds: Int64(tv_sec), nanoseconds: UInt32(truncatingIfNeeded: tv_nsec))
    }
}

extension NodeAttributes {
    /// A lookup's answer that the name doesn't exist, which the kernel may remember for some milliseconds.
    public static func absent(nameValid: UInt32) -> NodeAttributes {
        NodeAttributes(node: 0, mode: 0, links: 0, nameValid: nameValid)
    }

    /// As stat(2) has them, for libfuse.
    var status: stat {
        var result = stat()
        result.st_ino = UInt(node)
        result.st_mode = mode
        result.st_nlink = UInt(links)
        result.st_uid = uid
        result.st_gid = gid
        result.st_rdev = dev_t(device)
        result.st_size = Int(truncatingIfNeeded: size)
        result.st_blocks = Int(truncatingIfNeeded: blocks)
        result.st_blksize = Int(blockSize)
        result.st_atim = timespec(accessTime)
        result.st_mtim = timespec(modificationTime)
        result.st_ctim = timespec(changeTime)
        return result
    }

    /// Seconds for which the kernel may use the attributes without asking.
    var attributeSeconds: Double { Double(attributesValid) / 1000 }

    /// As libfuse wants a new name's node.
    var parameter: fuse_entry_param {
        var result = fuse_entry_param()
        result.ino = node
        result.generation = generation
        result.attr = status
        result.attr_timeout = attributeSeconds
        result.entry_timeout = Double(nameValid) / 1000
        return result
    }

    /// As the kernel reads a new name's node.
    var entry: fuse_entry_out {
        var result = fuse_entry_out()
        result.nodeid = node
        result.generation = generation
        (result.entry_valid, result.entry_valid_nsec) = Self.split(nameValid)
        (result.attr_valid, result.attr_valid_nsec) = Self.split(attributesValid)
        result.attr.ino = node
        result.attr.size = size
        result.attr.blocks = blocks
        result.attr.atime = UInt64(bitPattern: accessTime.seconds)
        result.attr.mtime = UInt64(bitPattern: modificationTime.seconds)
        result.attr.ctime = UInt64(bitPattern: changeTime.seconds)
        result.attr.atimensec = accessTime.nanoseconds
        result.attr.mtimensec = modificationTime.nanoseconds
        result.attr.ctimensec = changeTime.nanoseconds
        result.attr.mode = mode
        result.attr.nlink = links
        result.attr.uid = uid
        result.attr.gid = gid
        result.attr.rdev = device
        result.attr.blksize = blockSize
        return result
    }

    private static func split(_ milliseconds: UInt32) -> (UInt64, UInt32) {
        (UInt64(milliseconds / 1000), milliseconds % 1000 * 1_000_000)
    }
}

extension FuseOpenedFile {
    /// FOPEN_ flags.
    var openFlags: UInt32 {
        var result: UInt32 = 0
        if flags.contains(.directIO) { result |= UInt32(FOPEN_DIRECT_IO) }
        if flags.contains(.keepCache) { result |= UInt32(FOPEN_KEEP_CACHE) }
        if flags.contains(.stream) { result |= UInt32(FOPEN_STREAM) }
        return result
    }

    /// Puts the file into what libfuse replies from.
    @unsafe
    func fill(_ information: UnsafeMutablePointer<fuse_file_info>) {
        unsafe information.pointee.fh = handle
        unsafe information.pointee.direct_io = flags.contains(.directIO) ? 1 : 0
        unsafe information.pointee.keep_cache = flags.contains(.keepCache) ? 1 : 0
        unsafe information.pointee.nonseekable = flags.contains(.stream) ? 1 : 0
    }
}
