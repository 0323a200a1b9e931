import Glibc

/// The kernel that this runs on (uname(2)).
public struct KernelRelease: Sendable {
    /// The release as the kernel says it.
    public let text: String
    /// The first two numbers of it; 0 where it has none.
    public let version: (major: Int, minor: Int)

    /// Reads it.
    public static let current: KernelRelease = {
        var names = utsname()
        _ = unsafe uname(&names)
        let text = unsafe withUnsafeBytes(of: &names.release) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        let parts = text.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        return KernelRelease(text: text, version: parts.count == 2 ? (parts[0], parts[1]) : (0, 0))
    }()
}
