import BlockDevice
import Platform
import SystemPackage

extension NBDCore {
    /// From the first failure to the next attempt, and the longest pause between two.
    private static let firstPause: UInt64 = 10_000_000
    private static let longestPause: UInt64 = 1_000_000_000
    /// How long to wait for something before looking after callers.
    private static let lookLimit: UInt64 = 1_000_000_000

    /// Brings the connections back whenever they break.
    func keep() {
        while true {
            let isDown = state.wait(on: changed) { state -> Bool? in
                switch state.phase {
                case .up: nil
                case .down: true
                case .ended: false
                }
            }
            guard isDown else { return }
            endOldConnections()
            reconnect()
        }
    }

    private var hasEnded: Bool { state.withLock { $0.phase == .ended } }

    /// Waits until no request is under way, here or at the server.
    private func endOldConnections() {
        let old = state.withLock { state in
            state.idle = []
            return state.all
        }
        // What is in hand on connections that are good is answered. Callers whose patience ends look again.
        while state.wait(
            on: changed, deadline: Clock.monotonicNanoseconds() &+ Self.lookLimit,
            until: { $0.busy == 0 ? true : nil }) == nil
        { changed.broadcast() }
        let inherited = state.withLock { state in
            defer {
                state.all = []
                state.inherited = []
            }
            return state.inherited
        }
        for connection in old { connection.endSending() }
        letGo(old.map(\.socket) + inherited)
    }

    /// Waits until the server has ended them, as long as that takes: what was sent on one that isn't ended may still be done, and
    /// undo what would be written on another meanwhile.
    private func letGo(_ sockets: [SharedDescriptor]) {
        var isTold = false
        for socket in sockets {
            while !hasEnded,
                !NBDConnection.drain(socket, deadline: Clock.monotonicNanoseconds() &+ Self.lookLimit)
            {
                if !isTold {
                    options.log("the server doesn't let go of an old connection: nothing is sent until it does")
                }
                isTold = true
                changed.broadcast()
                pause(Self.firstPause)
            }
            dialer.forget(socket)
        }
    }

    /// Does nothing for a while, unless nobody needs the disk any more.
    private func pause(_ nanoseconds: UInt64) {
        _ = state.wait(on: changed, deadline: Clock.monotonicNanoseconds() &+ nanoseconds) {
            $0.phase == .ended ? () : nil
        }
    }

    private func reconnect() {
        let began = Clock.monotonicNanoseconds()
        var nanoseconds = Self.firstPause
        var lastReason = ""
        while !hasEnded {
            do throws(NBDFailure) {
                try bringUp(try connect())
                let milliseconds = (Clock.monotonicNanoseconds() &- began) / 1_000_000
                options.log("connected after \(milliseconds) ms")
                return
            } catch {
                if error.text != lastReason { options.log("cannot connect: \(error.text)") }
                state.withLock { $0.obstacle = error.text }
                lastReason = error.text
            }
            changed.broadcast()
            pause(nanoseconds)
            changed.broadcast()
            nanoseconds = min(nanoseconds * 2, Self.longestPause)
        }
    }

    /// One more connection to where the others go.
    private func connect() throws(NBDFailure) -> NBDConnection {
        let (endpoint, number) = state.withLock { state in
            state.nextDial &+= 1
            return (state.endpoint, state.nextDial - 1)
        }
        return try Self.connect(dialer, name, options, endpoint, number: number)
    }

    static func connect(
        _ dialer: any NBDDialer, _ name: String, _ options: NBDOptions, _ endpoint: Int, number: Int
    ) throws(NBDFailure) -> NBDConnection {
        let socket: SharedDescriptor
        do throws(Errno) { socket = try dialer.dial(endpoint, number: number) } catch { throw .unreachable(error) }
        do throws(NBDFailure) {
            return try NBDConnection(
                socket, export: name, answerLimit: options.answerLimit,
                deadline: Clock.monotonicNanoseconds() &+ options.connectionLimit)
        } catch {
            dialer.forget(socket)
            throw error
        }
    }

    /// Goes on with a new connection: makes the others beside it, repeats what is noted, lets callers go.
    ///
    /// - Parameter isBeginning: nothing was sent to the server before.
    func bringUp(_ first: NBDConnection, isBeginning: Bool = false) throws(NBDFailure) {
        var connections = [first]
        do throws(NBDFailure) {
            let export: NBDExport
            do throws(BlockDeviceError) {
                export = try first.export.standingIn(for: opened, isWritten: isWritable)
            } catch {
                throw .negotiation("\(error)")
            }
            if export.abilities.contains(.multipleConnections) {
                while connections.count < options.connections {
                    // Fewer will do.
                    guard let another = try? connect() else { break }
                    connections.append(another)
                    guard another.export == first.export else {
                        throw .negotiation("the server doesn't export the same on each connection")
                    }
                }
            }
            try repeatNotes(on: connections, export)
        } catch {
            for connection in connections { connection.endSending() }
            if isBeginning {
                for connection in connections { dialer.forget(connection.socket) }
            } else {
                letGo(connections.map(\.socket))
            }
            throw error
        }
    }

    /// Writes again what the server may have lost, in the order in which it was noted.
    private func repeatNotes(on connections: [NBDConnection], _ export: NBDExport) throws(NBDFailure) {
        let connection = connections[0]
        var position = notes.head
        var count: UInt64 = 0
        while true {
            let end = notes.tail
            while position < end {
                let note: UnflushedWrites.Record
                do throws(BlockDeviceError) { note = try notes.record(at: position) } catch {
                    throw .negotiation("\(error)")
                }
                if note.kind != .padding, !note.isVoid {
                    do throws(NBDFailure) { try send(note, on: connection, export) } catch .refused(let code) {
                        // It was acknowledged, so it isn't given up; but somebody has to help.
                        throw .negotiation(
                            "the server refuses to write again what it had taken, \(note.byteCount) bytes at \(note.offset): \(code)"
                        )
                    }
                    count += 1
                }
                position = note.end
            }
            if position > notes.head, export.abilities.contains(.flush) { try connection.flush() }
            let repeated = (position: position, count: count)
            let isUp = state.withLock { state -> Bool in
                guard state.phase != .ended else { return true }
                // Callers may have noted more meanwhile; they wait now.
                guard notes.tail == repeated.position else { return false }
                notes.drop(before: repeated.position)
                state.repeatedTo = repeated.position
                state.generation += 1
                state.export = export
                state.idle = connections
                state.all = connections
                state.reconnections += 1
                state.repetitions += repeated.count
                state.obstacle = nil
                state.phase = .up
                return true
            }
            if isUp { break }
        }
        changed.broadcast()
    }
}
