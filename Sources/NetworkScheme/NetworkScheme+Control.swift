import Glibc
import Platform
import SchemeKit

// Commands of `ctl`, one per write:
//
//     connect HOST:PORT        announce ADDRESS:PORT      (HOST!PORT, too)
//     hangup                   shutdown read|write|both
//     nodelay on|off           keepalive off|SECONDS      ttl N          timeout MILLISECONDS
//     headers                  (udp) datagrams with the other side's address as their first line

extension NetworkScheme {
    /// What a file other than `data` reads.
    func text(
        _ role: NumberedFile, _ node: UInt64, _ handle: UInt64, _ context: inout CallContext
    ) throws(Errno) -> String {
        if case .name(let serial)? = NodeNumber(node), role == .status {
            let key = HandleKey(context, handle)
            // The answer of what is open stays, also when the name is long forgotten.
            let isKnown = state.withLock { $0.lookups[key] != nil }
            guard let text = memory.name(serial)?.text ?? (isKnown ? "" : nil) else { throw .staleNFSFileHandle }
            return try lookUp(node, handle, text, &context).map { "\($0.host)\n" }.joined()
        }
        let caller = context
        return try state.withLock { state throws(Errno) in
            let connection = try find(node, handle, caller, state)
            let socket = connection.descriptor?.rawValue
            switch role {
            case .ctl: return "\(connection.slot)\n"
            case .local:
                guard let socket else { return "0.0.0.0:0\n" }
                return "\(try SystemCall.localAddress(socket).unmapped)\n"
            case .remote:
                guard let socket, let peer = try? SystemCall.peerAddress(socket) else { return "0.0.0.0:0\n" }
                return "\(peer.unmapped)\n"
            case .status: return status(connection)
            default: throw .badFileDescriptor
            }
        }
    }

    private func status(_ connection: Connection) -> String {
        concede(connection)
        let failure = memory.failure(connection.slot)
        if failure != 0 { return "Closed \(Errno(rawValue: failure))\n" }
        switch memory.stage(connection.slot) {
        case .idle: return "Closed\n"
        case .connecting: return "Syn_sent\n"
        case .listening: return "Listen\n"
        case .connected:
            guard connection.kind == .tcp, let socket = connection.descriptor,
                let now = try? SystemCall.streamCounters(socket.rawValue)
            else { return "Open\n" }
            let names = [
                "Closed", "Established", "Syn_sent", "Syn_received", "Finwait1", "Finwait2", "Time_wait", "Closed",
                "Close_wait", "Last_ack", "Listen", "Closing",
            ]
            let name = Int(now.state) < names.count ? names[Int(now.state)] : "Unknown"
            return "\(name) unread \(now.unread) unsent \(now.unsent)\(options(socket))\n"
        }
    }

    /// Carries out a command.
    func command(
        _ node: UInt64, _ handle: UInt64, _ bytes: RawSpan, _ flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        guard bytes.byteCount <= 512 else { throw .invalidArgument }
        let units = (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
        let words = String(decoding: units, as: UTF8.self).split(whereSeparator: \.isWhitespace).map(String.init)
        guard let verb = words.first else { return bytes.byteCount }
        let argument = words.count > 1 ? words[1] : ""
        guard words.count <= 2 else { throw .invalidArgument }
        let caller = context
        let waiting = try state.withLock { state throws(Errno) -> [Waiter] in
            let connection = try find(node, handle, caller, state)
            switch verb {
            case "connect": try connect(connection, argument, flags, caller)
            case "announce": try announce(connection, argument, caller)
            case "hangup":
                guard argument.isEmpty else { throw .invalidArgument }
                return try hangUp(connection, caller, &state)
            case "shutdown": try shutDown(connection, argument)
            case "headers" where connection.kind == .udp: memory.setHasHeaders(connection.slot)
            default: try setOption(connection, verb, argument)
            }
            return []
        }
        for waiter in waiting { context.wake(waiter.node) }
        return bytes.byteCount
    }

    private func hangUp(
        _ connection: Connection, _ context: CallContext, _ state: inout State
    ) throws(Errno) -> [Waiter] {
        if memory.stage(connection.slot) == .listening { return stopListening(connection, &state) }
        // It was done, and the process died before it could say so.
        if context.isResubmitted, memory.stage(connection.slot) == .idle, connection.descriptor == nil { return [] }
        try shutDown(connection, "both")
        return []
    }

    /// A numbered connection whose attempts have all failed, with nobody waiting for that, can connect again.
    private func concede(_ connection: Connection) {
        guard memory.stage(connection.slot) == .connecting, memory.isNumbered(connection.slot) else { return }
        do throws(Errno) {
            _ = try progress(connection)
        } catch {
            giveUp(connection, error)
        }
    }

    private func connect(
        _ connection: Connection, _ text: String, _ flags: UInt32, _ context: CallContext
    ) throws(Errno) {
        guard let endpoint = Endpoint(text), !endpoint.isAny else { throw .invalidArgument }
        let slot = connection.slot
        let mark = NetworkMemory.WriteMark(
            request: context.requestID, channel: context.channel, position: NetworkMemory.WriteMark.command)
        if memory.write(slot) != mark { concede(connection) }
        switch memory.stage(slot) {
        case .idle:
            let failure = memory.failure(slot)
            // Somebody else has seen it fail first.
            if failure != 0, memory.write(slot) == mark { throw Errno(rawValue: failure) }
            memory.setText(slot, text)
            memory.setFailure(slot, 0)
            memory.setWrite(slot, mark)
            memory.setStage(slot, .connecting)
        case .connecting, .connected:
            guard memory.write(slot) == mark else {
                throw memory.stage(slot) == .connected ? .socketIsConnected : .alreadyInProcess
            }
        case .listening: throw .invalidArgument
        }
        do throws(Errno) {
            if try progress(connection) || flags & OpenFlags.nonBlocking != 0 { return }
        } catch {
            giveUp(connection, error)
            throw error
        }
        throw .wouldBlock
    }

    private func announce(_ connection: Connection, _ text: String, _ context: CallContext) throws(Errno) {
        let slot = connection.slot
        let mark = NetworkMemory.WriteMark(
            request: context.requestID, channel: context.channel, position: NetworkMemory.WriteMark.command)
        if context.isResubmitted, memory.write(slot) == mark, connection.descriptor != nil { return }
        guard memory.stage(slot) == .idle else { throw .invalidArgument }
        guard let endpoint = Endpoint(text) else { throw .invalidArgument }
        memory.setFailure(slot, 0)
        memory.setWrite(slot, mark)
        if connection.kind == .tcp {
            try listen(connection, endpoint)
        } else {
            let socket = try bound(.datagram, endpoint)
            try hold(socket, connection)
            memory.setHasHeaders(slot)
            memory.setStage(slot, .connected)
        }
    }

    private func shutDown(_ connection: Connection, _ what: String) throws(Errno) {
        guard let socket = connection.descriptor else { throw .socketNotConnected }
        guard memory.stage(connection.slot) != .listening else { throw .invalidArgument }
        switch what {
        case "read": try SystemCall.shutDown(socket.rawValue, receiving: true, sending: false)
        case "write": try SystemCall.shutDown(socket.rawValue, receiving: false, sending: true)
        case "both": try SystemCall.shutDown(socket.rawValue, receiving: true, sending: true)
        default: throw .invalidArgument
        }
    }
}
