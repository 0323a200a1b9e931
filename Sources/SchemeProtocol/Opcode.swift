/// What a request asks for. The numbers are the wire's; they never change meaning.
///
/// What each one takes and gives stands in `Opcode.properties` (OpcodeTable.swift).
public enum Opcode: UInt16, Sendable, CaseIterable {
    // The channel itself.
    /// Does nothing: a sign of life.
    case ping = 1
    /// Asks for the end of another request, which completes with EINTR unless it is done already.
    case cancel = 2
    /// Makes everything durable that was completed before, and reports the committed sequence number.
    case commit = 3
    /// The first request of a client to an incarnation of a server.
    case hello = 4
    /// Hands an open handle to a new incarnation.
    case adoptHandle = 5
    /// All that had to be replayed was; what no handle holds may be released.
    case replayFinished = 6

    // Calls on a handle: both families.
    /// Reads at an offset.
    case read = 16
    /// Writes at an offset.
    case write = 17
    /// Makes a file durable.
    case fsync = 18
    /// Ends a handle.
    case close = 19
    /// A descriptor of the handle was closed; errors can still be told.
    case flush = 20
    /// Which events are ready, and whether to notify.
    case poll = 21
    /// Changes the flags of a handle.
    case fcntl = 22
    /// Attributes of what a handle refers to.
    case fstat = 23
    /// The size of what a handle refers to.
    case fsize = 24
    /// Sets the size through a handle.
    case ftruncate = 25
    /// Sets times through a handle.
    case futimens = 26
    /// Sets permission bits through a handle.
    case fchmod = 27
    /// Sets the owner through a handle.
    case fchown = 28
    /// Entries of the directory that a handle refers to.
    case getdents = 29
    /// The path that a handle was opened with.
    case fpath = 30
    /// Figures of the file system that a handle lies in.
    case fstatvfs = 31
    /// Chooses the events a handle notifies of.
    case fevent = 32
    /// Makes another handle from one, perhaps as another kind (Redox's `dup` with a buffer).
    case dup = 33
    /// Asks for memory to map: answered from reads and writes, never with the server's memory.
    case mmap = 34
    /// Ends a mapping.
    case munmap = 35
    /// Hands a descriptor to the server.
    case sendfd = 36
    /// A call that only the scheme understands.
    case call = 38
    /// A device control call.
    case ioctl = 39
    /// Reserves, frees or zeroes a range.
    case fallocate = 40
    /// Finds data or a hole.
    case lseek = 41
    /// Copies a range inside the server.
    case copyFileRange = 42
    /// Who holds a lock in the way of this one.
    case getlk = 43
    /// Sets, changes or removes a POSIX lock.
    case setlk = 44
    /// Sets, changes or removes a whole-file lock.
    case flock = 45

    // Calls on paths.
    /// Opens a path, relative to a directory handle or the scheme's root.
    case openat = 48
    /// Removes the entry that a path names.
    case unlinkat = 49
    /// Gives what a handle refers to another path.
    case frename = 50
    /// Gives what a handle refers to one more path.
    case flink = 51

    // Calls on nodes.
    /// Finds a name in a directory.
    case lookup = 64
    /// The kernel forgot a node.
    case forget = 65
    /// Attributes of a node.
    case getattr = 66
    /// Changes attributes of a node.
    case setattr = 67
    /// The target of a symbolic link.
    case readlink = 68
    /// Makes a symbolic link.
    case symlink = 69
    /// Makes a file, FIFO, socket or device node.
    case mknod = 70
    /// Makes a directory.
    case mkdir = 71
    /// Removes a name that isn't a directory's.
    case unlink = 72
    /// Removes an empty directory.
    case rmdir = 73
    /// Renames, with flags as renameat2(2).
    case rename = 74
    /// Gives a node one more name.
    case link = 75
    /// Opens a node.
    case open = 76
    /// Makes a file and opens it.
    case create = 77
    /// Makes a file without a name and opens it.
    case tmpfile = 78
    /// Opens a directory.
    case opendir = 79
    /// Directory entries with attributes.
    case readdir = 80
    /// Ends a directory handle.
    case releasedir = 81
    /// Makes a directory durable.
    case fsyncdir = 82
    /// Figures of the file system.
    case statfs = 83
    /// Sets an extended attribute.
    case setxattr = 84
    /// The value of an extended attribute.
    case getxattr = 85
    /// The names of the extended attributes.
    case listxattr = 86
    /// Removes an extended attribute.
    case removexattr = 87
    /// Checks permission; only for schemes with rules of their own.
    case access = 88
    /// Makes the whole file system durable.
    case syncfs = 89
}
