import Platform
import SchemeKit

// `tls/HOST:PORT`: a TCP connection with a session over it.
//
// The session's keys are in this process, so it ends when the process does: reads and writes give ECONNRESET from then on. An opening
// that waits for the handshake doesn't notice: it is made anew from the connection on. The system has no kernel TLS everywhere, and
// nothing here depends on it.

extension NetworkScheme {
    /// Goes on with the handshake; true when it is done. Throws why it failed.
    func secure(
        _ connection: Connection, _ socket: SharedDescriptor, _ endpoint: Endpoint
    ) throws(Errno) -> Bool {
        let session: TLSSession
        if let known = connection.session {
            session = known
        } else {
            session = try tls.session(host: endpoint.certificateName, isNumeric: endpoint.numeric != nil)
            connection.session = session
        }
        do throws(Errno) {
            if let wanted = try session.handshake(socket.rawValue) {
                arm(connection, wanted)
                return false
            }
        } catch {
            if let reason = session.rejection { host.log("tls/\(memory.text(connection.slot)): \(reason)") }
            throw error
        }
        memory.setStage(connection.slot, .connected)
        return true
    }

    /// A handshake that was done when the process died, and nobody was told of it: there was no session yet for who opens, and the next
    /// one is as good.
    func renewSession(_ connection: Connection) {
        guard connection.kind == .tls, memory.stage(connection.slot) == .connected, connection.session == nil
        else { return }
        memory.setFailure(connection.slot, 0)
        memory.setStage(connection.slot, .connecting)
    }

    /// The end of a session is sent before its socket goes: true while there is no room for it.
    func lingers(_ connection: Connection, _ state: inout State) -> Bool {
        guard let session = connection.session, let socket = connection.descriptor,
            memory.stage(connection.slot) == .connected, memory.failure(connection.slot) == 0
        else { return false }
        if !connection.isLingering {
            session.finish()
            // A peer that never reads can't keep it for ever.
            try? Self.set(.timeout, Self.lingerMilliseconds, socket, isIPv6: false)
        }
        // What nobody will read (tickets for a later session, for instance): closing with it unread would reset the connection, and
        // what was written last be lost.
        let hasMore = discardUnread(connection, socket)
        let isSent = (try? session.flush(socket.rawValue)) != false
        if isSent, !hasMore { return false }
        connection.isLingering = true
        connection.nodes = []
        connection.handles = []
        memory.forgetHandle(connection.slot)
        state.byHandle = state.byHandle.filter { $0.value != connection.slot }
        var wanted: SocketEvents = []
        if !isSent { wanted.insert(.writable) }
        if hasMore { wanted.insert(.readable) }
        arm(connection, wanted)
        return true
    }

    /// Throws away what has come; true if there may be more. A peer that sends without end keeps neither the scheme's lock nor its socket.
    private func discardUnread(_ connection: Connection, _ socket: SharedDescriptor) -> Bool {
        for _ in 0..<Self.roundLimit {
            guard let count = try? SystemCall.discard(socket.rawValue, count: 1 << 20), count > 0 else { return false }
            connection.lingerRounds += 1
        }
        return connection.lingerRounds < Self.lingerRoundLimit
    }

    /// What the last write has left, or an answer of the session's own, goes when there is room: also if nobody calls meanwhile.
    func sendRest(_ connection: Connection) {
        guard let session = connection.session, let socket = connection.descriptor,
            (try? session.flush(socket.rawValue)) == false
        else { return }
        arm(connection, .writable)
    }

    /// So often something is received at a time while the others wait for the scheme's lock.
    static let roundLimit = 16
    private static let lingerRoundLimit = 256

    private static let lingerMilliseconds: Int32 = 60_000
}
