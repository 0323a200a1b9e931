import BlockDevice
import CNBD
import Glibc
import Platform
import SystemPackage

/// Why something on a connection failed.
enum NBDFailure: Error {
    /// There is no connection.
    case unreachable(Errno)
    /// The connection is no more, or nothing comes from it; the text says how.
    case disconnected(String)
    /// The server took the request and refused it.
    case refused(Errno)
    /// The server is there and won't give the export.
    case negotiation(String)
}

/// One connection to a server, by libnbd. One thread at a time uses it, and waits for each answer.
@safe
final class NBDConnection: @unchecked Sendable {
    /// What the server said of the export.
    let export: NBDExport
    /// Our number of the socket: libnbd has another one.
    let socket: SharedDescriptor
    private let handle: OpaquePointer
    /// How long an answer may take, in nanoseconds.
    private let answerLimit: UInt64
    /// The library doesn't know of it any more.
    private var isClosed = false

    /// Begins a connection on a socket that is connected, or about to be.
    init(
        _ socket: SharedDescriptor, export name: String, answerLimit: UInt64, deadline: UInt64
    ) throws(NBDFailure) {
        self.socket = socket
        self.answerLimit = answerLimit
        try Self.awaitConnection(socket, deadline)
        guard let handle = unsafe nbd_create() else { throw unsafe Self.failure(nil) }
        unsafe self.handle = handle
        do throws(NBDFailure) {
            export = try unsafe Self.negotiate(handle, socket, name, deadline)
        } catch {
            unsafe nbd_close(handle)
            throw error
        }
    }

    deinit {
        if isClosed { return }
        // Says goodbye if there is anybody: some servers end with their last client.
        if unsafe nbd_aio_is_ready(handle) == 1 {
            _ = unsafe nbd_aio_disconnect(handle, 0)
            if unsafe nbd_aio_is_closed(handle) != 1 { _ = unsafe nbd_poll(handle, 200) }
        }
        unsafe nbd_close(handle)
    }

    private static func awaitConnection(_ socket: SharedDescriptor, _ deadline: UInt64) throws(NBDFailure) {
        do throws(Errno) {
            var entries = [pollfd(fd: socket.rawValue, events: Int16(POLLOUT), revents: 0)]
            while try SystemCall.poll(&entries, milliseconds: milliseconds(until: deadline)) == 0 {
                if Clock.monotonicNanoseconds() >= deadline { throw .timedOut }
            }
            let code = SystemCall.socketError(socket.rawValue)
            if code != 0 { throw Errno(rawValue: code) }
        } catch {
            throw .unreachable(error)
        }
    }

    private static func negotiate(
        _ handle: OpaquePointer, _ socket: SharedDescriptor, _ name: String, _ deadline: UInt64
    ) throws(NBDFailure) -> NBDExport {
        guard unsafe nbd_set_export_name(handle, name) == 0 else { throw unsafe failure(handle) }
        let copy: Int32
        do throws(Errno) {
            copy = try SystemCall.duplicate(socket.rawValue).release()
        } catch {
            throw .disconnected("\(error)")
        }
        guard unsafe nbd_aio_connect_socket(handle, copy) == 0 else { throw unsafe failure(handle, negotiating: true) }
        while unsafe nbd_aio_is_connecting(handle) == 1 {
            guard Clock.monotonicNanoseconds() < deadline else {
                throw .disconnected("the server doesn't say what it has")
            }
            guard unsafe nbd_poll(handle, milliseconds(until: deadline)) >= 0 else {
                throw unsafe failure(handle, negotiating: true)
            }
        }
        guard unsafe nbd_aio_is_ready(handle) == 1 else { throw unsafe failure(handle, negotiating: true) }
        func block(_ kind: Int32) -> UInt64 { UInt64(max(0, unsafe nbd_get_block_size(handle, kind))) }
        var abilities: NBDExport.Abilities = []
        if unsafe nbd_is_read_only(handle) == 1 { abilities.insert(.readOnly) }
        if unsafe nbd_can_flush(handle) == 1 { abilities.insert(.flush) }
        if unsafe nbd_can_fua(handle) == 1 { abilities.insert(.fua) }
        if unsafe nbd_can_trim(handle) == 1 { abilities.insert(.trim) }
        if unsafe nbd_can_zero(handle) == 1 { abilities.insert(.zero) }
        if unsafe nbd_can_multi_conn(handle) == 1 { abilities.insert(.multipleConnections) }
        do throws(BlockDeviceError) {
            let size = unsafe nbd_get_size(handle)
            guard size >= 0 else { throw .unusable("the server doesn't say how large the disk is") }
            return try NBDExport(
                byteCount: UInt64(size), abilities: abilities, minimum: block(LIBNBD_SIZE_MINIMUM),
                maximum: block(LIBNBD_SIZE_MAXIMUM))
        } catch {
            throw .negotiation("\(error)")
        }
    }

