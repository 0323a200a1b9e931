import Glibc

/// The kernel that the tests run on.
public enum LinuxKernel {
    /// Why a router that dies can't go unnoticed here, or nil.
    public static let routerObstacle: String? = {
        var names = utsname()
        _ = unsafe uname(&names)
        let release = unsafe withUnsafeBytes(of: &names.release) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        let parts = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        let version = parts.count == 2 ? (parts[0], parts[1]) : (0, 0)
        return version < (6, 9) ? "Linux \(release) can't hand a dead router's requests out again, 6.9 can" : nil
    }()
}
