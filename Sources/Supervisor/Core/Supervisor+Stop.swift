import Platform
import SchemeProtocol
import SchemeTransport

// The orderly end:
//
//     stop -> unmounting: the kernel writes back and lets go of the mount, everything still serves
//          -> finishing:  first the router, then each scheme that nobody uses any more: it commits and exits
//          -> ended

extension Supervisor {
    /// Ends the mount, then the processes.
    ///
    /// - Parameters:
    ///   - force: a mount that is busy is taken away all the same (its users get ENOTCONN); else it stays.
    ///   - connection: who asked, and waits for the end or the refusal.
    func stop(force: Bool, for connection: UInt32? = nil) {
        if let connection { stopWaiters.append(connection) }
        switch phase {
        case .starting, .serving: break
        case .unmounting:
            if force { mount?.takeAway() }
            return
        case .finishing, .ended: return
        }
        guard let mount, !mount.isGone else {
            finish()
            return
        }
        phase = .unmounting
        stopDeadline = now() &+ configuration.limits.finish
        mount.beginUnmount(force: force)
        watch(mount.unmountEvent.rawValue, EventToken(.unmount))
        updateStatus()
    }

    func unmountFinished() {
        guard let mount, let outcome = mount.unmountOutcome() else { return }
        unwatch(mount.unmountEvent.rawValue)
        stopDeadline = nil
        switch outcome {
        case nil:
            finish()
        case let error?:
            log("cannot unmount: \(error)")
            phase = .serving
            answerStopWaiters(failure: "\(error)")
            updateStatus()
        }
    }

    /// The kernel has let go of the mount without us: umount(8), or an abort.
    func mountEnded() {
        guard let mount, !mount.isGone else { return }
        unwatch(mount.descriptor.rawValue)
        mount.isGone = true
        log("the mount has ended")
        if phase == .starting || phase == .serving { finish() }
    }

    func stopDeadlinePassed() {
        switch phase {
        case .unmounting:
            log("the mount does not end by itself and is taken away")
            mount?.takeAway()
            finish()
        case .finishing:
            log("not everything finished in time")
            for member in members where member.isAlive { kill(member, because: "did not finish in time") }
        default: break
        }
    }

    /// Ends the processes, users before the used.
    private func finish() {
        guard phase != .finishing, phase != .ended else { return }
        if let mount { unwatch(mount.descriptor.rawValue) }
        phase = .finishing
        for member in members { dropSpare(member) }
        stopDeadline = now() &+ configuration.limits.finish
        for member in members {
            if case .waiting = member.state { member.state = .finished }
            if member.state == .idle { member.state = .finished }
        }
        finishNext()
        updateStatus()
    }

    /// Tells those to finish that nobody uses any more.
    func finishNext() {
        for member in members where member.state == .serving || member.state == .starting {
            let isUsed = members.contains { other in
                other.isAlive && other.index != member.index
                    && (other.isRouter && member.configuration.isVisible
                        || other.configuration.uses.contains(member.name))
            }
            if !isUsed { tellToFinish(member, afterwards: .stay) }
        }
    }

    func tellToFinish(_ member: Member, afterwards: AfterFinish) {
        member.state = .finishing
        member.afterFinish = afterwards
        member.deadline = now() &+ configuration.limits.finish
        if member.deathCause == nil { member.deathCause = ("told to finish", now()) }
        if !ask(member, ControlMessage(.finish), .nobody) { kill(member, because: "could not be told to finish") }
    }

    /// Nothing is left.
    func finishEnd() {
        phase = .ended
        answerStopWaiters(failure: nil)
        mount?.forgetCleanup()
        log("everything has ended")
    }
}
