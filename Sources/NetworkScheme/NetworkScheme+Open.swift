import Glibc
import Platform
import SchemeKit
import SchemeTransport

extension NetworkScheme {
    /// Connects, waits for a caller, makes a connection, or looks a name up: by what the node is.
    public func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        try checkCaller(context)
        switch NodeNumber(node) {
        case .name(let serial):
            // Long ago: the kernel looks the name up again.
            guard let name = memory.name(serial) else { throw .staleNFSFileHandle }
            try open(name.kind, name.text, node, handle, flags, &context)
        case .numbered(let slot, let serial, let file): try open(slot, serial, file, node, handle, flags, &context)
        case .configuration(let place, _):
            try checkConfiguration(place, flags)
            context.opened = .directIO
        case .directory: throw .isDirectory
        case .none: throw .staleNFSFileHandle
        }
    }

    private func open(
        _ kind: NameKind, _ text: String, _ node: UInt64, _ handle: UInt64, _ flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) {
        let caller = context
        let isNonBlocking = flags & OpenFlags.nonBlocking != 0
        switch kind {
        case .tcp, .udp, .tls, .echo:
            if kind == .echo, flags & OpenFlags.accessMask != OpenFlags.readOnly { throw .permissionDenied }
            // Takes a while: not with the lock held.
            if kind == .tls { try tls.prepare() }
            try state.withLock { state throws(Errno) in
                let connection: Connection
                if let known = try known(caller, handle, &state) {
                    connection = known
                    renewSession(known)
                } else {
                    connection = try make(
                        kind.connection, stage: .connecting, caller, handle: handle, node: node,
                        isNumbered: false, text: text, &state)
                }
                do throws(Errno) {
                    if try progress(connection) || isNonBlocking { return }
                } catch {
                    if isNonBlocking, error != .permissionDenied { return }
                    end(connection, &state)
                    throw error
                }
                throw .wouldBlock
            }
            // Lines have positions that nobody minds: tools seek in files that they read by lines.
            context.opened = kind == .echo ? .directIO : [.directIO, .stream]
        case .tcpListen:
            try state.withLock { state throws(Errno) in
                if try known(caller, handle, isCaller: true, &state) != nil { return }
                let waiter = Waiter(request: caller.requestID, channel: caller.channel, node: node)
                if let error = state.sentAway.removeValue(forKey: waiter) { throw error }
                let found = state.connections.values.first { $0.kind == .listener && memory.text($0.slot) == text }
                let listener: Connection
                if let found { listener = found } else { listener = try listen(text, &state) }
                try take(from: listener, caller, handle, node, isNumbered: false, &state)
            }
            context.opened = [.directIO, .stream]
        case .tcpClone, .udpClone:
            try state.withLock { state throws(Errno) in
                if try known(caller, handle, &state) != nil { return }
                _ = try make(
                    kind == .tcpClone ? .tcp : .udp, stage: .idle, caller, handle: handle, node: node, isNumbered: true,
                    text: "", &state)
            }
            context.opened = .directIO
        case .dns:
            _ = try lookUp(node, handle, text, &context)
            context.opened = .directIO
        }
    }

    /// What the same request has made already, in an earlier attempt or an earlier incarnation.
    private func known(
        _ context: CallContext, _ handle: UInt64, isCaller: Bool = false, _ state: inout State
    ) throws(Errno) -> Connection? {
        guard let slot = state.byHandle[HandleKey(context, handle)], let found = state.connections[slot] else {
            return nil
        }
        let isHalf = isCaller && memory.stage(slot) == .idle
        if memory.openRequest(slot) == context.requestID, !isHalf { return found }
        // Of a request that was ended without our knowing, or a caller that wasn't wholly written down.
        end(found, &state)
        return nil
    }

    private func open(
        _ slot: Int, _ serial: UInt64, _ file: NumberedFile, _ node: UInt64, _ handle: UInt64, _ flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) {
        if file == .directory { throw .isDirectory }
        let caller = context
        try state.withLock { state throws(Errno) in
            // First: what it waited for may be gone altogether.
            let waiter = Waiter(request: caller.requestID, channel: caller.channel, node: node)
            if let error = state.sentAway.removeValue(forKey: waiter) { throw error }
            let connection = try numbered(slot, serial, state)
            if file == .listen {
                if try known(caller, handle, isCaller: true, &state) != nil { return }
                guard memory.stage(slot) == .listening else { throw .invalidArgument }
                try take(from: connection, caller, handle, node, isNumbered: true, &state)
                return
            }
            connection.handles.insert(HandleKey(caller, handle))
        }
        context.opened = file == .data ? [.directIO, .stream] : .directIO
    }

    // MARK: Handles

    /// A handle of the last incarnation: its connection lives by it.
    public func adopt(
        _ node: UInt64, generation: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) {
        switch NodeNumber(node) {
        case .numbered(let slot, let serial, let file) where file != .listen:
            let key = HandleKey(context, handle)
            try state.withLock { state throws(Errno) in
                _ = try numbered(slot, serial, state).handles.insert(key)
            }
        default: break
        }
    }

    /// Only for who may use the network.
    public func openDirectory(
        _ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) { try checkCaller(context) }

    /// Ends what the handle stands for.
    public func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let key = HandleKey(context, handle)
        var waiting: [Waiter] = []
        // What was answered is taken out of the queue first: closing with unread bytes would reset the connection.
        state.wait(on: answerEnd) { state -> Void? in
            let slot: Int?
            if case .numbered(let found, _, let file)? = NodeNumber(node), file != .listen {
                slot = found
            } else {
                slot = state.byHandle[key]
            }
            if let slot, let connection = state.connections[slot] {
                if connection.isAnswering { return nil }
                if memory.stage(slot) == .connected { settle(connection) }
                waiting = connection.waiters
                if case .numbered(_, let serial, let file)? = NodeNumber(node), file != .listen {
                    guard connection.serial & NodeNumber.serialMask == serial else { return () }
                    connection.handles.remove(key)
                    if connection.handles.isEmpty { end(connection, &state) }
                    return ()
                }
            }
            close(key, &state)
            return ()
        }
        context.wake(node)
        // If that was the last handle of what listened, who waits there for a caller has to be told.
        for waiter in waiting { context.wake(waiter.node) }
    }

    /// Ends what a handle stands for.
    func close(_ key: HandleKey, _ state: inout State) {
        state.lookups[key] = nil
        guard let slot = state.byHandle.removeValue(forKey: key), let connection = state.connections[slot] else {
            return
        }
        connection.handles.remove(key)
        if connection.handles.isEmpty {
            end(connection, &state)
        } else {
            // It lives on by its other handles: this one's number will be another's.
            memory.forgetHandle(slot)
        }
    }

    /// Ends what the call had begun; a write tells how much it sent.
    public func cancelled(requestID: UInt64, channel: UInt32, node: UInt64) -> Int64? {
        let (done, nodes) = state.withLock { state in cancel(requestID, channel, &state) }
        for node in nodes { host.wake(node) }
        return done
    }

    /// The same; returns also on which nodes others may have waited for that call.
    func cancel(_ request: UInt64, _ channel: UInt32, _ state: inout State) -> (done: Int64?, nodes: Set<UInt64>) {
        state.sentAway = state.sentAway.filter { $0.key.request != request || $0.key.channel != channel }
        for connection in state.connections.values {
            connection.waiters.removeAll { $0.request == request && $0.channel == channel }
            if let writer = connection.writer, writer.request == request, writer.channel == channel {
                connection.writer = nil
                let done = connection.sent(of: writer)
                return (done > 0 ? Int64(clamping: done) : nil, [])
            }
            if memory.isNumbered(connection.slot), memory.stage(connection.slot) == .connecting,
                let begun = memory.write(connection.slot), begun.request == request, begun.channel == channel
            {
                giveUp(connection)
                return (nil, connection.nodes)
            }
            // Whatever has become of it since the call looked: nobody has it.
            if connection.kind != .listener, memory.handle(connection.slot) != 0,
                memory.openRequest(connection.slot) == request, memory.channel(connection.slot) == channel,
                !memory.isNumbered(connection.slot)
            {
                end(connection, &state)
                return (nil, [])
            }
        }
        state.lookups = state.lookups.filter { $0.key.channel != channel || $0.value.request != request }
        return (nil, [])
    }

    // MARK: Look-ups

    /// The answer of `dns/NAME`; waits for it.
    func lookUp(
        _ node: UInt64, _ handle: UInt64, _ text: String, _ context: inout CallContext
    ) throws(Errno) -> [SocketAddress] {
        let (key, request) = (HandleKey(context, handle), context.requestID)
        let (found, isNew) = state.withLock { state -> (Result<[SocketAddress], Errno>?, Bool) in
            if let lookup = state.lookups[key] {
                // Told, it is the handle's.
                if lookup.answer != nil { state.lookups[key]?.request = nil }
                return (lookup.answer, false)
            }
            state.lookups[key] = Lookup(node: node, request: request)
            return (nil, true)
        }
        if isNew {
            resolver.resolve(text) { [weak self] answer in
                guard let self else { return }
                let isWanted = self.state.withLock { state -> Bool in
                    guard state.lookups[key]?.node == node else { return false }
                    state.lookups[key]?.answer = answer
                    return true
                }
                if isWanted { self.host.wake(node) }
            }
        }
        guard let found else { throw .wouldBlock }
        if case .failure = found { state.withLock { $0.lookups[key] = nil } }
        return try found.get()
    }
}
