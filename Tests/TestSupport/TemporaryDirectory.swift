import Glibc
import Platform
import SystemPackage

/// A folder for one test, removed with everything in it when the value is released.
public final class TemporaryDirectory: Sendable {
    /// The absolute path.
    public let path: String

    /// Makes an empty folder under TMPDIR or /tmp.
    public init() throws {
        let parent = ProcessEnvironment["TMPDIR"] ?? "/tmp"
        let suffix = try SystemCall.randomBytes(count: 8).map { String($0, radix: 16) }.joined()
        path = "\(parent)/saltbridge-test-\(getpid())-\(suffix)"
        let created = path
        try SystemCall.retrying { unsafe mkdir(created, 0o700) }
    }

    deinit {
        Self.remove(path)
    }

    /// The path of something in the folder.
    public func file(_ name: String) -> String {
        "\(path)/\(name)"
    }

    private static func remove(_ path: String) {
        guard let status = try? SystemCall.statusAt(AT_FDCWD, path, flags: AT_SYMLINK_NOFOLLOW) else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            _ = unsafe chmod(path, 0o700)
            for name in (try? SystemCall.directoryNames(path)) ?? [] { remove("\(path)/\(name)") }
            _ = unsafe rmdir(path)
        } else {
            _ = unsafe unlink(path)
        }
    }
}

/// The environment of the process.
public enum ProcessEnvironment {
    /// The value of a variable, nil if it isn't set.
    public static subscript(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}
