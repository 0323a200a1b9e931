import Glibc
import Platform
import SchemeKit
import SchemeTransport

extension NetworkScheme {
    /// Makes `tcp/listen/ADDRESS:PORT` listen; it does until the name is removed.
    func listen(_ text: String, _ state: inout State) throws(Errno) -> Connection {
        guard let endpoint = Endpoint(text) else { throw .noSuchFileOrDirectory }
        let connection = try make(
            .listener, stage: .idle, CallContext(), handle: 0, node: 0, isNumbered: false, text: text, &state)
        do throws(Errno) {
            try listen(connection, endpoint)
            return connection
        } catch {
            end(connection, &state)
            throw error
        }
    }

    /// Gives a connection a listening socket.
    func listen(_ connection: Connection, _ endpoint: Endpoint) throws(Errno) {
        let socket = try bound(.stream, endpoint)
        try SystemCall.listen(socket.rawValue, backlog: 1024)
        try hold(socket, connection)
        connection.firstCaller = memory.newSerial()
        memory.setStage(connection.slot, .listening)
    }

    /// Ends the listening of a numbered connection, which can then be used anew; returns who waited for a caller.
    func stopListening(_ connection: Connection, _ state: inout State) -> [Waiter] {
        let waiting = sendAway(connection, .connectionAbort, &state)
        for caller in connection.pending { host.release(caller.name.text) }
        connection.pending = []
        let name = memory.socketName(connection.slot)
        // First: if it dies before the socket is gone, the next incarnation takes that for one that listens, and is told again.
        memory.setStage(connection.slot, .idle)
        if let socket = connection.descriptor {
            if connection.isWatched { try? poll.remove(socket.rawValue) }
            try? SystemCall.shutDown(socket.rawValue, receiving: true, sending: true)
            host.release(name.text)
        }
        connection.descriptor = nil
        connection.isWatched = false
        connection.armed = []
        connection.isAccepting = false
        connection.acceptFailure = nil
        connection.nextAttemptAt = nil
        return waiting
    }

    /// A socket with an address of its own.
    func bound(_ kind: SystemCall.SocketKind, _ endpoint: Endpoint) throws(Errno) -> SharedDescriptor {
        var failure = Errno.addressNotAvailable
        for (address, isDual) in try ownAddresses(endpoint) {
            do throws(Errno) {
                return try bound(kind, address, isDual: isDual)
            } catch {
                failure = error
            }
        }
        throw failure
    }

    /// So many ports that the system gives are looked at for one that may be listened on.
    private static let portTries = 16

    private func bound(
        _ kind: SystemCall.SocketKind, _ address: SocketAddress, isDual: Bool
    ) throws(Errno) -> SharedDescriptor {
        for _ in 0..<(address.port == 0 ? Self.portTries : 1) {
            let socket = try Self.socket(kind, isIPv6: address.isIPv6)
            // For datagrams this would let them have a port that another socket has, and get what is for that.
            if kind == .stream {
                try SystemCall.setSocketOption(socket.rawValue, level: SOL_SOCKET, name: SO_REUSEADDR, value: 1)
            }
            if address.isIPv6 {
                try SystemCall.setSocketOption(
                    socket.rawValue, level: Int32(IPPROTO_IPV6), name: IPV6_V6ONLY, value: isDual ? 0 : 1)
            }
            try SystemCall.bind(socket.rawValue, to: address)
            // The rules were asked about port 0, not about the one that it has become.
            if address.port != 0 { return socket }
            let given = try SystemCall.localAddress(socket.rawValue)
            let isAllowed = !isDual || rules.allowsAll(isIPv6: false, port: given.port) == .allowed
            if isAllowed, mayListen(given) { return socket }
        }
        throw .permissionDenied
    }

    /// Whether one address, or all of a family, may be listened on.
    private func mayListen(_ address: SocketAddress) -> Bool {
        address.isUnspecified
            ? rules.allowsAll(isIPv6: address.unmapped.isIPv6, port: address.port) == .allowed : rules.allows(address)
    }

    /// What an endpoint to listen on stands for, in the order in which that is tried; the first may serve both families.
    ///
    /// Any address means those of each family that may be used. Where rules deny a part of a family there is no socket for the rest.
    private func ownAddresses(
        _ endpoint: Endpoint
    ) throws(Errno) -> [(address: SocketAddress, isDual: Bool)] {
        guard endpoint.isAny else {
            guard let address = endpoint.numeric else { throw .invalidArgument }
            guard mayListen(address) else { throw .permissionDenied }
            return [(address, false)]
        }
        let six = rules.allowsAll(isIPv6: true, port: endpoint.port)
        let four = rules.allowsAll(isIPv6: false, port: endpoint.port)
        guard six != .divided, four != .divided else { throw .permissionDenied }
        var result: [(address: SocketAddress, isDual: Bool)] = []
        if six == .allowed, let address = SocketAddress(numeric: "::", port: endpoint.port) {
            result.append((address, four == .allowed))
        }
        if four == .allowed, let address = SocketAddress(numeric: "0.0.0.0", port: endpoint.port) {
            result.append((address, false))
        }
        if result.isEmpty { throw .permissionDenied }
        return result
    }

