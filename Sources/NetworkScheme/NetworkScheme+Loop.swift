import Platform
import SchemeKit
import SchemeTransport

extension NetworkScheme {
    static let bellToken = UInt64.max
    static let echoToken = UInt64.max - 1

    /// Slot in the low half, the attempt's number + 1 in the high half while it connects.
    static func token(_ slot: Int, attempt: UInt64? = nil) -> UInt64 {
        UInt64(slot) | (attempt.map { $0 &+ 1 } ?? 0) << 32
    }

    /// Waits for all sockets, for ever.
    func loop() {
        while true {
            let events = (try? poll.wait(milliseconds: timeout())) ?? []
            var woken: Set<UInt64> = []
            for event in events {
                if event.token == Self.bellToken {
                    SystemCall.clearEvent(bell.rawValue)
                } else if event.token == Self.echoToken {
                    woken.formUnion(state.withLock { state in receiveRawEchoes(&state) })
                } else {
                    handle(event.token, &woken)
                }
            }
            startDueAttempts(&woken)
            for node in woken { host.wake(node) }
        }
    }

    private func timeout() -> Int32 {
        let next = state.withLock { state in state.connections.values.compactMap(\.nextAttemptAt).min() }
        guard let next else { return -1 }
        let now = Clock.monotonicNanoseconds()
        return next <= now ? 0 : Int32(clamping: (next - now + 999_999) / 1_000_000)
    }

    private func startDueAttempts(_ woken: inout Set<UInt64>) {
        let now = Clock.monotonicNanoseconds()
        state.withLock { state in
            for connection in state.connections.values {
                guard let due = connection.nextAttemptAt, due <= now else { continue }
                if memory.stage(connection.slot) == .listening {
                    connection.nextAttemptAt = nil
                    if connection.waiters.count > connection.pending.count { arm(connection, .readable) }
                    continue
                }
                if connection.kind == .echo, memory.stage(connection.slot) == .connected {
                    echoIsDue(connection)
                    woken.formUnion(connection.nodes)
                    continue
                }
                startAttempt(connection)
                if isDecided(connection) { woken.formUnion(connection.nodes) }
            }
        }
    }

    private func handle(_ token: UInt64, _ woken: inout Set<UInt64>) {
        let slot = Int(token & 0xffff_ffff)
        let attempt = token >> 32
        state.withLock { state in
            guard let connection = state.connections[slot] else { return }
            if attempt != 0 {
                attemptEnded(connection, attempt &- 1)
                if isDecided(connection) { woken.formUnion(connection.nodes) }
                return
            }
            connection.armed = []
            // Whoever wrote may wait for nothing of ours: what it left is sent without it.
            if memory.stage(slot) == .connected { sendRest(connection) }
            if connection.isLingering {
                end(connection, &state)
            } else if memory.stage(slot) == .listening {
                accept(connection)
            } else {
                woken.formUnion(connection.nodes)
            }
        }
    }

    /// Has the calls of a connection tried again when its socket is ready for this.
    func arm(_ connection: Connection, _ events: SocketEvents) {
        guard let descriptor = connection.descriptor, !connection.armed.isSuperset(of: events) else { return }
        connection.armed.formUnion(events)
        let wanted = connection.armed.union(.once)
        let token = Self.token(connection.slot)
        // A socket that can't be watched would be a fault of ours; its calls wait until they are cancelled.
        do throws(Errno) {
            if connection.isWatched {
                try poll.modify(descriptor.rawValue, wanted, token: token)
            } else {
                try poll.add(descriptor.rawValue, wanted, token: token)
                connection.isWatched = true
            }
        } catch {
            host.log("epoll: \(error)")
        }
    }

    // MARK: Connecting

    /// Begins to connect, or goes on with it. True: it is connected; false: not yet. Throws why the last address failed.
    func progress(_ connection: Connection) throws(Errno) -> Bool {
        if memory.stage(connection.slot) == .connected { return true }
        guard let endpoint = Endpoint(memory.text(connection.slot)) else { throw .invalidArgument }
        if !connection.hasBegun {
            connection.hasBegun = true
            connect(connection, to: endpoint)
        }
        if memory.stage(connection.slot) == .connected { return true }
        if connection.kind == .tls, let socket = connection.descriptor {
            return try secure(connection, socket, endpoint)
        }
        if isHopeless(connection) { throw connection.lastError }
        return false
    }

