import Platform
import SystemPackage

/// Why a disk that a server exports can't be used.
public enum NBDError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Nobody is there.
    case unreachable(Errno)
    /// Somebody is there who breaks off, or says nothing.
    case silent(String)
    /// There is a server that doesn't give the export; the names of those that it has, if it tells.
    case refused(String, exports: [String])
    /// What it exports can't be used as a disk; why.
    case unusable(String)

    /// One line for a person.
    public var description: String {
        switch self {
        case .unreachable(let code): "cannot connect: \(code)"
        case .silent(let text): "no NBD server answers: \(text)"
        case .refused(let text, _): "the server refuses: \(text)"
        case .unusable(let text): text
        }
    }

    /// What can be done about it; nil if there is nothing useful to say.
    public var advice: String? {
        switch self {
        case .unreachable(.noSuchFileOrDirectory):
            "There is no such socket. Is the server running? nbdkit --unix PATH file DISK; qemu-nbd --persistent --socket PATH DISK"
        case .unreachable(.connectionRefused): "Nobody listens there. Is the server running?"
        case .unreachable(.permissionDenied): "Run as a user who may write to the socket."
        case .refused(_, let exports) where !exports.isEmpty:
            "Its exports: "
                + exports.map { $0.isEmpty ? "\"\" (the default one)" : String(printable: $0.utf8) }.joined(
                    separator: ", ")
        default: nil
        }
    }

    /// The error of the system that says about the same.
    public var errno: Errno {
        switch self {
        case .unreachable(let code): code
        case .silent: .ioError
        case .refused: .noSuchFileOrDirectory
        case .unusable: .invalidArgument
        }
    }
}
