import CTLS
import Glibc
import Platform
import SystemPackage

/// A TLS session over a socket that doesn't block. OpenSSL never touches the socket: records go through memory.
///
///     application  <->  SSL  <->  input, output (memory)  <->  recv, send
///
/// Any thread. The keys are in this process alone: a session ends with it.
@safe
final class TLSSession: @unchecked Sendable {
    private struct State {
        /// Records that the socket had no room for, from `start` on.
        var unsent: [UInt8] = []
        var start = 0
        /// The other side's stream is at its end.
        var isAtEnd = false
    }

    /// At most so much is made into records before they are sent.
    static let chunkBytes = 64 << 10

    /// More than this never waits to be sent: a peer that asks for answers and takes none is given up. A write of ours leaves one chunk.
    static let unsentLimit = 1 << 20

    /// So often something is received in one call, if nothing comes of it: a peer may send records without end that carry no bytes.
    static let roundLimit = 16

    private let session: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private let state = Locked(State())

    /// Takes over `session`, to be one with a server that must prove that it has a name or address.
    init(_ session: OpaquePointer, host: String, isNumeric: Bool) throws(Errno) {
        guard let input = unsafe BIO_new(BIO_s_mem()), let output = unsafe BIO_new(BIO_s_mem()) else {
            unsafe SSL_free(session)
            throw .noMemory
        }
        unsafe SSL_set_bio(session, input, output)
        unsafe SSL_set_connect_state(session)
        unsafe self.session = session
        unsafe self.input = input
        unsafe self.output = output
        let isSet =
            isNumeric
            ? unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host) == 1
            : unsafe SSL_set1_host(session, host) == 1 && ctls_set_server_name(session, host) == 1
        // OpenSSL takes an empty name for the wish that none be checked.
        guard isSet, !host.isEmpty else { throw .invalidArgument }
    }

    deinit { unsafe SSL_free(session) }

    /// Why the other side's certificate isn't trusted; nil if it is, or hasn't come.
    var rejection: String? {
        state.withLock { _ in
            let result = unsafe SSL_get_verify_result(session)
            guard result != X509_V_OK, let text = unsafe X509_verify_cert_error_string(result) else { return nil }
            return unsafe String(cString: text)
        }
    }

    /// Goes on with the handshake. Nil: it is done; else what to wait for.
    func handshake(_ socket: Int32) throws(Errno) -> SocketEvents? {
        try state.withLock { state throws(Errno) -> SocketEvents? in
            var rounds = 0
            while true {
                ERR_clear_error()
                let result = unsafe SSL_do_handshake(session)
                let reason = unsafe SSL_get_error(session, result)
                let isSent = try flush(socket, &state)
                if result == 1 { return nil }
                guard reason == SSL_ERROR_WANT_READ else { throw failure() }
                if try !fill(socket, &rounds, &state) { return isSent ? .readable : [.readable, .writable] }
            }
        }
    }

    /// Reads what there is, at most so many bytes; none: the other side has ended the session. Throws `.wouldBlock` if there is
    /// nothing yet, ECONNRESET if the stream ended without the end of the session.
    func read(_ socket: Int32, limit: Int) throws(Errno) -> [UInt8] {
        try state.withLock { state throws(Errno) -> [UInt8] in
            let limit = min(limit, Self.chunkBytes)
            var result: [UInt8] = []
            var rounds = 0
            var chunk = [UInt8](repeating: 0, count: min(limit, 16384))
            while result.count < limit {
                ERR_clear_error()
                let count = unsafe SSL_read(session, &chunk, Int32(clamping: min(chunk.count, limit - result.count)))
                if count > 0 {
                    result += chunk[..<Int(count)]
                    continue
                }
                let reason = unsafe SSL_get_error(session, count)
                // What it answers, a new key for instance.
                do throws(Errno) {
                    _ = try flush(socket, &state)
                } catch .noBufferSpace {
                    throw .noBufferSpace
                } catch {
                    // The next write will tell.
                }
                if !result.isEmpty || reason == SSL_ERROR_ZERO_RETURN { break }
                guard reason == SSL_ERROR_WANT_READ else { throw failure() }
                if try !fill(socket, &rounds, &state) { throw .wouldBlock }
            }
            return result
        }
    }

    /// Whether a read would have something to tell.
    func isReadable(_ socket: Int32) -> Bool {
        state.withLock { state in
            var rounds = 0
            while true {
                ERR_clear_error()
                var byte: UInt8 = 0
                let count = unsafe SSL_peek(session, &byte, 1)
                let reason = unsafe SSL_get_error(session, count)
                if count > 0 || reason != SSL_ERROR_WANT_READ { return true }
                guard let hasMore = try? fill(socket, &rounds, &state) else { return true }
                if !hasMore { return false }
            }
        }
    }

    /// Makes records of bytes. Call `flush` until all are sent, before and after.
    func encrypt(_ bytes: [UInt8]) throws(Errno) {
        try state.withLock { state throws(Errno) in
            ERR_clear_error()
            guard unsafe SSL_write(session, bytes, Int32(clamping: bytes.count)) == Int32(clamping: bytes.count) else {
                throw failure()
            }
            try collect(&state)
        }
    }

    /// Sends what waits for that; true: nothing does any more.
    func flush(_ socket: Int32) throws(Errno) -> Bool {
        try state.withLock { state throws(Errno) in try flush(socket, &state) }
    }

    /// Ends this side; call `flush` until that is sent.
    func finish() {
        state.withLock { state in
            ERR_clear_error()
            unsafe SSL_shutdown(session)
            // Without room for it the peer sees the end of the stream, and no more.
            try? collect(&state)
        }
    }

    private func collect(_ state: inout State) throws(Errno) {
        let count = unsafe BIO_ctrl_pending(output)
        guard count > 0 else { return }
        guard state.unsent.count + count <= Self.unsentLimit else { throw .noBufferSpace }
        var records = [UInt8](repeating: 0, count: count)
        let found = unsafe BIO_read(output, &records, Int32(clamping: count))
        if found > 0 { state.unsent += records[..<Int(found)] }
    }

    private func flush(_ socket: Int32, _ state: inout State) throws(Errno) -> Bool {
        try collect(&state)
        while state.start < state.unsent.count {
            guard let count = try Self.send(socket, state.unsent, from: state.start) else { return false }
            state.start += count
        }
        state.unsent.removeAll(keepingCapacity: true)
        state.start = 0
        return true
    }

    /// How much of the bytes the socket took; nil if there is no room.
    private static func send(_ socket: Int32, _ bytes: [UInt8], from start: Int) throws(Errno) -> Int? {
        let span = bytes.span
        do throws(Errno) {
            return try SystemCall.sendSome(socket, unsafe span.bytes.extracting(droppingFirst: start))
        } catch {
            if error == .wouldBlock { return nil }
            throw error
        }
    }

    /// Takes what has come; false: nothing, or so often already that others have their turn first. Everything that was taken is with
    /// the session then: what is left lies in the socket, which says that it is readable.
    private func fill(_ socket: Int32, _ rounds: inout Int, _ state: inout State) throws(Errno) -> Bool {
        guard rounds < Self.roundLimit else { return false }
        rounds += 1
        if state.isAtEnd { throw .connectionReset }
        var records = [UInt8](repeating: 0, count: Self.chunkBytes)
        var span = records.mutableSpan
        var raw = unsafe span.mutableBytes
        let count: Int
        do throws(Errno) {
            count = try SystemCall.receive(socket, into: &raw, keeping: false)
        } catch {
            if error == .wouldBlock { return false }
            throw error
        }
        if count == 0 {
            state.isAtEnd = true
        } else if unsafe BIO_write(input, records, Int32(clamping: count)) != Int32(clamping: count) {
            throw .noMemory
        }
        return true
    }

    /// EKEYREJECTED: the certificate isn't trusted. EPROTO: the two don't understand one another.
    private func failure() -> Errno {
        Errno(rawValue: unsafe SSL_get_verify_result(session) == X509_V_OK ? EPROTO : EKEYREJECTED)
    }
}
