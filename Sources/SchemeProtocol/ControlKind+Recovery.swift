// Kinds by which clients and the supervisor speak of recovery.
extension ControlKind {
    /// Client to supervisor: the new server of `channel` was brought up to date; `number` is its incarnation; fields `replayed`,
    /// `resubmitted`, `quarantined`, `mismatches`. Ends the recovery's timeline.
    public static let resumed = ControlKind(rawValue: 64)
    /// Supervisor to a router that follows a dead one: go on with `channel`; descriptors `request`, `reply` and the bells, the field
    /// `scheme`, the field `state` (`serving`, `starting` or `offline`), `number` the server's incarnation. Comes after
    /// `configure`, whose field `adopt` says how many there are. The router copies the request memory and sends `connect` with
    /// the same channel number and the descriptor of its copy.
    public static let adopt = ControlKind(rawValue: 65)
    /// Router to supervisor: the kernel has ended the mount.
    public static let unmounted = ControlKind(rawValue: 66)
    /// Client to supervisor: the server of `channel` must go; field `reason`.
    public static let suspect = ControlKind(rawValue: 67)
}

extension ControlMessage {
    /// Why a server must go whose completions break the rules.
    public static let nonsense = "an answer made no sense"

    /// Has the supervisor replace the server of a channel.
    public static func suspect(_ channel: UInt32, because reason: String) -> ControlMessage {
        ControlMessage(.suspect, channel: channel, fields: [.init("reason", reason)])
    }
}
