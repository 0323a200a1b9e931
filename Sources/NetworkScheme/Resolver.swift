import CCares
import Glibc
import Platform
import SystemPackage

/// Finds the addresses of names, by /etc/hosts and DNS (c-ares): a static executable has no other resolver. One thread of its
/// own; nobody waits but those who asked.
@safe
final class Resolver: @unchecked Sendable {
    typealias Answer = @Sendable (Result<[SocketAddress], Errno>) -> Void

    private struct Query {
        let name: String
        let answer: Answer
    }

    /// What a C callback gets: one query under way.
    private final class Pending {
        let answer: Answer
        init(_ answer: @escaping Answer) { self.answer = answer }
    }

    private let queue = Locked<[Query]>([])
    /// Name servers that are to be asked from now on.
    private let servers = Locked<String?>(nil)
    private let bell: SharedDescriptor
    private var channel: ares_channel?

    /// Reads the configuration: call before files can't be opened any more.
    init() throws(Errno) {
        bell = SharedDescriptor(try SystemCall.eventDescriptor())
        // Where c-ares finds no /dev/urandom it numbers its queries by rand(3): not in the same way each time.
        var seed = [UInt8](repeating: 0, count: 4)
        var span = seed.mutableSpan
        var raw = unsafe span.mutableBytes
        try SystemCall.randomBytes(into: &raw)
        srand(seed.reduce(0) { $0 << 8 | UInt32($1) })
        guard ares_library_init(ARES_LIB_INIT_ALL) == 0 else { throw .noMemory }
        guard unsafe ares_init(&channel) == 0 else { throw .noMemory }
        try spawnThread(name: "resolver", stackSize: 512 << 10) { [self] in run() }
    }

    /// Looks a name up; the answer comes on the resolver's thread, with port 0.
    func resolve(_ name: String, _ answer: @escaping Answer) {
        queue.withLock { $0.append(Query(name: name, answer: answer)) }
        SystemCall.signalEvent(bell.rawValue)
    }

    /// Has other name servers asked: `ADDRESS:PORT`, separated by commas.
    func setServers(_ list: String) {
        servers.withLock { $0 = list }
        SystemCall.signalEvent(bell.rawValue)
    }

    private func run() {
        while true {
            if let list = servers.withLock({ $0.take() }) { unsafe ares_set_servers_ports_csv(channel, list) }
            for query in queue.withLock({ list in
                defer { list = [] }
                return list
            }) {
                begin(query)
            }
            wait()
        }
    }

    private func begin(_ query: Query) {
        var hints = ares_addrinfo_hints()
        hints.ai_family = AF_UNSPEC
        hints.ai_flags = Int32(ARES_AI_NOSORT)
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        let context = unsafe Unmanaged.passRetained(Pending(query.answer)).toOpaque()
        unsafe ares_getaddrinfo(
            channel, query.name, nil, &hints,
            { context, status, _, result in
                guard let context = unsafe context else { return }
                let pending = unsafe Unmanaged<Pending>.fromOpaque(context).takeRetainedValue()
                let addresses = unsafe Resolver.addresses(result)
                if let result = unsafe result { unsafe ares_freeaddrinfo(result) }
                pending.answer(
                    status == ARES_SUCCESS && !addresses.isEmpty
                        ? .success(addresses) : .failure(Resolver.errno(status)))
            }, context)
    }

    private func wait() {
        var sockets = [ares_socket_t](repeating: -1, count: 16)
        let bits = unsafe ares_getsock(channel, &sockets, 16)
        var entries = [pollfd(fd: bell.rawValue, events: Int16(POLLIN), revents: 0)]
        for index in 0..<16 {
            var events: Int32 = 0
            if bits & 1 << Int32(index) != 0 { events |= POLLIN }
            if UInt32(bitPattern: bits) & 1 << UInt32(index + 16) != 0 { events |= POLLOUT }
            if events != 0 { entries.append(pollfd(fd: sockets[index], events: Int16(events), revents: 0)) }
        }
        var limit: Int32 = -1
        if entries.count > 1 {
            var time = timeval()
            if unsafe ares_timeout(channel, nil, &time) != nil {
                limit = Int32(clamping: time.tv_sec * 1000 + time.tv_usec / 1000 + 1)
            }
        }
        guard let ready = try? SystemCall.poll(&entries, milliseconds: limit) else { return }
        if entries[0].revents != 0 { SystemCall.clearEvent(bell.rawValue) }
        if ready == 0 { unsafe ares_process_fd(channel, Self.noSocket, Self.noSocket) }
        for entry in entries.dropFirst() where entry.revents != 0 {
            unsafe ares_process_fd(
                channel, entry.revents & Int16(POLLIN | POLLERR | POLLHUP) != 0 ? entry.fd : Self.noSocket,
                entry.revents & Int16(POLLOUT) != 0 ? entry.fd : Self.noSocket)
        }
    }

    /// No socket: the macro isn't imported.
    private static let noSocket: ares_socket_t = -1

    private static func addresses(_ result: UnsafeMutablePointer<ares_addrinfo>?) -> [SocketAddress] {
        var addresses: [SocketAddress] = []
        var node = unsafe result?.pointee.nodes
        while let current = unsafe node {
            if let name = unsafe current.pointee.ai_addr {
                let raw = unsafe UnsafeRawBufferPointer(start: name, count: Int(current.pointee.ai_addrlen))
                // sockaddr_in: family, port, 4 bytes of address; sockaddr_in6: family, port, flow, 16 bytes, scope.
                let isSix = unsafe current.pointee.ai_family == AF_INET6
                if raw.count >= (isSix ? 28 : 8) {
                    let bytes = unsafe Array(raw[isSix ? 8..<24 : 4..<8])
                    let scope = isSix ? unsafe raw.loadUnaligned(fromByteOffset: 24, as: UInt32.self) : 0
                    if let address = SocketAddress(bytes: bytes, port: 0, scope: scope) { addresses.append(address) }
                }
            }
            unsafe node = current.pointee.ai_next
        }
        return addresses
    }

    private static func errno(_ status: Int32) -> Errno {
        switch status {
        case ARES_ENOTFOUND, ARES_ENODATA, ARES_EBADNAME, ARES_SUCCESS:
            .noSuchFileOrDirectory
        case ARES_ETIMEOUT: .timedOut
        case ARES_ENOMEM: .noMemory
        default: Errno(rawValue: EHOSTUNREACH)
        }
    }
}
