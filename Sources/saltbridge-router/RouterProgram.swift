import FuseBridge
import Glibc
import Platform
import Router
import Sandbox
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// The router's process: the FUSE session of a mount and the way to its schemes.
///
/// Started by the supervisor, which holds everything that must outlive it (see the supervisor's documentation for the messages).
/// Settings:
/// - `root` the scheme at the mount point itself; without it each scheme has a directory
/// - `file-systems` names of schemes that only this mount changes, separated by commas (default: `file` and `file.*`)
/// - `write-back` 0 to have every write reach the server at once
/// - `faults` for tests: `no-log`, `no-reply-cache`, separated by commas
///
/// Descriptors: `fuse`, and from the second incarnation on `state`.
@main
struct RouterProgram {
    static func main() {
        guard let text = unsafe getenv(ProcessEnvironment.control), let number = unsafe Int32(String(cString: text)),
            number > 2
        else {
            fail("\(ProcessEnvironment.control) names no control socket: the router is started by the supervisor", nil)
        }
        let socket = ControlSocket(SharedDescriptor(adopting: number))
        if unsafe getenv(ProcessEnvironment.spare) != nil { try? rehearse() }
        do {
            guard let first = try socket.receive(), first.message.kind == .configure else {
                fail("the first message is not the configuration", socket)
            }
            let process = try RouterProcess(socket, first)
            try process.start()
            exit(process.run())
        } catch {
            fail("\(error)", socket)
        }
    }

    /// In a process that was started ahead of time: takes over a channel of its own, so that doing it is quick when it counts.
    private static func rehearse() throws {
        FuseSession.prepare()
        try StrictMode.rehearse()
        let (ours, theirs) = try ControlSocket.pair()
        let dead = try ChannelClient(.small, name: "rehearsal")
        try ours.send(
            ControlMessage(.adopt, channel: 1, geometry: .small, fields: [.init("scheme", "rehearsal")]),
            descriptors: [("request", dead.requestDescriptor.rawValue), ("reply", dead.replyDescriptor.rawValue)])
        if let slot = dead.reserve(payloadBytes: 4096) { dead.submit(slot, SubmissionEntry(.write), payload: 0..<4096) }
        guard let received = try theirs.receive(), let request = received.descriptor("request"),
            let reply = received.descriptor("reply")
        else { return }
        let client = try ChannelClient(adopting: request, reply: reply, geometry: .small, name: "rehearsal")
        let router = Router(Router.Options())
        _ = try router.add(
            SchemeDescription(name: "rehearsal", channel: 1, hasEvents: false), client, isAdopted: true,
            isServing: false)
        _ = RouterBackend(router)
        try spawnThread(name: "rehearsal") {}.join()
    }

    /// Says why and ends: a router never runs half configured.
    private static func fail(_ reason: String, _ socket: ControlSocket?) -> Never {
        _ = unsafe "cannot start: \(reason)\n".withCString { line in unsafe write(2, line, strlen(line)) }
        try? socket?.send(
            ControlMessage(.failed, number: UInt64(EINVAL), fields: [.init("message", reason)]), wait: false)
        exit(78)
    }
}
