import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import Synchronization
import SystemPackage

/// What a server does to itself on request, so that recovery can be seen and tested:
///
/// - `crash` = `exit`: it ends at once;
/// - `crash` = `signal`, `signal` = NUMBER: it does what that signal is for, and dies of it;
/// - `crash` = `operation`, `operation` = NAME: it ends inside the next request of that kind, before it is answered;
/// - `crash` = `corrupt-reply`: instead of the next answer it posts one that makes no sense.
///
/// Costs each request one load of a word that nobody writes.
public final class CrashPlan: Sendable {
    private static let nothing: UInt32 = 0
    private static let corruptReply: UInt32 = .max
    /// The status of a process that ended itself.
    private static let status: Int32 = 70

    /// Nothing, the opcode plus one, or the corrupt reply.
    private let armed = Atomic<UInt32>(nothing)

    /// No crash is planned.
    public init() {}

    /// Whether the settings are about a crash; it is carried out or planned then.
    func take(_ fields: [ControlMessage.Field]) throws(Errno) -> Bool {
        guard let how = fields.first(where: { $0.key == "crash" })?.value else { return false }
        try Self.dieIfTold(fields)
        switch how {
        case "corrupt-reply": armed.store(Self.corruptReply, ordering: .relaxed)
        case "operation":
            let name = fields.first { $0.key == "operation" }?.value
            guard let opcode = Opcode.allCases.first(where: { $0.name == name }) else { throw .invalidArgument }
            armed.store(UInt32(opcode.rawValue) + 1, ordering: .relaxed)
        default: throw .invalidArgument
        }
        return true
    }

    /// Dies at once if that is what the settings say: what a process that is no scheme's server can do, too.
    ///
    /// - Throws: EINVAL for a signal that there is no fault for.
    public static func dieIfTold(_ fields: [ControlMessage.Field]) throws(Errno) {
        switch fields.first(where: { $0.key == "crash" })?.value {
        case "exit": _exit(status)
        case "signal":
            ProcessFault.die(by: fields.first { $0.key == "signal" }.flatMap { Int32($0.value) } ?? 0)
            throw .invalidArgument
        default: break
        }
    }

    /// Before a request is handled. True if it has got its answer already.
    @inline(__always)
    func intercepts(_ request: IncomingRequest, _ server: ChannelServer) -> Bool {
        let plan = armed.load(ordering: .relaxed)
        return plan == Self.nothing ? false : act(plan, request, server)
    }

    private func act(_ plan: UInt32, _ request: IncomingRequest, _ server: ChannelServer) -> Bool {
        if plan == Self.corruptReply {
            armed.store(Self.nothing, ordering: .relaxed)
            server.postNonsense()
            return true
        }
        if plan == UInt32(request.opcode.rawValue) + 1 { _exit(Self.status) }
        return false
    }
}
