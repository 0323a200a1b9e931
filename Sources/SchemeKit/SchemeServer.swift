import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// The process of a scheme: start-up, control loop, one thread or more per channel.
///
/// A scheme's `main` is one call:
///
///     @main struct Null {
///         static func main() {
///             SchemeServer.main { start in PathScheme(NullScheme(), start) }
///         }
///     }
///
/// The supervisor hands over the control socket: `SALTBRIDGE_CONTROL` in the environment names the descriptor. Its first message
/// is the configuration. Whatever is missing ends the process with status 78 and a line that says what: a scheme never runs
/// half configured, as that might mean without its sandbox.
public final class SchemeServer: Sendable {
    /// The status of a process that wasn't configured right (sysexits.h, EX_CONFIG).
    public static let configurationStatus: Int32 = 78

    private let socket: ControlSocket
    private let start: SchemeStart
    private let dispatcher: Dispatcher
    private let workers: Int
    private let crash = CrashPlan()
    private let attached = Locked<[UInt32: Attached]>([:])

    private struct Attached {
        let server: ChannelServer
        let threads: [JoinHandle]
    }

    /// Runs a scheme until it is told to end. Doesn't return.
    ///
    /// - Parameters:
    ///   - workers: threads per channel. More than one only helps schemes that aren't serial.
    ///   - afterStart: called when the scheme is made and before it is announced: where the process gives up what it needs no more
    ///     (the strict seccomp filter).
    ///   - rehearse: called in a process that was started ahead of time, before it is told what it is: whatever is done here once
    ///     is quick when it counts. What it throws doesn't matter.
    ///   - makeScheme: opens what is served. What it throws is reported and ends the process.
    public static func main(
        workers: Int = 1, afterStart: (SchemeStart) throws -> Void = { _ in }, rehearse: () throws -> Void = {},
        _ makeScheme: (SchemeStart) throws -> any NodeScheme
    ) -> Never {
        var socket: ControlSocket?
        do {
            let control = try inheritedSocket()
            socket = control
            if Rehearsal.isDue {
                try? Rehearsal.perform(workers: workers)
                try? rehearse()
            }
            let server = try SchemeServer(control, workers: workers, afterStart: afterStart, makeScheme)
            let status = server.run()
            exit(status)
        } catch {
            let startError = error as? SchemeStartError
            let text = Array("cannot start: \(error)\n".utf8)
            let span = text.span
            try? SystemCall.writeAll(2, unsafe span.bytes)
            try? socket?.send(
                ControlMessage(
                    .failed, number: UInt64((startError?.errno ?? .ioError).rawValue),
                    fields: [.init("message", "\(error)")]), wait: false)
            exit(configurationStatus)
        }
    }

    private static func inheritedSocket() throws(SchemeStartError) -> ControlSocket {
        guard let text = unsafe getenv(ProcessEnvironment.control), let number = unsafe Int32(String(cString: text)),
            number > 2
        else {
            throw .noControlSocket
        }
        return ControlSocket(SharedDescriptor(adopting: number))
    }

    /// Receives the configuration and makes the scheme.
    public init(
        _ socket: ControlSocket, workers: Int = 1, afterStart: (SchemeStart) throws -> Void = { _ in },
        _ makeScheme: (SchemeStart) throws -> any NodeScheme
    ) throws {
        guard let first = try socket.receive(), first.message.kind == .configure else {
            throw SchemeStartError.noConfiguration
        }
        let incarnation = UInt32(truncatingIfNeeded: first.message.number)
        let points = CrashPoints(plan: first.message["crash-plan"], incarnation: incarnation)
        let host = SchemeHost(control: socket, points: points)
        var held: [ReceivedControl] = []
        for _ in 0..<(first.message["held"].flatMap { Int($0) } ?? 0) {
            guard let next = try socket.receive(), next.message.kind == .held else {
                throw SchemeStartError.noConfiguration
            }
            held.append(next)
        }
        let start = SchemeStart(first, held: held, host: host, connector: SchemeConnector(socket))
        self.socket = socket
        self.start = start
        self.workers = max(1, min(workers, ProtocolLimits.maximumWorkers))
        let scheme = try start.connector.listen { try makeScheme(start) }
        dispatcher = Dispatcher(scheme, points: host.points)
        host.set(dispatcher)
        do throws(Errno) {
            // As a setting it is planned for every incarnation: a request that kills its server each time.
            _ = try crash.take(start.settings)
        } catch {
            throw SchemeStartError.badSetting("crash", value: start.setting("operation") ?? "")
        }
        try afterStart(start)
        try socket.send(ControlMessage(.started, number: scheme.recoveredSequence))
    }

