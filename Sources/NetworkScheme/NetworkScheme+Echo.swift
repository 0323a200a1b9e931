import Glibc
import Platform
import SchemeKit

// `icmp/echo/HOST`: each read is the line of one request, a second after the last one at the earliest.
//
// Where the kernel lets this process's group (ping_group_range) each has a socket of its own, connected, so that errors come to it.
// Else all share the raw sockets that root gave the process at its start, one for each family. Neither outlives anything: what a
// death leaves is the address, the number of the last request, and the line that is being read.

/// Asking for echoes, in this incarnation. Guarded by the scheme's lock.
struct EchoState {
    /// When the request under way was sent; nil: none is.
    var sentAt: UInt64?
    /// When the next may be.
    var dueAt: UInt64 = 0
    /// Why the last one has no answer, until that is told.
    var failure: Errno?
    /// The line that is being read, and how much of it was.
    var line: [UInt8] = []
    var position = 0
}

/// What all that ask share.
struct EchoSockets {
    /// Raw sockets, where there are no others.
    var four: SharedDescriptor?
    var six: SharedDescriptor?
    /// In every packet of this incarnation.
    var token: UInt64 = 0

    func raw(isIPv6: Bool) -> SharedDescriptor? { isIPv6 ? six : four }
}

extension NetworkScheme {
    static let echoInterval: UInt64 = 1_000_000_000
    static let echoPatience: UInt64 = 5_000_000_000

    /// Sees whether an address can be asked, and makes it the connection's.
    func beginEcho(_ connection: Connection, _ address: SocketAddress) throws(Errno) {
        if let socket = try? SystemCall.socket(.echo, isIPv6: address.isIPv6) {
            try SystemCall.connect(socket.rawValue, to: address)
            connection.descriptor = socket
        } else {
            guard echoSockets.raw(isIPv6: address.isIPv6) != nil else { throw Errno(rawValue: EPROTONOSUPPORT) }
            // Nothing is sent by this: it says whether there is a way.
            var target = address
            target.port = 9
            let probe = try SystemCall.socket(.datagram, isIPv6: address.isIPv6)
            try SystemCall.connect(probe.rawValue, to: target)
        }
        // The next incarnation goes on with the same address.
        memory.setText(connection.slot, address.description)
        memory.setStage(connection.slot, .connected)
    }

    /// Reads a line, or the rest of one.
    func readEcho(
        _ connection: Connection, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let limit = buffer.byteCount
        let mark = NetworkMemory.ReadMark(request: context.requestID, channel: context.channel, position: 0, count: 0)
        let part = try state.withLock { state throws(Errno) -> [UInt8] in
            guard try progressEcho(connection, &state) else { throw .wouldBlock }
            if let failure = connection.echo.failure {
                connection.echo.failure = nil
                throw failure
            }
            let part = Array(connection.echo.line.dropFirst(connection.echo.position).prefix(limit))
            var mark = mark
            mark.position = UInt64(connection.echo.position)
            mark.count = UInt64(part.count)
            memory.setRead(connection.slot, mark)
            connection.echo.position += part.count
            return part
        }
        return buffer.fill(from: part, at: 0)
    }

    /// Has a line, or a failure, ready: if not, a request is under way or due.
    func progressEcho(_ connection: Connection, _ state: inout State) throws(Errno) -> Bool {
        guard try progress(connection) else { return false }
        settleEcho(connection)
        if connection.echo.position == connection.echo.line.count, connection.echo.failure == nil {
            askForEcho(connection)
            receiveEchoes(connection, &state)
        }
        return connection.echo.position < connection.echo.line.count || connection.echo.failure != nil
    }

    /// After a death: the line that was being read goes on.
    private func settleEcho(_ connection: Connection) {
        guard !connection.isSettled else { return }
        connection.isSettled = true
        guard let line = echoLine(connection) else { return }
        var position = 0
        if let read = memory.read(connection.slot) {
            let isAnswered = !host.isOutstanding(read.request, channel: read.channel)
            position = Int(clamping: read.position &+ (isAnswered ? read.count : 0))
        }
        connection.echo.line = line
        connection.echo.position = min(position, line.count)
    }

    private func echoLine(_ connection: Connection) -> [UInt8]? {
        guard let answer = memory.echoAnswer(connection.slot),
            let endpoint = Endpoint(memory.text(connection.slot))
        else { return nil }
        let microseconds = answer.nanoseconds / 1000
        let fraction = String(microseconds % 1000)
        let padded = String(repeating: "0", count: 3 - fraction.utf8.count) + fraction
        return Array(
            "\(EchoPacket.byteCount) bytes from \(endpoint.host): seq=\(answer.number) time=\(microseconds / 1000).\(padded) ms\n"
                .utf8)
    }

