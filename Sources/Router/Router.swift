import Platform
import SchemeProtocol
import SchemeTransport
import Synchronization
import SystemPackage

/// The registry of schemes, and what the router knows about the mount.
public final class Router: Sendable {
    /// How a router works.
    public struct Options: Sendable {
        /// The scheme at the mount point itself; nil: a directory for each scheme.
        public var rootScheme: String?
        /// Faults for tests.
        public var faults: RouterFaults = []
        /// Where the process ends itself, for tests.
        public var crashPoints: CrashPoints?
        /// Of this process.
        public var incarnation: UInt32 = 1
        /// What the supervisor tells of itself, as JSON.
        public var supervisorStatus: (@Sendable () -> String?)?
        /// Where completed requests are put while somebody traces.
        public var trace: TraceRing?
        /// A name for the mount.
        public var mountName = ""

        /// A directory for each scheme.
        public init() {}
    }

    private struct State {
        var routes: [Int: SchemeRoute] = [:]
    }

    /// How it works.
    public let options: Options
    /// When this process began to serve, in monotonic nanoseconds.
    public let startedAt = Clock.monotonicNanoseconds()
    private let state = Locked(State())
    private let willBlock: @Sendable (Bool) -> Bool
    private let handlers = Locked<[@Sendable (SchemeRoute, EventEntry) -> Void]>([])

    /// A router without schemes.
    ///
    /// - Parameter willBlock: called on a thread that asks a scheme, before it waits for long; true: what the kernel sent is
    ///   still needed. Returns false if it must not wait for ever.
    public init(_ options: Options, willBlock: @escaping @Sendable (Bool) -> Bool = { _ in true }) {
        self.options = options
        self.willBlock = willBlock
    }

    deinit {
        // The routes' events go by way of the registry.
        state.withLock { $0.routes = [:] }
    }

    /// Calls the body with each event of a server from now on.
    public func onEvent(_ body: @escaping @Sendable (SchemeRoute, EventEntry) -> Void) {
        handlers.withLock { $0.append(body) }
    }

    /// Adds a scheme. Its requests wait until `SchemeRoute.recover` has brought its server up.
    ///
    /// - Parameters:
    ///   - isAdopted: a dead router used the channel: its requests are taken over.
    ///   - isServing: a server is there and knows the channel: nothing is to be recovered.
    /// - Throws: EINVAL if the channel's number is too large.
    public func add(
        _ description: SchemeDescription, _ client: ChannelClient, isAdopted: Bool, isServing: Bool
    ) throws(Errno) -> SchemeRoute {
        let isRoot = description.name == options.rootScheme
        let index = isRoot ? 0 : Int(description.channel) + 1
        guard index <= NodeNumbers.maximumIndex else { throw .invalidArgument }
        let route = SchemeRoute(
            index: index, description, client, isAdopted: isAdopted, faults: options.faults, trace: options.trace,
            points: options.crashPoints, willBlock: willBlock
        ) { [state, handlers] event in
            // Not the router itself, weakly or not: it is asked for a route with each request, and weak references make that slow.
            guard let route = state.withLock({ $0.routes[index] }) else { return }
            for handler in handlers.withLock({ $0 }) { handler(route, event) }
        }
        if isServing {
            route.incarnation.store(client.server.incarnation, ordering: .sequentiallyConsistent)
        } else {
            route.holdBack()
        }
        state.withLock { $0.routes[index] = route }
        return route
    }

    /// The scheme of a number.
    public func route(_ index: Int) -> SchemeRoute? { state.withLock { $0.routes[index] } }

    /// The scheme of a name.
    public func route(named name: String) -> SchemeRoute? {
        state.withLock { state in state.routes.values.first { $0.description.name == name } }
    }

    /// The scheme of a channel.
    public func route(channel: UInt32) -> SchemeRoute? {
        state.withLock { state in state.routes.values.first { $0.description.channel == channel } }
    }

    /// All schemes, by number.
    public var routes: [SchemeRoute] {
        state.withLock { state in state.routes.values.sorted { $0.index < $1.index } }
    }

    /// The reply to the thread's request has reached the kernel, or nobody waits for it: its record may go.
    public func didReply() {
        options.crashPoints?.reached(.replied)
        let waiter = Waiter.current
        guard let last = waiter.unreplied else { return }
        waiter.unreplied = nil
        last.client.release(tag: last.tag)
    }

    /// Looks after all routes; to be called every few seconds.
    public func tend() {
        for route in routes { route.tend() }
    }

    /// Makes everything durable.
    public func commitAll() {
        for route in routes { route.commit() }
    }
}
