import Glibc
import SchemeProtocol
import Synchronization

/// Moments at which a process can be told to end itself, so that recovery is tested just there.
public enum CrashPoint: String, CaseIterable, Sendable {
    /// A server has taken a request that may change something, and done nothing yet.
    case taken
    /// A server has applied a change and not told of it.
    case applied
    /// A server has told of a change.
    case posted
    /// A server is about to repeat a change.
    case repeating
    /// A server has repeated a change.
    case repeated
    /// A file system is about to flush its device, twice in each commit.
    case flushing
    /// A file system has flushed its device.
    case flushed
    /// The router has taken a completion, and who waits for it doesn't know yet.
    case delivered
    /// The router has written a reply to the kernel, and the request's record is still there.
    case replied
    /// The router has handed the open files over to a new server.
    case handedOver
    /// The router has brought a new server up to date, and not written that down.
    case upToDate
}

/// Where a process ends itself. Its setting `crash-plan` names for some incarnations a point and how often it is reached before:
///
///     2=applied:10,3=repeating:0
///
/// The second incarnation then ends when it has applied its eleventh change, the third before the first one that it repeats.
/// A process without the setting has no such object, and a point costs a look at that.
public final class CrashPoints: Sendable {
    private let point: CrashPoint
    private let left: Atomic<Int>

    /// The plan of one incarnation; nil if it has none. A plan that makes no sense is none.
    public init?(plan: String?, incarnation: UInt32) {
        let mine = plan?.split(separator: ",").first { $0.hasPrefix("\(incarnation)=") }
        guard let parts = mine?.split(separator: "=").last?.split(separator: ":"), parts.count == 2,
            let point = CrashPoint(rawValue: String(parts[0])), let count = Int(parts[1])
        else { return nil }
        self.point = point
        left = Atomic(count)
    }

    /// The process has come to a point.
    public func reached(_ point: CrashPoint) {
        guard point == self.point else { return }
        if left.wrappingSubtract(1, ordering: .relaxed).oldValue <= 0 { _exit(ProtocolLimits.plannedCrashStatus) }
    }
}
