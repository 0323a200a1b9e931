public import Platform
import Glibc
import SchemeKit
public import SystemPackage

/// Shows displays to viewers: VNC on one listening socket, browsers on another. One thread, started by `start`.
///
/// The listening sockets come from outside, so that they outlive this process. A viewer's connection doesn't: the viewer connects again,
/// as the page does by itself, and goes on with the same display.
public final class ViewerServer: Sendable {
    private let scheme: DisplayScheme
    private let listener: SharedDescriptor?
    private let webListener: SharedDescriptor?
    private let password: [UInt8]?
    private let bell: SharedDescriptor
    private let log: @Sendable (String) -> Void

    private static let bellToken: UInt64 = 1
    private static let listenerToken: UInt64 = 2
    private static let webListenerToken: UInt64 = 3
    private static let firstConnection: UInt64 = 16
    /// Viewers at once.
    private static let mostConnections = 32

    /// A server for viewers.
    ///
    /// - Parameters:
    ///   - listener: a listening socket for VNC that doesn't block; nil: none.
    ///   - webListener: one for browsers.
    ///   - password: what viewers must know; nil: nothing.
    ///   - log: told of viewers that don't keep to the protocol.
    public init(
        _ scheme: DisplayScheme, listener: SharedDescriptor?, webListener: SharedDescriptor?, password: [UInt8]?,
        log: @escaping @Sendable (String) -> Void
    ) throws(Errno) {
        self.scheme = scheme
        self.listener = listener
        self.webListener = webListener
        self.password = password
        self.log = log
        bell = SharedDescriptor(try SystemCall.eventDescriptor())
    }

    /// Starts the thread; it runs as long as the process.
    public func start() throws(Errno) {
        SystemCall.ignoreSignal(SIGPIPE)
        let poll = try EventPoll()
        try poll.add(bell.rawValue, .readable, token: Self.bellToken)
        if let listener { try poll.add(listener.rawValue, .readable, token: Self.listenerToken) }
        if let webListener { try poll.add(webListener.rawValue, .readable, token: Self.webListenerToken) }
        let bell = bell
        scheme.core.withLock { $0.onDamage = { SystemCall.signalEvent(bell.rawValue) } }
        let shared = SharedPoll(poll)
        try spawnThread(name: "viewers") { self.run(shared) }
    }

    private func run(_ poll: SharedPoll) {
        var connections: [UInt64: ViewerConnection] = [:]
        var next = Self.firstConnection
        while true {
            guard let events = try? poll.wait() else { return }
            for (token, events) in events {
                switch token {
                case Self.bellToken: SystemCall.clearEvent(bell.rawValue)
                case Self.listenerToken, Self.webListenerToken:
                    let isWeb = token == Self.webListenerToken
                    guard let listener = isWeb ? webListener : listener,
                        let socket = (try? SystemCall.accept(listener.rawValue)) ?? nil,
                        connections.count < Self.mostConnections,
                        (try? poll.add(socket.rawValue, [.readable], token: next)) != nil
                    else { continue }
                    connections[next] = ViewerConnection(socket, isWeb: isWeb, password: password)
                    next += 1
                default: connections[token]?.serve(events, scheme)
                }
            }
            distributeDamage(&connections)
            for (token, var connection) in connections {
                connection.flush(scheme)
                connections[token] = connection
                if let fault = connection.fault {
                    if !fault.isEmpty { log("viewer: \(fault)") }
                    try? poll.remove(connection.socket.rawValue)
                    connections[token] = nil
                } else {
                    try? poll.modify(
                        connection.socket.rawValue, connection.hasOutput ? [.readable, .writable] : .readable,
                        token: token)
                }
            }
            let count = connections.count
            scheme.core.withLock { $0.viewerCount = count }
        }
    }

    private func distributeDamage(_ connections: inout [UInt64: ViewerConnection]) {
        let damage = scheme.core.withLock { core in
            core.damage.indices.map { core.damage[$0].take() }
        }
        for token in connections.keys {
            guard let display = connections[token]?.display, !damage[display].isEmpty else { continue }
            connections[token]?.note(damage[display])
        }
    }
}

/// The poll of the viewers' thread.
private final class SharedPoll: Sendable {
    private let poll: EventPoll

    init(_ poll: consuming EventPoll) { self.poll = poll }