    /// For poll(2): -1 is for ever there.
    private static func milliseconds(until deadline: UInt64) -> Int32 {
        let now = Clock.monotonicNanoseconds()
        return deadline <= now ? 0 : Int32(clamping: (deadline - now) / 1_000_000 + 1)
    }

    /// What the library says about the last call of this thread.
    private static func failure(_ handle: OpaquePointer?, negotiating: Bool = false) -> NBDFailure {
        let text =
            unsafe nbd_get_error().map { String(printable: unsafe String(cString: $0).utf8) }
            ?? "the library doesn't say why"
        let code = Errno(rawValue: nbd_get_errno())
        if negotiating {
            // The server's own words come with an errno; a connection that ends is reset, or just ends.
            return code.rawValue == 0 || isConnectionError(code) ? .disconnected(text) : .negotiation(text)
        }
        var isGone = true
        if let handle = unsafe handle {
            isGone = unsafe nbd_aio_is_dead(handle) != 0 || nbd_aio_is_closed(handle) != 0
        }
        return isGone || isConnectionError(code) || code.rawValue == 0 ? .disconnected(text) : .refused(code)
    }

    private static func isConnectionError(_ code: Errno) -> Bool {
        [Errno(rawValue: ENOTCONN), Errno(rawValue: ESHUTDOWN), .connectionReset, .brokenPipe].contains(code)
    }

    // MARK: Requests

