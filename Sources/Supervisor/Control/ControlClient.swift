import Glibc
import Platform
import SystemPackage

/// Why a supervisor can't be asked.
public enum ControlClientError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Nobody listens, or the connection broke.
    case connection(Errno)
    /// The supervisor ended before it answered.
    case ended
    /// The answer makes no sense.
    case answer(String)
    /// The supervisor refuses; the text is its reason.
    case refused(String)

    /// What happened.
    public var description: String {
        switch self {
        case .connection(let errno): "cannot reach the supervisor: \(errno)"
        case .ended: "the supervisor ended before it answered"
        case .answer(let text): "the supervisor's answer makes no sense: \(text)"
        case .refused(let reason): reason
        }
    }
}

/// Asks a supervisor over its control socket.
public final class ControlClient {
    private let socket: SharedDescriptor
    private var incoming: [UInt8] = []

    /// Connects to the supervisor that listens at a path.
    public init(path: String) throws(ControlClientError) {
        do throws(Errno) {
            socket = try SystemCall.connect(toPath: path)
        } catch {
            throw .connection(error)
        }
    }

    /// A supervisor that is just ending is EPIPE, not the end of this process by SIGPIPE.
    private func send(_ request: ControlJSON) throws(Errno) {
        let line = Array("\(request.text)\n".utf8)
        try unsafe SystemCall.send(socket.rawValue, line.span.bytes)
    }

    /// Sends a request and waits for its answer.
    ///
    /// - Throws: `refused` if the answer says that it failed.
    public func ask(_ request: ControlJSON) throws(ControlClientError) -> ControlJSON {
        do throws(Errno) {
            try send(request)
        } catch {
            throw .connection(error)
        }
        let line = try nextLine()
        let answer: ControlJSON
        do {
            answer = try ControlJSON(parsing: line)
        } catch {
            throw .answer("\(error)")
        }
        if answer["ok"] == .bool(true) { return answer }
        throw .refused(answer["error"]?.string ?? line)
    }

    /// The memory into which the mount's requests are put while it is traced.
    public func traceMemory() throws(ControlClientError) -> SharedDescriptor {
        do throws(Errno) {
            try send(.make(["command": .string("trace")]))
            var buffer = [UInt8](repeating: 0, count: 4096)
            var span = buffer.mutableSpan
            var bytes = unsafe span.mutableBytes
            let received = try SystemCall.receive(socket.rawValue, into: &bytes)
            if let descriptor = received.descriptors.first { return descriptor }
            if received.byteCount == 0 { throw Errno.brokenPipe }
        } catch .brokenPipe {
            throw .ended
        } catch {
            throw .connection(error)
        }
        throw .answer("no descriptor")
    }

    /// Whether the supervisor has ended; waits at most so long for that.
    public func hasEnded(milliseconds: Int32) -> Bool {
        var entries = [pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)]
        return ((try? SystemCall.poll(&entries, milliseconds: milliseconds)) ?? 0) > 0
    }

    private func nextLine() throws(ControlClientError) -> String {
        while true {
            if let end = incoming.firstIndex(of: 0x0A) {
                let line = String(decoding: incoming[..<end], as: UTF8.self)
                incoming.removeSubrange(...end)
                return line
            }
            do throws(Errno) {
                guard let bytes = try SystemCall.receiveSome(socket.rawValue), !bytes.isEmpty else { throw .brokenPipe }
                incoming += bytes
            } catch .brokenPipe {
                throw .ended
            } catch .connectionReset {
                throw .ended
            } catch {
                throw .connection(error)
            }
        }
    }
}
