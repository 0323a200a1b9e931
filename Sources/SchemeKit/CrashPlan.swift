import Glibc
import SchemeProtocol
import SchemeTransport
import Synchronization
import SystemPackage

/// What a server does to itself on request, so that recovery can be seen and tested:
///
/// - `crash` = `exit`: it ends at once;
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
        switch how {
        case "exit": _exit(Self.status)
        case "corrupt-reply": armed.store(Self.corruptReply, ordering: .relaxed)
        case "operation":
            let name = fields.first { $0.key == "operation" }?.value
            guard let opcode = Opcode.allCases.first(where: { $0.name == name }) else { throw .invalidArgument }
            armed.store(UInt32(opcode.rawValue) + 1, ordering: .relaxed)
        default: throw .invalidArgument
        }
        return true
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
