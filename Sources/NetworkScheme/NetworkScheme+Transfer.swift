import Glibc
import Platform
import SchemeKit

extension NetworkScheme {
    /// The connection is connected, and what is known of it right; else throws why not.
    private func require(_ connection: Connection) throws(Errno) {
        let failure = memory.failure(connection.slot)
        switch memory.stage(connection.slot) {
        case .connected:
            // A connection that has failed may have bytes that came before.
            if connection.descriptor == nil { throw failure == 0 ? .connectionReset : Errno(rawValue: failure) }
            settle(connection)
            if !connection.isSettled {
                arm(connection, [.readable, .writable])
                throw .wouldBlock
            }
        case .connecting:
            if failure != 0 { throw Errno(rawValue: failure) }
            do throws(Errno) {
                guard try progress(connection) else { throw .wouldBlock }
            } catch {
                if error == .wouldBlock { throw error }
                if memory.isNumbered(connection.slot) {
                    giveUp(connection, error)
                } else {
                    memory.setFailure(connection.slot, error.rawValue)
                }
                throw error
            }
        default: throw failure == 0 ? .socketNotConnected : Errno(rawValue: failure)
        }
    }

    /// After a death: the kernel's counters say how far the stream has come, and bytes whose answer was posted are taken out. Left for
    /// later while the counters don't stand still.
    func settle(_ connection: Connection) {
        guard !connection.isSettled else { return }
        guard connection.kind == .tcp, let socket = connection.descriptor else {
            connection.isSettled = true
            return
        }
        guard let now = try? SystemCall.streamCounters(socket.rawValue) else { return }
        connection.isSettled = true
        let baseline = memory.baseline(connection.slot)
        var hasFailed = memory.failure(connection.slot) != 0
        var hasSentEnd = TCPState.withOwnEnd.contains(now.state)
        if now.state == TCPState.closed {
            let code = SystemCall.socketError(socket.rawValue)
            // EPIPE is a reset that came after the end: that end was counted.
            if code != 0, code != EPIPE {
                memory.setFailure(connection.slot, code)
                hasFailed = true
            }
            hasSentEnd = code == 0 && !hasFailed
        }
        // The kernel counts an end that was sent, too.
        let accepted = now.acknowledged &+ now.unsent &- baseline.sent
        connection.accepted = hasSentEnd && accepted > 0 ? accepted - 1 : accepted
        connection.consumed = Self.taken(now, hasFailed: hasFailed) &- baseline.received
        // A write that had sent a part comes again: others wait for its rest, also if they come first.
        if let begun = memory.write(connection.slot), begun.position != NetworkMemory.WriteMark.command,
            host.isOutstanding(begun.request, channel: begun.channel)
        {
            connection.writer = begun
        }
        guard let read = memory.read(connection.slot), !host.isOutstanding(read.request, channel: read.channel) else {
            return
        }
        let wanted = read.position &+ read.count
        if wanted > connection.consumed { takeOut(connection, Int(clamping: wanted - connection.consumed)) }
    }

    private func takeOut(_ connection: Connection, _ count: Int) {
        guard let socket = connection.descriptor else { return }
        var rest = count
        while rest > 0, let part = try? SystemCall.discard(socket.rawValue, count: rest), part > 0 { rest -= part }
        connection.consumed &+= UInt64(count - rest)
    }

    private func failed(_ connection: Connection, _ error: Errno) {
        // A datagram that couldn't be delivered says nothing of the next one.
        guard connection.kind == .tcp || connection.kind == .tls, error != .wouldBlock, error != .brokenPipe else {
            return
        }
        memory.setFailure(connection.slot, error.rawValue)
    }

