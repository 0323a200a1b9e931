import CLinux
import Glibc
import SystemPackage

/// Names: directories, links, renames, and what belongs to a name.
extension SystemCall {
    /// The names in a directory but "." and "..", in the order of the file system.
    public static func directoryNames(_ path: String) throws(Errno) -> [String] {
        let directory = try open(path, O_RDONLY | O_DIRECTORY)
        return try directoryNames(consuming: directory).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The names in an open directory but "." and "..", as bytes. The directory is closed.
    public static func directoryNames(consuming directory: consuming OwnedDescriptor) throws(Errno) -> [[UInt8]] {
        let descriptor = directory.release()
        guard let stream = unsafe fdopendir(descriptor) else {
            let code = errno
            _ = Glibc.close(descriptor)
            throw Errno(rawValue: code)
        }
        defer { unsafe closedir(stream) }
        var names: [[UInt8]] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                if errno != 0 { throw Errno(rawValue: errno) }
                return names
            }
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { raw in
                unsafe [UInt8](raw.prefix { $0 != 0 })
            }
            if name != [0x2E] && name != [0x2E, 0x2E] { names.append(name) }
        }
    }
}
