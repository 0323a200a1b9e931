import SystemPackage

/// Why a channel can't be set up.
public enum ChannelError: Error, Equatable, Sendable {
    /// A system call failed.
    case system(Errno, call: String)
    /// A memory that came from elsewhere isn't one of a channel of this geometry: the text says what is wrong.
    case memory(String)
    /// The control socket's peer is gone.
    case disconnected
    /// A control message is malformed.
    case message(String)

    /// The errno that comes nearest.
    public var errno: Errno {
        switch self {
        case .system(let errno, _): errno
        case .memory, .message: .invalidArgument
        case .disconnected: .brokenPipe
        }
    }
}

extension ChannelError: CustomStringConvertible {
    /// What went wrong, in words.
    public var description: String {
        switch self {
        case .system(let errno, let call): "\(call): \(errno)"
        case .memory(let text): "no memory of a channel: \(text)"
        case .disconnected: "the other side is gone"
        case .message(let text): "a malformed message: \(text)"
        }
    }
}

/// Runs a wrapper of a system call and says which one failed.
func system<Result: ~Copyable>(
    _ call: String, _ body: () throws(Errno) -> Result
) throws(ChannelError) -> Result {
    do { return try body() } catch { throw .system(error, call: call) }
}
