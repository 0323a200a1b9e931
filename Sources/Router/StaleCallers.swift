import Platform
import Synchronization

// Linux finds a file by its name and asks for it by its number then. If it is gone by that time (ESTALE), Linux looks the name up once
// more, and gives up if that one is gone, too: not often enough where many replace the same names, or the server dies in between. So the
// second look is made good: what it finds is kept open by the router until it was asked for.
//
//      application   open("name")
//      kernel        OPEN node 7    -> ESTALE: was replaced    `StaleCallers.add`
//                    LOOKUP "name"  -> node 9                  `SchemeRoute.keepOpen`; if that is gone, too, it is looked up again
//                    OPEN node 9    -> is there, whoever removed it    `StaleCallers.remove`, `SchemeRoute.letGo`
//
// A file that is kept stands among the open files as any other: so it stays when the server or the router dies, and a server that repeats
// changes comes to the same numbers. What nobody asks for after all is let go some seconds later (`SchemeRoute.closeKept`).

/// A file that is kept open.
public struct KeptFile: Sendable {
    /// Where.
    let route: SchemeRoute
    /// The kernel's number of it.
    let node: UInt64
    /// The router's own handle of it.
    let handle: UInt64

    /// A file with a handle of `SchemeRoute.keepOpen`.
    public init(route: SchemeRoute, node: UInt64, handle: UInt64) {
        self.route = route
        self.node = node
        self.handle = handle
    }

    /// Lets it go. Doesn't wait for the server.
    public func letGo() { route.submitClose(node: route.numbers.server(node), handle: handle) }
}

/// Who was told a moment ago that a node is gone, and looks its name up again.
public final class StaleCallers: Sendable {
    /// For how long, in nanoseconds: more than it takes to bring up a server that died.
    private static let span: UInt64 = 1_000_000_000
    /// So many are remembered at most.
    private static let limit = 64
    /// Files that are kept for one of them, at most: the links on the way to a file, and looks that came too late.
    private static let keptLimit = 6

    private struct Caller {
        /// The thread's number.
        let process: UInt32
        let time: UInt64
        var kept: [KeptFile] = []
    }

    private let callers = Locked<[Caller]>([])
    private let count = Atomic<Int>(0)

    /// Nobody.
    public init() {}

    /// A thread was told.
    public func add(_ process: UInt32) {
        let now = Clock.monotonicNanoseconds()
        change { callers in
            callers.removeAll { now &- $0.time > Self.span }
            var caller = Caller(process: process, time: now)
            if let index = callers.firstIndex(where: { $0.process == process }) {
                caller.kept = callers.remove(at: index).kept
            }
            if callers.count == Self.limit { callers.removeFirst() }
            callers.append(caller)
        }
    }

    /// Whether a thread was told lately.
    public func contains(_ process: UInt32) -> Bool {
        guard count.load(ordering: .relaxed) > 0 else { return false }
        let now = Clock.monotonicNanoseconds()
        return callers.withLock { $0.contains { $0.process == process && now &- $0.time <= Self.span } }
    }

    /// A file is kept for a thread. Returns what may go instead: one that looks up more and more isn't after the first.
    public func keep(_ file: KeptFile, for process: UInt32) -> [KeptFile] {
        var others: [KeptFile] = []
        change { callers in
            guard let index = callers.firstIndex(where: { $0.process == process }) else { return others = [file] }
            callers[index].kept.append(file)
            if callers[index].kept.count > Self.keptLimit { others = callers.remove(at: index).kept }
        }
        return others
    }

    /// A thread has asked for a node: if that was kept for it, it has what it looked for, and all that was kept for it may go.
    public func remove(_ process: UInt32, _ node: UInt64) -> [KeptFile] {
        guard count.load(ordering: .relaxed) > 0 else { return [] }
        var kept: [KeptFile] = []
        change { callers in
            let index = callers.firstIndex { $0.process == process && $0.kept.contains { $0.node == node } }
            guard let index else { return }
            kept = callers.remove(at: index).kept
        }
        return kept
    }

    private func change(_ body: (inout [Caller]) -> Void) {
        callers.withLock { callers in
            body(&callers)
            count.store(callers.count, ordering: .relaxed)
        }
    }
}
