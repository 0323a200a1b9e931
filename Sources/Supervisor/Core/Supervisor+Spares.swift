import Glibc
import Platform
import Sandbox
import SchemeProtocol
import SchemeTransport
import SystemPackage

// A spare is the next incarnation, started ahead of time: its sandbox stands, its program runs and waits for `configure`, which it
// gets at the moment when it is needed. That takes what is slow out of a recovery: namespaces, mounts, execve. It is made
// some time after a recovery, not in it; a process that dies before it has a spare is started anew.

/// A process in its sandbox that hasn't been told what it is.
final class Spare {
    let process: StartedProcess
    let control: ControlSocket
    let incarnation: UInt32

    init(_ process: StartedProcess, _ control: ControlSocket, incarnation: UInt32) {
        self.process = process
        self.control = control
        self.incarnation = incarnation
    }
}

extension Supervisor {
    /// From the time when a process serves until its successor is prepared.
    private static let spareDelay: UInt64 = 100_000_000
    /// After a spare that ended by itself.
    private static let spareRetryDelay: UInt64 = 5_000_000_000

    /// When a member's spare is to be made; nil: it has one, or needs none now.
    func spareDue(_ member: Member) -> UInt64? {
        guard configuration.keepsSpares, phase == .serving, member.state == .serving, member.spare == nil,
            let readyAt = member.readyAt
        else { return nil }
        return max(readyAt &+ Self.spareDelay, member.nextSpareAt)
    }

    func makeSpare(_ member: Member) {
        do {
            let (ours, theirs) = try ControlSocket.pair()
            let incarnation = member.incarnation &+ 1
            let process = try createProcess(member, incarnation: incarnation, socket: theirs, isSpare: true)
            member.spare = Spare(process, ours, incarnation: incarnation)
            watch(
                process.starting.process.descriptor.rawValue,
                EventToken(.spare, member.index, incarnation: incarnation))
        } catch {
            log("\(member.name): no spare: \(error)")
            member.nextSpareAt = now() &+ Self.spareRetryDelay
        }
    }

    /// The spare for this incarnation, if there is one; it is the caller's then.
    func takeSpare(_ member: Member, incarnation: UInt32) -> Spare? {
        guard let spare = member.spare else { return nil }
        member.spare = nil
        unwatch(spare.process.starting.process.descriptor.rawValue)
        if spare.incarnation == incarnation { return spare }
        end(spare)
        return nil
    }

    /// Tells a spare what it is; false if it is no good.
    func isConfigured(_ spare: Spare, _ member: Member) -> Bool {
        do throws(ChannelError) {
            try configure(member, through: spare.control)
            return true
        } catch {
            end(spare)
            return false
        }
    }

    func dropSpare(_ member: Member) {
        guard let spare = member.spare else { return }
        member.spare = nil
        unwatch(spare.process.starting.process.descriptor.rawValue)
        end(spare)
    }

    func spareEnded(_ member: Member) {
        guard member.spare != nil else { return }
        dropSpare(member)
        member.nextSpareAt = now() &+ Self.spareRetryDelay
    }

    private func end(_ spare: Spare) {
        try? spare.process.starting.process.send(signal: SIGKILL)
        _ = try? spare.process.starting.process.waitForEnd()
    }
}
