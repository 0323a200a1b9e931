import Glibc
import Platform
import SystemPackage

/// The file of a listening socket, as it was when the supervisor began. When the mount ends it goes, unless another one has taken
/// its place.
struct SocketFile {
    private let path: String
    private let device: dev_t
    private let node: ino_t

    /// Nil if there is no socket of that name.
    init?(_ path: String) {
        guard let status = try? SystemCall.statusAt(AT_FDCWD, path, flags: AT_SYMLINK_NOFOLLOW),
            status.st_mode & S_IFMT == S_IFSOCK
        else { return nil }
        self.path = path
        device = status.st_dev
        node = status.st_ino
    }

    func remove() {
        guard let now = SocketFile(path), now.device == device, now.node == node else { return }
        _ = unsafe unlink(path)
    }
}