    /// Reads the stream, a datagram or a text.
    public func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        let role = try role(node, handle, context)
        guard role == .data else {
            let text: String
            if case .configuration(let place, let interface)? = NodeNumber(node) {
                text = try configurationText(place, interface)
            } else {
                text = try self.text(role, node, handle, &context)
            }
            return buffer.fill(from: Array(text.utf8), at: offset)
        }
        guard buffer.byteCount > 0 else { return 0 }
        let caller = context
        // One read at a time: the next one's bytes follow those that this one has answered.
        let (connection, socket) = try state.wait(on: answerEnd) {
            state throws(Errno) -> (Connection, SharedDescriptor?)? in
            let connection = try find(node, handle, caller, state)
            if connection.kind == .echo { return (connection, nil) }
            if connection.isAnswering { return nil }
            try require(connection)
            guard let socket = connection.descriptor else { throw .socketNotConnected }
            connection.isAnswering = true
            return (connection, socket)
        }
        guard let socket else { return try readEcho(connection, into: &buffer, &context) }
        do throws(Errno) {
            if connection.kind == .udp {
                let count = try readDatagram(connection, socket, &buffer)
                finishAnswer(connection, taken: 0)
                return count
            }
            if let session = connection.session {
                let bytes = try session.read(socket.rawValue, limit: buffer.byteCount)
                finishAnswer(connection, taken: 0)
                return buffer.fill(from: bytes, at: 0)
            }
            let count = try SystemCall.receive(socket.rawValue, into: &buffer, keeping: true)
            guard count > 0 else {
                let failure = memory.failure(connection.slot)
                if failure != 0 { throw Errno(rawValue: failure) }
                finishAnswer(connection, taken: 0)
                return 0
            }
            memory.setRead(
                connection.slot,
                NetworkMemory.ReadMark(
                    request: context.requestID, channel: context.channel, position: connection.consumed,
                    count: UInt64(count)))
            connection.answerCount = count
            context.tellsWhenAnswered = true
            return count
        } catch {
            state.withLock { _ in
                failed(connection, error)
                if error == .wouldBlock { arm(connection, [.readable]) }
            }
            finishAnswer(connection, taken: 0)
            throw error
        }
    }

    private func finishAnswer(_ connection: Connection, taken: Int) {
        state.withLock { _ in
            if taken > 0 { takeOut(connection, taken) }
            sendRest(connection)
            connection.isAnswering = false
        }
        answerEnd.broadcast()
    }

    /// Takes out of the kernel what was answered.
    public func answered(_ node: UInt64, handle: UInt64, _ context: inout CallContext) {
        let caller = context
        let found = state.withLock { state in try? find(node, handle, caller, state) }
        guard let found, found.isAnswering else { return }
        finishAnswer(found, taken: found.answerCount)
    }

    /// Writes to the stream, a datagram or a command.
    public func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let role = try role(node, handle, context)
        if role == .ctl { return try command(node, handle, bytes, flags, &context) }
        if case .configuration(let place, _)? = NodeNumber(node) {
            // It is taken as a whole, or not at all.
            guard offset == 0, bytes.byteCount <= Self.configurationBytes else { throw .invalidArgument }
            try setConfiguration(place, String(decoding: Self.copy(bytes), as: UTF8.self))
            return bytes.byteCount
        }
        guard role == .data else { throw .badFileDescriptor }
        let caller = context
        let mark = NetworkMemory.WriteMark(request: context.requestID, channel: context.channel, position: 0)
        let (connection, socket, done) = try state.withLock {
            state throws(Errno) -> (Connection, SharedDescriptor, Int) in
            let connection = try find(node, handle, caller, state)
            if connection.kind == .echo { throw .badFileDescriptor }
            try require(connection)
            guard let socket = connection.descriptor else { throw .socketNotConnected }
            if connection.kind == .udp { return (connection, socket, 0) }
            return (connection, socket, try beginWrite(connection, mark, bytes.byteCount))
        }
        if connection.kind == .udp { return try writeDatagram(connection, socket, bytes) }
        var sent = done
        do throws(Errno) {
            while sent < bytes.byteCount {
                let part = try sendPart(connection, socket, bytes.extracting(droppingFirst: sent))
                sent += part
                connection.accepted &+= UInt64(part)
            }
            // Bytes of a session are written when all its records are with the kernel.
            if let session = connection.session, try !session.flush(socket.rawValue) { throw Errno.wouldBlock }
        } catch {
            if error == .wouldBlock, flags & OpenFlags.nonBlocking == 0 {
                state.withLock { _ in arm(connection, .writable) }
                throw .wouldBlock
            }
            state.withLock { _ in
                failed(connection, error)
                if error == .wouldBlock { arm(connection, .writable) }
            }
            endWrite(connection, &context)
            if sent == 0 { throw error }
            return sent
        }
        endWrite(connection, &context)
        return sent
    }

    private func sendPart(
        _ connection: Connection, _ socket: SharedDescriptor, _ bytes: RawSpan
    ) throws(Errno) -> Int {
        guard let session = connection.session else { return try SystemCall.sendSome(socket.rawValue, bytes) }
        guard try session.flush(socket.rawValue) else { throw .wouldBlock }
        let part = Self.copy(bytes.extracting(first: TLSSession.chunkBytes))
        try session.encrypt(part)
        return part.count
    }

    /// A copy of bytes that their writer can still change.
    static func copy(_ bytes: RawSpan) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: bytes.byteCount)
        var span = result.mutableSpan
        var raw = unsafe span.mutableBytes
        raw.copyBytes(from: bytes)
        return result
    }

    /// Lets the next one write.
    private func endWrite(_ connection: Connection, _ context: inout CallContext) {
        let isAwaited = state.withLock { _ in
            connection.writer = nil
            defer { connection.isWriterAwaited = false }
            return connection.isWriterAwaited
        }
        if isAwaited { for node in connection.nodes { context.wake(node) } }
    }

    /// How much of a write was sent already, in an earlier attempt or by an earlier incarnation. Only one write at a time.
    private func beginWrite(
        _ connection: Connection, _ mark: NetworkMemory.WriteMark, _ byteCount: Int
    ) throws(Errno) -> Int {
        if let writer = connection.writer {
            guard writer.request == mark.request, writer.channel == mark.channel else {
                connection.isWriterAwaited = true
                throw .wouldBlock
            }
            return min(Int(clamping: connection.sent(of: writer)), byteCount)
        }
        var mark = mark
        mark.position = connection.accepted
        memory.setWrite(connection.slot, mark)
        connection.writer = mark
        return 0
    }

    // MARK: Datagrams

    private func readDatagram(
        _ connection: Connection, _ socket: SharedDescriptor, _ buffer: inout MutableRawSpan
    ) throws(Errno) -> Int {
        guard memory.hasHeaders(connection.slot) else {
            return try SystemCall.receive(socket.rawValue, into: &buffer, keeping: false)
        }
        var datagram = [UInt8](repeating: 0, count: 65536)
        var span = datagram.mutableSpan
        var raw = unsafe span.mutableBytes
        let (count, sender) = try SystemCall.receiveDatagram(socket.rawValue, into: &raw)
        let header = Array("\(sender.map { "\($0.unmapped)" } ?? "?")\n".utf8)
        return buffer.fill(from: header + datagram[..<count], at: 0)
    }

    private func writeDatagram(
        _ connection: Connection, _ socket: SharedDescriptor, _ bytes: RawSpan
    ) throws(Errno) -> Int {
        do throws(Errno) {
            guard memory.hasHeaders(connection.slot) else { return try SystemCall.sendSome(socket.rawValue, bytes) }
            let units = (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
            guard let end = units.firstIndex(of: 0x0a),
                let endpoint = Endpoint(String(decoding: units[..<end], as: UTF8.self)), let to = endpoint.numeric
            else { throw .invalidArgument }
            guard rules.allowsReaching(to) else { throw .permissionDenied }
            let isSix = try SystemCall.localAddress(socket.rawValue).isIPv6
            let receiver = isSix ? to.reached.mapped : to.reached
            _ = try SystemCall.send(socket.rawValue, bytes.extracting(droppingFirst: end + 1), to: receiver)
            return bytes.byteCount
        } catch {
            if error == .wouldBlock { state.withLock { _ in arm(connection, .writable) } }
            throw error
        }
    }

    // MARK: Readiness

    /// What the socket is ready for.
    public func poll(
        _ node: UInt64, handle: UInt64, events: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt32 {
        let role = try role(node, handle, context)
        guard role == .data else { return events & (PollEvents.input | PollEvents.output) }
        let caller = context
        return try state.wait(on: answerEnd) { state throws(Errno) -> UInt32? in
            let connection = try find(node, handle, caller, state)
            if connection.isAnswering { return nil }
            do throws(Errno) {
                if connection.kind == .echo {
                    return try progressEcho(connection, &state) ? events & PollEvents.input : 0
                }
                try require(connection)
            } catch {
                if error == .wouldBlock { return 0 }
                return events & (PollEvents.input | PollEvents.output) | PollEvents.error | PollEvents.hangUp
            }
            guard let socket = connection.descriptor else { return PollEvents.error }
            var ready = SystemCall.readiness(socket.rawValue, events: events)
            if let session = connection.session {
                ready = Self.readiness(session, socket, events: events, ready)
            }
            let missing = events & ~ready & (PollEvents.input | PollEvents.output)
            if missing != 0 { arm(connection, SocketEvents(rawValue: missing)) }
            sendRest(connection)
            return ready & (events | PollEvents.error | PollEvents.hangUp)
        }
    }

    /// What a session is ready for, whose socket is ready for `raw`.
    private static func readiness(
        _ session: TLSSession, _ socket: SharedDescriptor, events: UInt32, _ raw: UInt32
    ) -> UInt32 {
        var ready = raw & ~PollEvents.input
        if events & PollEvents.input != 0, session.isReadable(socket.rawValue) { ready |= PollEvents.input }
        if (try? session.flush(socket.rawValue)) == false { ready &= ~PollEvents.output }
        return ready
    }
}