    /// Has the supervisor hold a connection's only socket.
    func hold(_ socket: SharedDescriptor, _ connection: Connection) throws(Errno) {
        let name = SocketName(owner: connection.serial, number: 0)
        applyOptions(connection, socket, isIPv6: try SystemCall.localAddress(socket.rawValue).isIPv6)
        do throws(ChannelError) {
            try host.hold(name.text, socket.rawValue)
        } catch {
            throw error.errno
        }
        memory.setSocketName(connection.slot, name)
        connection.descriptor = socket
    }

    /// Makes the next caller a connection of its own; waits for one.
    func take(
        from listener: Connection, _ context: CallContext, _ handle: UInt64, _ node: UInt64, isNumbered: Bool,
        _ state: inout State
    ) throws(Errno) {
        let waiter = Waiter(request: context.requestID, channel: context.channel, node: node)
        guard let caller = listener.pending.first else {
            // Lost in a death: nobody will ever come.
            guard listener.descriptor != nil else { throw .connectionReset }
            if context.flags & OpenFlags.nonBlocking == 0 {
                if !listener.waiters.contains(waiter) { listener.waiters.append(waiter) }
                arm(listener, .readable)
                throw .wouldBlock
            }
            // Nobody waits with the caller that may come of this: the next one who opens has it.
            guard SystemCall.readiness(listener.descriptor?.rawValue ?? -1, events: 1) & 1 != 0 else {
                throw .wouldBlock
            }
            listener.waiters.append(waiter)
            accept(listener)
            listener.waiters.removeAll { $0 == waiter }
            throw .wouldBlock
        }
        // Also who can't have the caller waits no more: the next one can.
        listener.waiters.removeAll { $0 == waiter }
        let connection = try make(
            .tcp, stage: .idle, context, handle: handle, node: node, isNumbered: isNumbered, text: "", &state)
        memory.setSocketName(connection.slot, caller.name)
        connection.descriptor = caller.descriptor
        begin(connection)
        listener.pending.removeFirst()
    }

    // MARK: Accepting

    /// A listening socket has callers: the supervisor takes as many as are waited for.
    func accept(_ connection: Connection) {
        guard !connection.isAccepting, connection.waiters.count > connection.pending.count else { return }
        let number = memory.newSerial()
        do throws(ChannelError) {
            try host.accept(
                from: memory.socketName(connection.slot).text,
                as: SocketName.caller(of: connection.serial, number).text)
            connection.isAccepting = true
        } catch {
            // The supervisor is gone, and so are we soon.
        }
    }

    /// Whether no caller came of an attempt because none was there any more.
    private static func isPassing(_ error: Errno) -> Bool {
        error == .wouldBlock || error == .connectionAbort || error == .interrupted
    }

    /// Whether a caller can be taken later although it couldn't now.
    private static func isShortage(_ error: Errno) -> Bool {
        error == .tooManyOpenFiles || error == .tooManyOpenFilesInSystem || error == .noBufferSpace
            || error == .noMemory
    }

    /// How long not to ask for callers when they can't be taken: too many files are open, for instance.
    static let acceptPause: UInt64 = 100_000_000

    /// The supervisor has taken a caller, or there was none.
    func accepted(_ answer: HeldAnswer) {
        guard let listener = SocketName(answer.listener) else { return }
        let nodes = state.withLock { state -> [UInt64] in
            let found = state.connections.values.first {
                $0.serial == listener.owner && memory.stage($0.slot) == .listening
            }
            guard let found else {
                if answer.descriptor != nil { host.release(answer.name) }
                return []
            }
            let name = SocketName(answer.name)
            // Asked for before the last hanging up.
            if let name, name.number < SocketName.caller(of: found.serial, found.firstCaller).number {
                if answer.descriptor != nil { host.release(answer.name) }
                return []
            }
            found.isAccepting = false
            if let name, let descriptor = answer.descriptor {
                found.pending.append((name, descriptor))
                found.acceptFailure = nil
            } else if !Self.isPassing(answer.errno), !Self.isShortage(answer.errno) {
                return sendAway(found, answer.errno, &state).map(\.node)
            }
            if found.waiters.count > found.pending.count {
                if answer.descriptor != nil || Self.isPassing(answer.errno) {
                    arm(found, .readable)
                } else {
                    // The caller is still there: to be asked at once again and again helps nobody.
                    if found.acceptFailure != answer.errno { host.log("accept: \(answer.errno)") }
                    found.acceptFailure = answer.errno
                    found.nextAttemptAt = Clock.monotonicNanoseconds() &+ Self.acceptPause
                    SystemCall.signalEvent(bell.rawValue)
                }
            }
            // All of them: the first may be interrupted, or refused, before it has the caller.
            return found.pending.isEmpty ? [] : found.waiters.map(\.node)
        }
        for node in nodes { host.wake(node) }
    }

    /// Who waits for a caller gets an error; returns who is to be woken for that.
    func sendAway(_ listener: Connection, _ error: Errno, _ state: inout State) -> [Waiter] {
        defer { listener.waiters = [] }
        for waiter in listener.waiters { state.sentAway[waiter] = error }
        return listener.waiters
    }
}
