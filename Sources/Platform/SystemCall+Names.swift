import CLinux
import Glibc
import SystemPackage

/// Calls on names as the kernel sees them: bytes without NUL, relative to an open directory. No link at the last name
/// is followed.
extension SystemCall {
    /// openat(2) with `O_CLOEXEC`.
    public static func openAt(
        _ directory: Int32, _ name: [UInt8], _ flags: Int32, mode: mode_t = 0
    ) throws(Errno) -> OwnedDescriptor {
        OwnedDescriptor(
            adopting: try unsafe withName(name) { unsafe clinux_openat(directory, $0, flags | O_CLOEXEC, mode) })
    }

    /// openat(2) for reading only, without a trace in the access time where the caller may ask for that.
    public static func openUnnoticedAt(
        _ directory: Int32, _ name: [UInt8], _ flags: Int32
    ) throws(Errno) -> OwnedDescriptor {
        do throws(Errno) {
            return try openAt(directory, name, flags | O_RDONLY | clinux_o_noatime)
        } catch {
            // For the owner and root only.
            if error != .notPermitted { throw error }
            return try openAt(directory, name, flags | O_RDONLY)
        }
    }

    /// fstatat(2) of the name itself.
    public static func statusAt(_ directory: Int32, _ name: [UInt8]) throws(Errno) -> stat {
        var result = stat()
        try unsafe withName(name) { unsafe fstatat(directory, $0, &result, AT_SYMLINK_NOFOLLOW) }
        return result
    }

    /// mkdirat(2).
    public static func makeDirectoryAt(_ directory: Int32, _ name: [UInt8], mode: mode_t) throws(Errno) {
        try unsafe withName(name) { unsafe mkdirat(directory, $0, mode) }
    }

    /// mknodat(2): a pipe, a socket or a device. `mode` contains the type.
    public static func makeNodeAt(
        _ directory: Int32, _ name: [UInt8], mode: mode_t, device: dev_t
    ) throws(Errno) {
        try unsafe withName(name) { unsafe mknodat(directory, $0, mode, device) }
    }

    /// symlinkat(2).
    public static func makeSymbolicLinkAt(
        _ directory: Int32, _ name: [UInt8], target: [UInt8]
    ) throws(Errno) {
        let target = try terminated(target)
        try unsafe withName(name) { unsafe symlinkat(target, directory, $0) }
    }

    /// linkat(2): a second name for a file.
    public static func linkAt(
        _ oldDirectory: Int32, _ oldName: [UInt8], _ newDirectory: Int32, _ newName: [UInt8]
    ) throws(Errno) {
        let old = try terminated(oldName)
        try unsafe withName(newName) { unsafe linkat(oldDirectory, old, newDirectory, $0, 0) }
    }

    /// unlinkat(2); `AT_REMOVEDIR` in the flags for directories.
    public static func unlinkAt(_ directory: Int32, _ name: [UInt8], flags: Int32 = 0) throws(Errno) {
        try unsafe withName(name) { unsafe unlinkat(directory, $0, flags) }
    }

    /// renameat(2).
    public static func renameAt(
        _ oldDirectory: Int32, _ oldName: [UInt8], _ newDirectory: Int32, _ newName: [UInt8]
    ) throws(Errno) {
        let old = try terminated(oldName)
        try unsafe withName(newName) { unsafe clinux_renameat2(oldDirectory, old, newDirectory, $0, 0) }
    }

    /// readlinkat(2).
    public static func readLinkAt(_ directory: Int32, _ name: [UInt8]) throws(Errno) -> [UInt8] {
        try unsafe growing { (buffer, count) in
            guard let buffer = unsafe buffer else { return Int(PATH_MAX) }
            return unsafe withUnsafePath(name) { unsafe readlinkat(directory, $0, buffer, count) }
        }
    }

    /// fchmodat(2). On a symbolic link it changes what the link names: don't.
    public static func changeModeAt(_ directory: Int32, _ name: [UInt8], _ mode: mode_t) throws(Errno) {
        try unsafe withName(name) { unsafe fchmodat(directory, $0, mode, 0) }
    }

    /// fchownat(2) of the name itself.
    public static func changeOwnerAt(
        _ directory: Int32, _ name: [UInt8], uid: uid_t, gid: gid_t
    ) throws(Errno) {
        try unsafe withName(name) { unsafe fchownat(directory, $0, uid, gid, AT_SYMLINK_NOFOLLOW) }
    }

