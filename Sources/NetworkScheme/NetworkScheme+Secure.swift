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
            session = try tls.session(host: endpoint.host, isNumeric: endpoint.numeric != nil)
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
        while let count = try? SystemCall.discard(socket.rawValue, count: 1 << 20), count > 0 {}
        guard (try? session.flush(socket.rawValue)) == false else { return false }
        connection.isLingering = true
        connection.nodes = []
        connection.handles = []
        memory.forgetHandle(connection.slot)
        state.byHandle = state.byHandle.filter { $0.value != connection.slot }
        arm(connection, .writable)
        return true
    }

    private static let lingerMilliseconds: Int32 = 60_000
}