    /// Handles control messages until the process is to end; returns the exit status.
    public func run() -> Int32 {
        while true {
            do throws(ChannelError) {
                guard let received = try next() else { continue }
                if let status = try handle(received) { return status }
            } catch .disconnected {
                // The supervisor is gone: nobody can reach us or restart us. What is acknowledged is made durable.
                return finish() ? 0 : 1
            } catch {
                start.host.log("control message: \(error)")
            }
        }
    }

    /// The next message; nil after a pause, which is used for a sign of life.
    private func next() throws(ChannelError) -> ReceivedControl? {
        if let queued = start.connector.takeQueued() { return queued }
        var entries = [pollfd(fd: socket.descriptor.rawValue, events: Int16(POLLIN), revents: 0)]
        let ready: Int
        do { ready = try SystemCall.poll(&entries, milliseconds: 200) } catch { throw .system(error, call: "poll") }
        for channel in start.host.allChannels() { channel.beat() }
        return ready > 0 ? try start.connector.receive() : nil
    }

    private func handle(_ received: ReceivedControl) throws(ChannelError) -> Int32? {
        let message = received.message
        switch message.kind {
        case .attach:
            try answer(message) { () throws(ChannelError) in
                try attach(received); return []
            }
        case .replaceRequestMemory:
            try answer(message) { () throws(ChannelError) in
                guard let request = received.descriptor("request"),
                    let channel = attached.withLock({ $0[message.channel]?.server })
                else { throw .message("no such channel or no descriptor") }
                try channel.replaceRequestMemory(request)
                return []
            }
        case .detach:
            try answer(message) { () throws(ChannelError) in
                detach(message.channel); return []
            }
        case .serverChanged: start.connector.serverChanged(message)
        case .held: start.host.held(received)
        case .done, .failed: start.connector.answered(received)
        case .set:
            try answer(message) { () throws(ChannelError) in
                do throws(Errno) {
                    if try crash.take(message.fields) { return [] }
                    try dispatcher.administer { (scheme) throws(Errno) in try scheme.set(message.fields) }
                } catch { throw .system(error, call: "set") }
                return []
            }
        case .get: try answer(message) { () throws(ChannelError) in try dispatcher.report() }
        case .finish:
            let isDurable = finish()
            try answer(message) { () throws(ChannelError) in
                if !isDurable { throw .system(.ioError, call: "finish") }
                return []
            }
            return isDurable ? 0 : 1
        default:
            try answer(message) { () throws(ChannelError) in throw .message("kind \(message.kind.rawValue) not known") }
        }
        return nil
    }

    private func answer(
        _ message: ControlMessage, _ body: () throws(ChannelError) -> [ControlMessage.Field]
    ) throws(ChannelError) {
        do throws(ChannelError) {
            let fields = try body()
            guard message.id != 0 else { return }
            try socket.send(ControlMessage(.done, id: message.id, channel: message.channel, fields: fields))
        } catch .disconnected {
            throw .disconnected
        } catch {
            try socket.send(
                ControlMessage(
                    .failed, id: message.id, channel: message.channel, number: UInt64(error.errno.rawValue),
                    fields: [.init("message", "\(error)")]))
        }
    }