    /// Whether who waits for a connection has something to do.
    func isDecided(_ connection: Connection) -> Bool {
        memory.stage(connection.slot) != .connecting || connection.descriptor != nil || isHopeless(connection)
    }

    /// Whether nothing more is tried.
    func isHopeless(_ connection: Connection) -> Bool {
        memory.stage(connection.slot) == .connecting && connection.candidates.isEmpty && connection.addresses.isEmpty
            && !connection.isResolving && connection.descriptor == nil
    }

    /// Begins to connect; goes on with what the last incarnation began.
    func connect(_ connection: Connection, to endpoint: Endpoint) {
        let begun = goOn(connection)
        if let address = endpoint.numeric {
            attempt([address], without: begun, connection)
            return
        }
        connection.isResolving = true
        let (slot, serial, wish, port) = (connection.slot, connection.serial, connection.wish, endpoint.port)
        resolver.resolve(endpoint.host) { [weak self] answer in
            guard let self else { return }
            let nodes = self.state.withLock { state -> Set<UInt64> in
                guard let connection = state.connections[slot], connection.serial == serial, connection.wish == wish,
                    self.memory.stage(slot) == .connecting
                else { return [] }
                connection.isResolving = false
                switch answer {
                case .success(let found):
                    let addresses = found.map {
                        var address = $0
                        address.port = port
                        return address
                    }
                    self.attempt(AddressOrder.interleaved(addresses), without: begun, connection)
                case .failure(let error): connection.lastError = error
                }
                return self.isDecided(connection) ? connection.nodes : []
            }
            for node in nodes { self.host.wake(node) }
        }
    }

    /// Watches the attempts that the last incarnation began; returns the addresses that they are about.
    private func goOn(_ connection: Connection) -> Set<SocketAddress> {
        var begun: Set<SocketAddress> = []
        for (number, socket) in connection.candidates {
            if let address = try? SystemCall.targetAddress(socket.rawValue) {
                begun.insert(address)
                watchAttempt(connection, number, socket)
            } else {
                // It died between holding the socket and connecting it.
                drop(socket, connection, number)
                connection.candidates[number] = nil
            }
        }
        return begun
    }

    /// Tries addresses in turn. Those that are tried already have their time first.
    private func attempt(_ addresses: [SocketAddress], without begun: Set<SocketAddress>, _ connection: Connection) {
        connection.addresses = addresses.filter { !begun.contains($0.reached) }
        if connection.candidates.isEmpty { startAttempt(connection) } else { awaitNextAttempt(connection) }
    }

    private func awaitNextAttempt(_ connection: Connection) {
        guard !connection.addresses.isEmpty else { return }
        connection.nextAttemptAt = Clock.monotonicNanoseconds() &+ AddressOrder.attemptDelay
        SystemCall.signalEvent(bell.rawValue)
    }

    /// Tries the next address that may be tried.
    func startAttempt(_ connection: Connection) {
        connection.nextAttemptAt = nil
        while !connection.addresses.isEmpty {
            let wanted = connection.addresses.removeFirst()
            guard rules.allowsReaching(wanted) else {
                connection.lastError = .permissionDenied
                continue
            }
            let address = wanted.reached
            if connection.kind == .echo {
                do throws(Errno) {
                    try beginEcho(connection, address)
                    return
                } catch {
                    connection.lastError = error
                    continue
                }
            }
            connection.attemptCount += 1
            let number = connection.attemptCount
            do {
                let socket = try Self.socket(
                    connection.kind == .udp ? .datagram : .stream, isIPv6: address.isIPv6)
                applyOptions(connection, socket, isIPv6: address.isIPv6)
                // Held before it connects: a connection that the other side knows of is never lost.
                try host.hold(SocketName(owner: connection.serial, number: number).text, socket.rawValue)
                do throws(Errno) {
                    try SystemCall.connect(socket.rawValue, to: address)
                } catch {
                    drop(socket, connection, number)
                    throw error
                }
                connection.candidates[number] = socket
                if connection.kind == .udp {
                    succeed(connection, number)
                } else {
                    watchAttempt(connection, number, socket)
                }
                awaitNextAttempt(connection)
                return
            } catch {
                connection.lastError = (error as? Errno) ?? .ioError
            }
        }
    }