    /// utimensat(2) of the name itself.
    public static func changeTimesAt(
        _ directory: Int32, _ name: [UInt8], access: timespec, modification: timespec
    ) throws(Errno) {
        let times = [access, modification]
        try unsafe withName(name) { unsafe utimensat(directory, $0, times, AT_SYMLINK_NOFOLLOW) }
    }

    /// The names of all extended attributes of the name itself (llistxattr(2)); none where there are none to be had.
    public static func attributeNamesAt(_ directory: Int32, _ name: [UInt8]) throws(Errno) -> [[UInt8]] {
        let path = pathThroughDescriptor(directory, name)
        let list: [UInt8]
        do throws(Errno) {
            list = try unsafe growing { (buffer, count) in
                unsafe withUnsafePath(path) { unsafe clinux_llistxattr($0, buffer, count) }
            }
        } catch .notSupported {
            return []
        }
        return list.split(separator: 0).map { Array($0) }
    }

    /// The value of an extended attribute of the name itself (lgetxattr(2)).
    public static func attributeAt(
        _ directory: Int32, _ name: [UInt8], _ attribute: [UInt8]
    ) throws(Errno) -> [UInt8] {
        let path = pathThroughDescriptor(directory, name)
        return try unsafe growing { (buffer, count) in
            unsafe withUnsafePath(path) { path in
                unsafe withUnsafePath(attribute) { unsafe clinux_lgetxattr(path, $0, buffer, count) }
            }
        }
    }

    /// Sets an extended attribute of the name itself (lsetxattr(2)).
    public static func setAttributeAt(
        _ directory: Int32, _ name: [UInt8], _ attribute: [UInt8], _ value: [UInt8]
    ) throws(Errno) {
        let path = pathThroughDescriptor(directory, name)
        try retrying {
            unsafe withUnsafePath(path) { path in
                unsafe withUnsafePath(attribute) { unsafe clinux_lsetxattr(path, $0, value, value.count) }
            }
        }
    }

    // The calls for attributes take no directory; the kernel's own path of the open one serves.
    private static func pathThroughDescriptor(_ directory: Int32, _ name: [UInt8]) -> [UInt8] {
        directory == AT_FDCWD ? name : Array("/proc/self/fd/\(directory)/".utf8) + name
    }

    private static func growing(
        _ call: (UnsafeMutablePointer<CChar>?, Int) -> Int
    ) throws(Errno) -> [UInt8] {
        while true {
            let size = try retrying { call(nil, 0) }
            var buffer = [CChar](repeating: 0, count: size + 1)
            do {
                let count = try retrying {
                    unsafe buffer.withUnsafeMutableBufferPointer { unsafe call($0.baseAddress, size + 1) }
                }
                return buffer.prefix(count).map { UInt8(bitPattern: $0) }
            } catch {
                // It grew between the two calls.
                if error != .outOfRange { throw error }
            }
        }
    }

    private static func withUnsafePath(_ path: [UInt8], _ call: (UnsafePointer<CChar>) -> Int) -> Int {
        guard !path.contains(0) else { return failing(EINVAL) }
        let terminated = path.map { CChar(bitPattern: $0) } + [0]
        return unsafe terminated.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return failing(EINVAL) }
            return unsafe call(start)
        }
    }

    private static func withUnsafePath(_ path: [UInt8], _ call: (UnsafePointer<CChar>) -> Int32) -> Int {
        unsafe withUnsafePath(path) { unsafe Int(call($0)) }
    }

    private static func failing(_ code: Int32) -> Int {
        errno = code
        return -1
    }

    private static func terminated(_ name: [UInt8]) throws(Errno) -> [CChar] {
        guard !name.contains(0) else { throw .invalidArgument }
        return name.map { CChar(bitPattern: $0) } + [0]
    }

    @discardableResult
    private static func withName(
        _ name: [UInt8], _ call: (UnsafePointer<CChar>) -> Int32
    ) throws(Errno) -> Int32 {
        let terminated = try terminated(name)
        return try retrying {
            unsafe terminated.withUnsafeBufferPointer { buffer in
                guard let start = buffer.baseAddress else { return -1 }
                return unsafe call(start)
            }
        }
    }
}