    private func attach(_ received: ReceivedControl) throws(ChannelError) {
        let message = received.message
        guard let geometry = message.geometry, let request = received.descriptor("request"),
            let reply = received.descriptor("reply")
        else { throw .message("attach without geometry or memories") }
        let server = try ChannelServer(
            number: message.channel, geometry: geometry, request: request, reply: reply,
            incarnation: start.incarnation, serverBell: received.descriptor("server-bell"),
            clientBell: received.descriptor("client-bell"))
        let epoch = UInt32(truncatingIfNeeded: message.number)
        let (dispatcher, crash) = (dispatcher, crash)
        let recovered = dispatcher.scheme.recoveredSequence
        // A channel that is attached again under its number replaces the one before.
        detach(message.channel)
        start.host.add(server)
        var threads: [JoinHandle] = []
        do throws(Errno) {
            for worker in 0..<workers {
                threads.append(
                    try spawnThread(name: "worker-\(message.channel).\(worker)") {
                        guard
                            server.begin(
                                epoch: epoch, whenBegun: { server.announce(recoveredSequence: recovered) })
                        else { return }
                        ChannelWorker(server, dispatcher, worker: worker, crash: crash).run()
                    })
            }
        } catch {
            server.stop()
            start.host.remove(server)
            throw .system(error, call: "pthread_create")
        }
        attached.withLock { $0[message.channel] = Attached(server: server, threads: threads) }
    }

    private func detach(_ number: UInt32) {
        guard let attached = attached.withLock({ $0.removeValue(forKey: number) }) else { return }
        attached.server.stop()
        for thread in attached.threads { thread.join() }
        dispatcher.forget(channel: attached.server)
        start.host.remove(attached.server)
    }

    private func finish() -> Bool {
        for number in attached.withLock({ Array($0.keys) }) {
            let server = attached.withLock { $0[number]?.server }
            detach(number)
            server?.announceFinished()
        }
        do throws(Errno) {
            try dispatcher.administer { (scheme) throws(Errno) in try scheme.finish() }
            return true
        } catch {
            start.host.log("finish: \(error)")
            return false
        }
    }
}

/// A thread that serves a channel.
public struct ChannelWorker: Sendable {
    private let server: ChannelServer
    private let dispatcher: Dispatcher
    private let worker: Int
    private let crash: CrashPlan?
    private let scratch = AlignedBuffer(byteCount: CallNames.scratchBytes)

    /// A worker; its number marks the request that it has in hand.
    public init(_ server: ChannelServer, _ dispatcher: Dispatcher, worker: Int, crash: CrashPlan? = nil) {
        self.server = server
        self.dispatcher = dispatcher
        self.worker = worker
        self.crash = crash
    }

    /// Serves until the channel is stopped.
    ///
    /// A quick request is answered in the lead: nobody else is woken for it. With one that takes long the lead goes to the next
    /// thread, if there is one. A replay is answered in the lead, as it must be in order.
    public func run() {
        while true {
            var long: IncomingRequest?
            let goesOn = server.lead(worker: worker) { request in
                if !request.isReplay, Self.takesLong(request) {
                    long = request
                    return false
                }
                if crash?.intercepts(request, server) != true {
                    dispatcher.handle(request, from: server, scratch: scratch)
                }
                return true
            }
            guard goesOn, let long else { return }
            if crash?.intercepts(long, server) == true { continue }
            dispatcher.handle(long, from: server, scratch: scratch)
        }
    }

    private static func takesLong(_ request: IncomingRequest) -> Bool {
        switch request.opcode {
        case .fsync, .fsyncdir, .syncfs, .commit, .flush, .fallocate, .copyFileRange, .ioctl, .call: true
        case .read: request.length > 32768
        case .write: request.payloadByteCount > 32768 || request.entry.flags.contains(.afterFlush)
        default: false
        }
    }
}
