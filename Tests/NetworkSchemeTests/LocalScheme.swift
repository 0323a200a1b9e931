import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage
import TestSupport

@testable import NetworkScheme
@testable import SchemeKit

/// A network scheme without a process of its own: the test makes its calls, and nobody holds its sockets but the test, if it likes.
final class LocalScheme {
    let memory: NetworkMemory
    let scheme: NetworkScheme
    private var lastRequest: UInt64 = 0
    private var lastHandle: UInt64 = 0

    /// A connection of `clone`, by its open file.
    struct Clone {
        let node: UInt64
        let handle: UInt64
        let connection: Connection

        func file(_ file: NumberedFile) -> UInt64 {
            NodeNumber.numbered(
                slot: connection.slot, serial: connection.serial & NodeNumber.serialMask, file: file
            ).number
        }
    }

    static func memory() throws -> NetworkMemory {
        let file = try SharedMemory.create(name: "network", byteCount: NetworkMemory.byteCount)
        return NetworkMemory(try SharedMapping(file.rawValue, byteCount: NetworkMemory.byteCount, writable: true))
    }

    /// - Parameters:
    ///   - memory: what an earlier incarnation left.
    ///   - held: the sockets that the supervisor holds.
    ///   - names: who is asked for names.
    ///   - control: its end of the supervisor's control socket.
    init(
        memory: NetworkMemory? = nil, held: [SocketName: SharedDescriptor] = [:], allow: String = "",
        deny: String = "", names: NameServer? = nil, control: ControlSocket? = nil
    ) throws {
        let memory = try memory ?? Self.memory()
        if let names { memory.nameServers = "127.0.0.1:\(names.port)" }
        self.memory = memory
        scheme = try NetworkScheme(
            SchemeHost(control: control), memory, held,
            NetworkScheme.Options(rules: try AccessRules(allow: allow, deny: deny), owner: (0, 0)), EchoSockets(),
            TLSContext(certificates: nil))
    }

    /// A request of its own.
    func request(flags: UInt32 = 0) -> CallContext {
        lastRequest += 1
        return CallContext(requestID: lastRequest, flags: flags)
    }

    /// A handle of its own.
    func newHandle() -> UInt64 {
        lastHandle += 1
        return lastHandle
    }

    /// Tries a call again until it doesn't wait any more.
    func whole<Result>(_ body: () throws -> Result) throws -> Result {
        while true {
            do {
                return try body()
            } catch Errno.wouldBlock {
                usleep(1000)
            }
        }
    }

    func node(_ kind: NameKind, _ text: String) -> UInt64 { NodeNumber.name(memory.addName(kind, text)).number }

    func open(_ node: UInt64, handle: UInt64, _ request: CallContext) throws {
        var request = request
        try scheme.open(node, handle: handle, flags: request.flags, &request)
    }

    /// Opens a name; what it makes is the connection of the handle.
    func open(_ kind: NameKind, _ text: String, flags: UInt32 = OpenFlags.readWrite) throws {
        let (node, handle, request) = (node(kind, text), newHandle(), request(flags: flags))
        try whole { try open(node, handle: handle, request) }
    }

    func clone(_ kind: NameKind) throws -> Clone {
        let (node, handle) = (node(kind, "clone"), newHandle())
        try open(node, handle: handle, request())
        let connection = scheme.state.withLock { state in
            state.byHandle[HandleKey(channel: 0, handle: handle)].flatMap { state.connections[$0] }
        }
        guard let connection else { throw Errno.badFileDescriptor }
        return Clone(node: node, handle: handle, connection: connection)
    }

    /// Writes a command to `ctl`, once.
    func command(_ clone: Clone, _ text: String, _ request: CallContext) throws {
        try write(clone.node, handle: clone.handle, text, request)
    }

    /// Writes a command and waits until it is carried out.
    func command(_ clone: Clone, _ text: String) throws {
        let request = request()
        try whole { try command(clone, text, request) }
    }

    func write(_ node: UInt64, handle: UInt64 = 0, _ text: String, _ request: CallContext) throws {
        var request = request
        let bytes = Array(text.utf8)
        _ = try scheme.write(
            node, handle: handle, at: 0, unsafe bytes.span.bytes, flags: request.flags, &request)
    }

    /// What a file reads.
    func read(_ node: UInt64, handle: UInt64 = 0) throws -> String {
        let request = request()
        return try whole {
            var request = request
            var bytes = [UInt8](repeating: 0, count: 4096)
            var span = bytes.mutableSpan
            var room = unsafe span.mutableBytes
            let count = try scheme.read(node, handle: handle, at: 0, into: &room, flags: 0, &request)
            if request.tellsWhenAnswered { scheme.answered(node, handle: handle, &request) }
            return String(decoding: bytes.prefix(count), as: UTF8.self)
        }
    }

    /// The supervisor's answer for a connection that listens; without a number the caller is one asked for now.
    func answer(
        _ clone: Clone, _ caller: SharedDescriptor?, number: UInt64? = nil, _ errno: Errno = Errno(rawValue: 0)
    ) {
        let number = number ?? memory.newSerial()
        let name = SocketName.caller(of: clone.connection.serial, number).text
        scheme.accepted(
            HeldAnswer(
                listener: memory.socketName(clone.connection.slot).text, name: name, descriptor: caller, errno: errno))
    }

    func stage(_ connection: Connection) -> ConnectionStage {
        scheme.state.withLock { _ in memory.stage(connection.slot) }
    }
}

/// A listening socket of the test itself; with a queue of none, who calls it next waits for ever.
struct TestListener {
    let socket: SharedDescriptor
    let address: SocketAddress
    private var fillers: [SharedDescriptor] = []

    init(_ host: String = "127.0.0.1", port: UInt16 = 0, backlog: Int32 = 100) throws {
        socket = try SystemCall.socket(.stream, isIPv6: false)
        guard let wanted = SocketAddress(numeric: host, port: port) else { throw Errno.invalidArgument }
        try SystemCall.bind(socket.rawValue, to: wanted)
        try SystemCall.listen(socket.rawValue, backlog: backlog)
        address = try SystemCall.localAddress(socket.rawValue)
    }

    /// Connects until nobody is let in any more; returns the socket that waits.
    mutating func fill() throws -> SharedDescriptor {
        while true {
            let filler = try SystemCall.socket(.stream, isIPv6: false)
            try SystemCall.connect(filler.rawValue, to: address)
            var entry = [pollfd(fd: filler.rawValue, events: Int16(POLLOUT), revents: 0)]
            if try SystemCall.poll(&entry, milliseconds: 200) == 0 { return filler }
            fillers.append(filler)
        }
    }

    /// Whether somebody has called.
    var hasCaller: Bool { SystemCall.readiness(socket.rawValue, events: UInt32(POLLIN)) != 0 }
}

/// A port that nobody listens on, kept from others.
struct ClosedPort {
    let socket: SharedDescriptor
    let address: SocketAddress

    init() throws {
        socket = try SystemCall.socket(.stream, isIPv6: false)
        guard let wanted = SocketAddress(numeric: "127.0.0.1", port: 0) else { throw Errno.invalidArgument }
        try SystemCall.bind(socket.rawValue, to: wanted)
        address = try SystemCall.localAddress(socket.rawValue)
    }
}
