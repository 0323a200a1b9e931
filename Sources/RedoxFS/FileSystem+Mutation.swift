import DiskFormat
import Platform

extension FileSystem {
    /// How many of the newest generations stay readable as long as an early commit can make room instead.
    private static let keptGenerations = 8

    /// What was tried to make room for an operation.
    private enum RoomStage {
        /// Nothing yet.
        case start
        /// The commit under way is on disk.
        case settled
        /// Everything dirty was committed, so that worst cases became what is really needed.
        case committed
    }

    /// How an attempt went.
    private enum Attempt<Result> {
        case done(Result)
        /// Too much is dirty: a commit comes first.
        case mustSeal
    }

    /// How an operation that changes something is to be run.
    enum ChangeKind {
        /// The first of its request, or one that the request can be repeated behind.
        case usual
        /// The request has a number that isn't told yet: a commit that contains it waits until it is, so this must not wait for a
        /// commit.
        case afterwards
        /// As `afterwards`, a step of freeing a node: see `EngineState.isReleasing`.
        case release
    }

    /// Runs an operation that changes something: on what is in memory, again after each load and whenever room was made.
    ///
    /// If too much is dirty, a commit is put together before the operation, while it has no number yet.
    func change<Result>(
        _ context: inout RequestContext, _ kind: ChangeKind = .usual,
        _ body: (inout EngineState, inout RequestContext) throws(Fault) -> Result
    ) throws(FileSystemError) -> Result {
        guard !isReadOnly else { throw .readOnly }
        var stage = RoomStage.start
        var maySeal = kind == .usual
        while true {
            do throws(Fault) {
                let attempt = try state.wait(on: changed) { (state) throws(Fault) -> Attempt<Result>? in
                    guard !state.isClosed else { throw .failed(.closed) }
                    if state.isSealing || (state.isReleasing && kind != .release) { return nil }
                    if kind == .usual, state.dirtyBytes > options.dirtyBytes {
                        if state.sealed != nil {
                            // Somebody writes: wait. Nobody does: it failed, and must be tried again first.
                            if state.isWriting { return nil }
                            throw .unwritten
                        }
                        if maySeal { return .mustSeal }
                    }
                    if kind == .usual { state.deleteDue() }
                    state.plan.begin()
                    return .done(try body(&state, &context))
                }
                if case .done(let result) = attempt { return result }
                sealIfNeeded()
                maySeal = false
            } catch {
                switch error {
                case .load(let loads): try load(loads)
                case .failed(let failure): throw failure
                case .attributes(let node, let pointer): try loadAttributes(node, pointer)
                case .parent(let directory): _ = try parent(of: directory)
                case .unwritten: try settle()
                case .noSpace:
                    if deleteDeparted() { continue }
                    switch kind {
                    case .usual: try makeRoom(&stage)
                    case .release where state.withLock({ $0.space.releaseOldest(keeping: 0) }): break
                    case .release, .afterwards: throw .noSpace
                    }
                }
            }
        }
    }

    /// Deletes what departed, for its space. False if there is nothing.
    private func deleteDeparted() -> Bool {
        // A commit that is being put together has begun with that.
        state.withLock { $0.isSealing ? false : $0.deleteDeparted() }
    }

    /// Tries the next thing that can make room. Throws when there is nothing left.
    private func makeRoom(_ stage: inout RoomStage) throws(FileSystemError) {
        switch stage {
        case .start:
            try settle()
            stage = .settled
        case .settled:
            if state.withLock({ $0.space.releaseOldest(keeping: Self.keptGenerations) }) { return }
            let wanted = state.withLock { $0.changes }
            _ = try commit(changes: wanted, squash: false)
            stage = .committed
        case .committed:
            guard state.withLock({ $0.space.releaseOldest(keeping: 0) }) else { throw .noSpace }
        }
    }

    /// Waits until no commit is under way; writes the one that failed.
    private func settle() throws(FileSystemError) {
        let failed = state.wait(on: changed) { state -> SealedCommit?? in
            if state.isSealing || state.isWriting { return nil }
            guard let commit = state.sealed else { return .some(nil) }
            state.isWriting = true
            return .some(commit)
        }
        if let failed { try write(failed) }
    }
}
