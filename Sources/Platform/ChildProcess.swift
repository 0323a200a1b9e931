import CLinux
import Glibc
import SystemPackage

/// How a process ended.
public enum ProcessEnd: Sendable, Equatable, CustomStringConvertible {
    /// It called exit with this status.
    case exited(Int32)
    /// This signal ended it.
    case signaled(Int32)

    /// For messages: `exited with status 1`, `killed by signal 9`.
    public var description: String {
        switch self {
        case .exited(let status): "exited with status \(status)"
        case .signaled(let signal): "killed by signal \(signal)"
        }
    }
}

/// A change of a child process's state, see waitid(2).
public enum ProcessChange: Sendable, Equatable {
    /// It is gone, and has been reaped.
    case ended(ProcessEnd)
    /// It was stopped by this signal.
    case stopped(Int32)
    /// It runs again.
    case continued
}

/// A child process, held by its pidfd: the number of a process can become another's, a pidfd never does.
///
/// Dropping the value neither kills nor reaps the process.
public struct ChildProcess: ~Copyable, Sendable {
    /// The process's number in this process's namespace.
    public let processID: Int32
    /// The pidfd: readable for poll once the process is wholly dead.
    public let descriptor: OwnedDescriptor

    /// Takes over a child and its pidfd.
    public init(processID: Int32, descriptor: consuming OwnedDescriptor) {
        self.processID = processID
        self.descriptor = descriptor
    }

    /// pidfd_send_signal(2). ESRCH once the process is dead.
    public func send(signal: Int32) throws(Errno) {
        let raw = descriptor.rawValue
        try SystemCall.retrying { clinux_pidfd_send_signal(raw, signal) }
    }

    /// The next change of state that was not asked for yet, or nil: doesn't wait. Reaps an ended process.
    public func nextChange() throws(Errno) -> ProcessChange? {
        try change(options: WEXITED | WSTOPPED | WCONTINUED | WNOHANG)
    }

    /// Waits for the end and reaps the process.
    public func waitForEnd() throws(Errno) -> ProcessEnd {
        while true {
            if case .ended(let end)? = try change(options: WEXITED) { return end }
        }
    }

    private func change(options: Int32) throws(Errno) -> ProcessChange? {
        var code: Int32 = 0
        var status: Int32 = 0
        let raw = descriptor.rawValue
        try SystemCall.retrying { unsafe clinux_wait_pidfd(raw, options, &code, &status) }
        switch Int(code) {
        case Int(CLD_EXITED): return .ended(.exited(status))
        case Int(CLD_KILLED), Int(CLD_DUMPED): return .ended(.signaled(status))
        case Int(CLD_STOPPED), Int(CLD_TRAPPED): return .stopped(status)
        case Int(CLD_CONTINUED): return .continued
        default: return nil
        }
    }
}

extension SystemCall {
    /// A pidfd of any process (pidfd_open(2)), closed on exec.
    public static func openProcess(_ processID: Int32) throws(Errno) -> OwnedDescriptor {
        OwnedDescriptor(adopting: try retrying { clinux_pidfd_open(processID) })
    }

    /// Sends a signal to the process of a pidfd.
    public static func sendSignal(_ signal: Int32, toProcess descriptor: Int32) throws(Errno) {
        try retrying { clinux_pidfd_send_signal(descriptor, signal) }
    }
}

extension SystemCall {
    /// A descriptor that stands for a path without opening it (O_PATH): to execute it, or to name it to landlock.
    public static func openPath(_ path: String) throws(Errno) -> OwnedDescriptor {
        try open(path, clinux_path_only)
    }

    /// Whether there is something at the path that this process may name.
    public static func exists(_ path: String) -> Bool {
        do throws(Errno) {
            _ = try openPath(path)
            return true
        } catch {
            return false
        }
    }
}

extension SystemCall {
    /// A pipe: what is written to the second is read from the first. Both are closed on exec.
    public static func pipe() throws(Errno) -> (reading: SharedDescriptor, writing: SharedDescriptor) {
        var ends: [Int32] = [-1, -1]
        try retrying { unsafe clinux_pipe(&ends) }
        return (SharedDescriptor(adopting: ends[0]), SharedDescriptor(adopting: ends[1]))
    }

    /// Where a symbolic link points, readlink(2).
    public static func readLink(_ path: String) throws(Errno) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = try retrying { unsafe clinux_readlink(path, &buffer, buffer.count) }
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}
