import Platform
import SystemPackage

/// Why a process could not be put into its sandbox. It isn't started at all then, never in a weaker one.
public enum SandboxError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The program can't be opened.
    case executable(path: String, Errno)
    /// The kernel has no landlock (it came with Linux 5.13).
    case landlockUnavailable
    /// The landlock ruleset can't be built; the text says which part.
    case landlock(String, Errno)
    /// A step of the start failed.
    case start(name: String, SpawnError)
    /// A running process lacks a part of its sandbox; the text says which.
    case notConfined(name: String, String)
    /// The environment of a server names no sandbox: it was started by hand.
    case noConfiguration(String)
    /// A server could not install its filter.
    case filter(Errno)

    /// What failed and why.
    public var description: String {
        switch self {
        case .executable(let path, let errno): "cannot open the program \(path): \(errno)"
        case .landlockUnavailable: "this kernel has no landlock, which the sandbox needs"
        case .landlock(let part, let errno): "sandbox: landlock: \(part): \(errno)"
        case .start(let name, let error): "sandbox of \(name): \(error)"
        case .notConfined(let name, let part): "sandbox of \(name): \(part) is not in force"
        case .noConfiguration(let name): "not started by the supervisor: \(name) is not set"
        case .filter(let errno): "sandbox: cannot install the system call filter: \(errno)"
        }
    }
}