    /// Fills the buffer; offset and length are multiples of the export's smallest block.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(NBDFailure) {
        try unsafe buffer.withUnsafeMutableBytes { (raw) throws(NBDFailure) in
            try finish(unsafe nbd_aio_pread(handle, raw.baseAddress, raw.count, offset, nbd_completion_callback(), 0))
        }
    }

    /// Writes the bytes.
    func write(at offset: UInt64, _ bytes: RawSpan, durably: Bool) throws(NBDFailure) {
        let flags: UInt32 = durably ? LIBNBD_CMD_FLAG_FUA : 0
        try unsafe bytes.withUnsafeBytes { (raw) throws(NBDFailure) in
            try finish(
                unsafe nbd_aio_pwrite(handle, raw.baseAddress, raw.count, offset, nbd_completion_callback(), flags))
        }
    }

    /// Makes a range zero.
    func zero(at offset: UInt64, byteCount: UInt64, durably: Bool) throws(NBDFailure) {
        let flags: UInt32 = durably ? LIBNBD_CMD_FLAG_FUA : 0
        try finish(unsafe nbd_aio_zero(handle, byteCount, offset, nbd_completion_callback(), flags))
    }

    /// Returns when everything answered before is durable.
    func flush() throws(NBDFailure) { try finish(unsafe nbd_aio_flush(handle, nbd_completion_callback(), 0)) }

    /// Waits for an answer. If there is none, the connection ends here, as the library must forget the caller's buffer.
    private func finish(_ cookie: Int64) throws(NBDFailure) {
        guard !isClosed else { throw .disconnected("the connection has ended") }
        do throws(NBDFailure) {
            guard let cookie = UInt64(exactly: cookie) else { throw unsafe Self.failure(handle) }
            let deadline = Clock.monotonicNanoseconds() &+ answerLimit
            while true {
                let state = unsafe nbd_aio_command_completed(handle, cookie)
                if state > 0 { return }
                if state < 0 { throw unsafe Self.failure(handle) }
                if Clock.monotonicNanoseconds() >= deadline {
                    throw .disconnected("no answer for \(answerLimit / 1_000_000_000) seconds")
                }
                guard unsafe nbd_poll(handle, Self.milliseconds(until: deadline)) < 0 else { continue }
                // It says why the connection ended, a reply that makes no sense for instance. The command says only that it wasn't
                // answered, if it wasn't just before; and it says so once.
                let cause = unsafe Self.failure(nil)
                if unsafe nbd_aio_command_completed(handle, cookie) > 0 { return }
                throw cause
            }
        } catch {
            if case .disconnected = error {
                unsafe nbd_close(handle)
                isClosed = true
            }
            throw error
        }
    }

    // MARK: The end

    /// Has the server see the end of what we send: it answers what it has, and ends the connection. Any thread.
    func endSending() { try? SystemCall.shutDown(socket.rawValue, receiving: false, sending: true) }

    /// Waits until the server has ended a connection that sends no more: nothing of what was sent on it is done later.
    /// - Returns: false if the deadline came first.
    @discardableResult
    static func drain(_ socket: SharedDescriptor, deadline: UInt64) -> Bool {
        try? SystemCall.shutDown(socket.rawValue, receiving: false, sending: true)
        while true {
            var entries = [pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)]
            guard let ready = try? SystemCall.poll(&entries, milliseconds: milliseconds(until: deadline)) else {
                return false
            }
            if ready > 0 {
                do throws(Errno) {
                    if let bytes = try SystemCall.receiveSome(socket.rawValue), bytes.isEmpty { return true }
                } catch {
                    // The last two: it never was connected. Anything else, a server out of reach, says nothing about what the
                    // server does; when the kernel has given the connection up the next look finds its end.
                    return [.connectionReset, .brokenPipe, Errno(rawValue: ENOTCONN), .connectionRefused]
                        .contains(error)
                }
            }
            if Clock.monotonicNanoseconds() >= deadline { return false }
        }
    }

    /// The names of a server's exports, for who asked for one that isn't there; empty if the server doesn't tell.
    static func exports(_ socket: SharedDescriptor, deadline: UInt64) -> [String] {
        let names = Names()
        // The library has it until it is closed.
        defer { withExtendedLifetime(names) {} }
        guard let handle = unsafe nbd_create() else { return [] }
        defer { unsafe nbd_close(handle) }
        guard let copy = try? SystemCall.duplicate(socket.rawValue).release(),
            unsafe nbd_set_opt_mode(handle, true) == 0, unsafe nbd_aio_connect_socket(handle, copy) == 0,
            unsafe waitToNegotiate(handle, deadline)
        else { return [] }
        var callback = unsafe nbd_list_callback()
        unsafe callback.user_data = Unmanaged.passUnretained(names).toOpaque()
        unsafe callback.callback = { data, name, _ in
            guard let data = unsafe data, let name = unsafe name else { return 0 }
            let names = unsafe Unmanaged<Names>.fromOpaque(data).takeUnretainedValue()
            if names.all.count < 20 { names.all.append(unsafe String(cString: name)) }
            return 0
        }
        guard unsafe nbd_aio_opt_list(handle, callback, nbd_completion_callback()) == 0 else { return [] }
        return unsafe waitToNegotiate(handle, deadline) ? names.all : []
    }

    /// Waits until it is our turn to speak.
    private static func waitToNegotiate(_ handle: OpaquePointer, _ deadline: UInt64) -> Bool {
        while unsafe nbd_aio_is_negotiating(handle) != 1 {
            guard unsafe nbd_aio_is_connecting(handle) == 1, Clock.monotonicNanoseconds() < deadline,
                unsafe nbd_poll(handle, milliseconds(until: deadline)) >= 0
            else { return false }
        }
        return true
    }

    private final class Names { var all: [String] = [] }
}
