import Platform
import Router
import SchemeProtocol

/// Passes the servers' events on to the kernel.
final class KernelNotifications: Sendable {
    /// Nodes whose data the kernel is to be told of, and whether a thread does.
    private struct Invalidations {
        var nodes: Set<UInt64> = []
        var hasThread = false

        /// The next node; nil ends the thread.
        mutating func next() -> UInt64? {
            hasThread = !nodes.isEmpty
            return nodes.popFirst()
        }
    }

    /// Nil while there is no session.
    let notifier = Locked<FuseNotifier?>(nil)
    private let invalidations = Locked(Invalidations())

    /// A server told of an event.
    func pass(_ event: EventEntry, of route: SchemeRoute) {
        guard let notifier = notifier.withLock({ $0 }) else { return }
        switch EventEntry.Kind(rawValue: event.kind) {
        case .ready:
            let number = route.wakeHandle(event.handle)
            if number != 0 { notifier.poll(wakeHandle: number) }
        case .invalidateData, .invalidateDirectory:
            route.forgetAnswers()
            if let node = route.numbers.kernel(event.node) { invalidate(node, notifier) }
        case nil: break
        }
    }

    /// Tells the kernel to ask for a node's attributes before it uses them again. It waits for nobody, and what it keeps of the contents
    /// stays.
    func forgetAttributes(_ node: UInt64) {
        notifier.withLock { $0 }?.forgetAttributes(node: node)
    }

    /// Tells the kernel that what it keeps of a node is no longer right. It first writes back pages that a mapping changed, and waits
    /// for the server to take them: so on a thread of its own, never on one that others wait for.
    private func invalidate(_ node: UInt64, _ notifier: FuseNotifier) {
        let mustStart = invalidations.withLock { state in
            state.nodes.insert(node)
            defer { state.hasThread = true }
            return !state.hasThread
        }
        guard mustStart else { return }
        do {
            try spawnThread(name: "invalidate", stackSize: 256 << 10) { [invalidations] in
                while let node = invalidations.withLock({ $0.next() }) { notifier.invalidate(node: node) }
            }
        } catch {
            // Without a thread the kernel goes on with what it has.
            invalidations.withLock { $0 = Invalidations() }
        }
    }
}
