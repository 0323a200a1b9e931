import FuseBridge
import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// Why mounts can't be tested here, or nil.
let mountObstacle: Comment? = MountFolder.obstacle.map { Comment(rawValue: $0) }

/// A mount in a temporary folder, and the descriptor to serve it. Unmounted when it goes.
final class TestMount {
    private let place: MountFolder
    var path: String { place.root }
    let descriptor: Int32

    init() throws {
        place = try MountFolder("session")
        descriptor = unsafe open("/dev/fuse", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw Errno(rawValue: errno) }
        let options = "fd=\(descriptor),rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other"
        let result = unsafe options.withCString { text in
            unsafe mount("saltbridge-test", place.root, "fuse.saltbridge", UInt(MS_NOSUID | MS_NODEV), text)
        }
        guard result == 0 else { throw Errno(rawValue: errno) }
    }

    /// Serves the mount on a thread of its own while the body runs, then unmounts.
    func serve(_ backend: any FuseBackend, _ body: (String) throws -> Void) throws {
        var options = FuseSession.Options()
        options.locksMemory = false
        let session = try FuseSession(descriptor: descriptor, backend: backend, options: options)
        let thread = try spawnThread(name: "serve") { try? session.run() }
        defer {
            // Not lazily: a file that was forgotten to be closed is a fault of the test.
            if unsafe umount2(path, 0) != 0 {
                Issue.record("unmounting \(path): \(Errno(rawValue: errno))")
                unsafe umount2(path, Int32(MNT_DETACH))
            }
            thread.join()
        }
        try body(path)
    }

    deinit {
        place.remove()
        close(descriptor)
    }
}