    /// Sends the next request, or has that done when its time has come.
    private func askForEcho(_ connection: Connection) {
        guard connection.echo.sentAt == nil else { return }
        let now = Clock.monotonicNanoseconds()
        guard now >= connection.echo.dueAt else {
            wake(connection, at: connection.echo.dueAt)
            return
        }
        guard let address = Endpoint(memory.text(connection.slot))?.numeric else { return }
        let number = memory.newEchoNumber(connection.slot)
        let packet = EchoPacket(token: echoSockets.token, serial: connection.serial, number: number)
        let bytes = packet.request(
            isIPv6: address.isIPv6, identifier: UInt16(truncatingIfNeeded: echoSockets.token))
        let span = bytes.span
        do throws(Errno) {
            if let socket = connection.descriptor {
                _ = try SystemCall.sendSome(socket.rawValue, unsafe span.bytes)
            } else if let raw = echoSockets.raw(isIPv6: address.isIPv6) {
                _ = try SystemCall.send(raw.rawValue, unsafe span.bytes, to: address)
            }
            connection.echo.sentAt = now
            wake(connection, at: now &+ Self.echoPatience)
        } catch {
            // No room in the socket's queue is an answer that doesn't come.
            connection.echo.failure = error == .wouldBlock ? .timedOut : error
        }
        connection.echo.dueAt = now &+ Self.echoInterval
    }

    private func wake(_ connection: Connection, at time: UInt64) {
        connection.nextAttemptAt = time
        SystemCall.signalEvent(bell.rawValue)
    }

    /// The time of a connection has come: a request is due, or its answer is overdue.
    func echoIsDue(_ connection: Connection) {
        connection.nextAttemptAt = nil
        guard let sentAt = connection.echo.sentAt,
            Clock.monotonicNanoseconds() &- sentAt >= Self.echoPatience
        else { return }
        connection.echo.sentAt = nil
        connection.echo.failure = .timedOut
    }

    // MARK: Answers

    /// Takes what has come for a connection.
    private func receiveEchoes(_ connection: Connection, _ state: inout State) {
        guard connection.echo.sentAt != nil else { return }
        guard let socket = connection.descriptor else {
            _ = receiveRawEchoes(&state)
            return
        }
        let isIPv6 = Endpoint(memory.text(connection.slot))?.numeric?.isIPv6 ?? false
        do throws(Errno) {
            for _ in 0..<Self.roundLimit {
                let packet = try receivePacket(socket)
                if let outcome = EchoOutcome(packet, isIPv6: isIPv6, hasHeader: false) { take(outcome, &state) }
            }
            if connection.echo.sentAt != nil { arm(connection, .readable) }
        } catch {
            if error == .wouldBlock {
                if connection.echo.sentAt != nil { arm(connection, .readable) }
            } else if connection.echo.sentAt != nil {
                connection.echo.sentAt = nil
                connection.echo.failure = error
            }
        }
    }

    /// Takes what has come to the shared sockets; returns whose calls have something to see.
    func receiveRawEchoes(_ state: inout State) -> Set<UInt64> {
        var nodes: Set<UInt64> = []
        for isIPv6 in [false, true] {
            guard let raw = echoSockets.raw(isIPv6: isIPv6) else { continue }
            // The sockets are watched all the time: for the rest the loop comes again.
            for _ in 0..<Self.roundLimit {
                guard let packet = try? receivePacket(raw) else { break }
                if let outcome = EchoOutcome(packet, isIPv6: isIPv6, hasHeader: !isIPv6) {
                    nodes.formUnion(take(outcome, &state))
                }
            }
        }
        return nodes
    }

    private func receivePacket(_ socket: SharedDescriptor) throws(Errno) -> [UInt8] {
        var packet = [UInt8](repeating: 0, count: 2048)
        var span = packet.mutableSpan
        var bytes = unsafe span.mutableBytes
        let count = try SystemCall.receive(socket.rawValue, into: &bytes, keeping: false)
        return Array(packet.prefix(count))
    }

    @discardableResult
    private func take(_ outcome: EchoOutcome, _ state: inout State) -> Set<UInt64> {
        let now = Clock.monotonicNanoseconds()
        let (packet, failure): (EchoPacket, Errno?) =
            switch outcome {
            case .answered(let packet): (packet, nil)
            case .failed(let packet, let error): (packet, error)
            }
        let found = state.connections.values.first { $0.kind == .echo && $0.serial == packet.serial }
        guard packet.token == echoSockets.token, let connection = found, let sentAt = connection.echo.sentAt,
            packet.number == memory.echoNumber(connection.slot)
        else { return [] }
        connection.echo.sentAt = nil
        connection.nextAttemptAt = nil
        if let failure {
            connection.echo.failure = failure
        } else {
            memory.setEchoAnswer(connection.slot, number: packet.number, nanoseconds: now &- sentAt)
            connection.echo.line = echoLine(connection) ?? []
            connection.echo.position = 0
        }
        return connection.nodes
    }
}
