import Glibc
import Platform
import SystemPackage

/// A temporary folder with a mount point in it, for a system that a test starts as processes, or a mount that it serves itself.
public final class MountFolder: Sendable {
    /// Why such a system can't be started and killed here, or nil.
    public static let obstacle: String? = {
        if unsafe access("/dev/fuse", R_OK | W_OK) != 0 { return "/dev/fuse can't be opened" }
        if geteuid() != 0 { return "these tests mount as root, and kill processes of such mounts" }
        return nil
    }()

    /// The folder.
    public let path: String
    /// The mount point.
    public let root: String

    /// Makes `/tmp/saltbridge-NAME-XXXXXX`.
    public init(_ name: String) throws(Errno) {
        var template = Array("/tmp/saltbridge-\(name)-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        root = "\(path)/mount"
        _ = unsafe mkdir(root, 0o755)
    }

    /// A program that was built beside the tests.
    public static func program(_ name: String) throws(Errno) -> String {
        let own = try SystemCall.readLink("/proc/self/exe")
        return own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
            + "/\(name)"
    }

    /// Takes away the mount, its supervisor and the folder, whatever state they are in.
    public func remove(ending supervisor: borrowing ChildProcess) {
        takeAway()
        try? supervisor.send(signal: SIGKILL)
        _ = try? supervisor.waitForEnd()
        removeFiles()
    }

    /// Takes away the mount, which the test serves itself, and the folder.
    public func remove() {
        takeAway()
        removeFiles()
    }

    private func takeAway() { _ = unsafe umount2(root, Int32(MNT_DETACH)) }

    private func removeFiles() {
        for name in (try? SystemCall.directoryNames(path)) ?? [] where name != "mount" {
            _ = unsafe unlink("\(path)/\(name)")
        }
        _ = unsafe rmdir(root)
        _ = unsafe rmdir(path)
    }
}