    func add(_ descriptor: Int32, _ events: Platform.PollEvents, token: UInt64) throws(Errno) {
        try poll.add(descriptor, events, token: token)
    }

    func modify(_ descriptor: Int32, _ events: Platform.PollEvents, token: UInt64) throws(Errno) {
        try poll.modify(descriptor, events, token: token)
    }

    func remove(_ descriptor: Int32) throws(Errno) { try poll.remove(descriptor) }

    func wait() throws(Errno) -> [(token: UInt64, events: Platform.PollEvents)] {
        try poll.wait(milliseconds: -1)
    }
}

/// One viewer's socket.
struct ViewerConnection {
    private enum Kind {
        /// A browser that hasn't said yet what it wants.
        case request(WebSocket)
        /// The conversation in a web socket's frames.
        case web(WebSocket)
        case plain
        /// A page is being sent: the connection ends after it.
        case page
    }

    let socket: SharedDescriptor
    /// Why it ended; empty: as it should.
    private(set) var fault: String?
    private(set) var display = 0
    private var kind: Kind
    private var session: ViewerSession
    private let password: [UInt8]?
    /// What is on its way, and how much of it is sent.
    private var outgoing: [UInt8] = []
    private var sent = 0

    init(_ socket: SharedDescriptor, isWeb: Bool, password: [UInt8]?) {
        self.socket = socket
        self.password = password
        kind = isWeb ? .request(WebSocket()) : .plain
        session = ViewerSession(display: 0, password: password)
    }

    /// Whether something waits to be sent.
    var hasOutput: Bool { sent < outgoing.count }

    mutating func note(_ damage: DamageList) { session.note(damage) }

    /// Takes what came.
    mutating func serve(_ events: Platform.PollEvents, _ scheme: DisplayScheme) {
        guard fault == nil, !events.isDisjoint(with: [.readable, .error, .hangUp]) else { return }
        do throws(Errno) {
            guard let bytes = try SystemCall.receiveSome(socket.rawValue) else { return }
            guard !bytes.isEmpty else {
                fault = ""
                return
            }
            do throws(ViewerFault) {
                try receive(bytes, scheme)
            } catch {
                fault = error.reason
                // The reason may be for the viewer: what fits is still sent.
                flush(scheme)
            }
        } catch {
            fault = ""
        }
    }

    private mutating func receive(_ bytes: [UInt8], _ scheme: DisplayScheme) throws(ViewerFault) {
        switch kind {
        case .plain: try session.receive(bytes, scheme)
        case .page: break
        case .request(var web):
            let request = try web.takeRequest(bytes)
            kind = .request(web)
            switch request {
            case .page:
                outgoing += WebSocket.response("200 OK", ViewerPage.html)
                kind = .page
            case .socket(let path, let answer):
                display = DisplayCore.displayNumber(String(path.dropFirst())) ?? 0
                session = ViewerSession(display: display, password: password)
                outgoing += answer
                kind = .web(web)
            case .other:
                outgoing += WebSocket.response("404 Not Found", "<p>There is nothing here.</p>")
                kind = .page
            case nil: break
            }
        case .web(var web):
            let contents = try web.takeFrames(bytes, &outgoing)
            kind = .web(web)
            guard let contents else {
                fault = ""
                return
            }
            try session.receive(contents, scheme)
        }
    }

    private static func send(_ bytes: [UInt8], from start: Int, to socket: Int32) throws(Errno) -> Int {
        let span = bytes.span
        return try SystemCall.write(socket, unsafe span.bytes.extracting(start..<bytes.count))
    }

    /// Sends as much as there is room for, and the next picture when all is sent.
    mutating func flush(_ scheme: DisplayScheme) {
        if case .request = kind { return }
        while true {
            if !hasOutput {
                outgoing = []
                sent = 0
                if case .page = kind {
                    fault = fault ?? ""
                    return
                }
                session.update(scheme)
                guard !session.output.isEmpty else { return }
                if case .web = kind {
                    outgoing = WebSocket.frame(2, session.output)
                } else {
                    outgoing = session.output
                }
                session.output = []
            }
            do throws(Errno) {
                sent += try Self.send(outgoing, from: sent, to: socket.rawValue)
            } catch .wouldBlock {
                return
            } catch {
                fault = fault ?? ""
                return
            }
        }
    }
}