    private func watchAttempt(_ connection: Connection, _ number: UInt64, _ socket: SharedDescriptor) {
        do throws(Errno) {
            try poll.add(
                socket.rawValue, [.writable, .once], token: Self.token(connection.slot, attempt: number))
        } catch {
            connection.lastError = error
            drop(socket, connection, number)
            connection.candidates[number] = nil
        }
    }

    /// Ends all attempts, also those that wait for the resolver.
    func stopConnecting(_ connection: Connection) {
        connection.wish &+= 1
        connection.isResolving = false
        for (number, candidate) in connection.candidates { drop(candidate, connection, number) }
        connection.candidates = [:]
        connection.addresses = []
        connection.nextAttemptAt = nil
    }

    /// A numbered connection doesn't try any more, and can be told to connect anew. What is left is why it failed, if it did.
    func giveUp(_ connection: Connection, _ error: Errno? = nil) {
        stopConnecting(connection)
        connection.hasBegun = false
        if let error { memory.setFailure(connection.slot, error.rawValue) }
        memory.setStage(connection.slot, .idle)
    }

    func drop(_ socket: SharedDescriptor, _ connection: Connection, _ number: UInt64) {
        try? poll.remove(socket.rawValue)
        host.release(SocketName(owner: connection.serial, number: number).text)
    }

    /// The kernel has decided about an attempt.
    private func attemptEnded(_ connection: Connection, _ number: UInt64) {
        guard memory.stage(connection.slot) == .connecting, let socket = connection.candidates[number] else { return }
        // The event may be of another socket, which had the place and the number before.
        guard SystemCall.readiness(socket.rawValue, events: SocketEvents.writable.rawValue) != 0 else {
            try? poll.modify(
                socket.rawValue, [.writable, .once], token: Self.token(connection.slot, attempt: number))
            return
        }
        let code = SystemCall.socketError(socket.rawValue)
        if code == 0, (try? SystemCall.peerAddress(socket.rawValue)) != nil {
            succeed(connection, number)
            return
        }
        connection.lastError = code == 0 ? .connectionRefused : Errno(rawValue: code)
        drop(socket, connection, number)
        connection.candidates[number] = nil
        startAttempt(connection)
    }

    /// One attempt has won: the others end.
    private func succeed(_ connection: Connection, _ number: UInt64) {
        guard let socket = connection.candidates.removeValue(forKey: number) else { return }
        stopConnecting(connection)
        try? poll.remove(socket.rawValue)
        connection.isWatched = false
        connection.descriptor = socket
        memory.setSocketName(connection.slot, SocketName(owner: connection.serial, number: number))
        begin(connection)
    }

    /// The stream begins here: what the kernel has counted until now isn't part of it.
    func begin(_ connection: Connection) {
        if connection.kind == .tcp, let socket = connection.descriptor,
            let now = try? SystemCall.streamCounters(socket.rawValue)
        {
            memory.setBaseline(
                connection.slot, sent: now.acknowledged &+ now.unsent,
                received: Self.taken(now, hasFailed: false))
        }
        connection.isSettled = true
        // One that was given up a moment before a death has gone on, and so not failed.
        memory.setFailure(connection.slot, 0)
        // The handshake comes first.
        if connection.kind != .tls { memory.setStage(connection.slot, .connected) }
    }

    /// Bytes taken out of the receive queue since the kernel began to count.
    static func taken(_ now: StreamCounters, hasFailed: Bool) -> UInt64 {
        // A FIN that came is counted: in the states CLOSE_WAIT, LAST_ACK, CLOSING and TIME_WAIT, and in CLOSE without an error.
        let hasEnded = TCPState.withEnd.contains(now.state) || (now.state == TCPState.closed && !hasFailed)
        return now.received &- (hasEnded ? 1 : 0) &- now.unread
    }
}
