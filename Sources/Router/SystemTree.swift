import Glibc
import Platform
import SchemeProtocol
import SchemeTransport

/// The scheme `sys`: the system about itself, as files in JSON. Computed when they are read.
///
///     router.json             this process
///     schemes.json            one line per scheme: state, incarnation, traffic
///     supervisor.json         the processes: sandboxes, restarts
///     SCHEME/status.json      the scheme: server, channel, log, open files
///     SCHEME/latency.json     times of every kind of request, seen from here and from the server
///     SCHEME/recoveries.json  what each replacement of the server took, in microseconds
public struct SystemTree: Sendable {
    /// A node of the tree.
    public enum Node: Hashable, Sendable {
        case root
        case router
        case schemes
        case supervisor
        case directory(scheme: Int)
        case status(scheme: Int)
        case latency(scheme: Int)
        case recoveries(scheme: Int)
    }

    private let router: Router

    /// The tree of a router.
    public init(_ router: Router) {
        self.router = router
    }

    /// A node's number; numbers stay the same from router to router.
    public static func number(_ node: Node) -> UInt64 {
        switch node {
        case .root: 1
        case .router: 2
        case .schemes: 3
        case .supervisor: 4
        case .directory(let scheme): UInt64(scheme) << 8 | 16
        case .status(let scheme): UInt64(scheme) << 8 | 17
        case .latency(let scheme): UInt64(scheme) << 8 | 18
        case .recoveries(let scheme): UInt64(scheme) << 8 | 19
        }
    }

    /// The node of a number; nil if there is none.
    public static func node(_ number: UInt64) -> Node? {
        switch number {
        case 1: return .root
        case 2: return .router
        case 3: return .schemes
        case 4: return .supervisor
        default: break
        }
        let scheme = Int(truncatingIfNeeded: number >> 8)
        switch number & 0xff {
        case 16: return .directory(scheme: scheme)
        case 17: return .status(scheme: scheme)
        case 18: return .latency(scheme: scheme)
        case 19: return .recoveries(scheme: scheme)
        default: return nil
        }
    }

    /// The entries of a directory; nil for a file or what isn't there.
    public func entries(_ node: Node) -> [(name: String, node: Node)]? {
        switch node {
        case .root:
            return [("router.json", .router), ("schemes.json", .schemes)]
                + (router.options.supervisorStatus == nil ? [] : [("supervisor.json", .supervisor)])
                + router.routes.map { ($0.description.name, .directory(scheme: $0.index)) }
        case .directory(let scheme):
            guard router.route(scheme) != nil else { return nil }
            return [
                ("status.json", .status(scheme: scheme)), ("latency.json", .latency(scheme: scheme)),
                ("recoveries.json", .recoveries(scheme: scheme)),
            ]
        default: return nil
        }
    }

    /// What a file says at the moment; nil for a directory or what isn't there.
    public func contents(_ node: Node) -> String? {
        switch node {
        case .root, .directory: return nil
        case .router: return routerReport.text
        case .schemes: return JSON.array(router.routes.map { summary($0) }).text
        case .supervisor: return router.options.supervisorStatus?()
        case .status(let scheme): return router.route(scheme).map { status($0).text }
        case .latency(let scheme): return router.route(scheme).map { latency($0).text }
        case .recoveries(let scheme): return router.route(scheme).map { recoveries($0).text }
        }
    }

    private var routerReport: JSON {
        .object([
            ("pid", .number(Int64(getpid()))), ("incarnation", .count(UInt64(router.options.incarnation))),
            ("mount", .text(router.options.mountName)),
            ("uptime_microseconds", .count((Clock.monotonicNanoseconds() - router.startedAt) / 1000)),
            ("schemes", .array(router.routes.map { .text($0.description.name) })),
        ])
    }

    private func summary(_ route: SchemeRoute) -> JSON {
        let server = route.channel.server
        return .object([
            ("scheme", .text(route.description.name)), ("channel", .count(UInt64(route.description.channel))),
            ("state", .text(state(route))), ("incarnation", .count(UInt64(server.incarnation))),
            ("restarts", .count(UInt64(max(0, route.timeline.count - 1)))),
            ("requests", .count(requests(route))), ("in_flight", .count(UInt64(route.channel.fill.inFlight))),
        ])
    }

    private func state(_ route: SchemeRoute) -> String {
        if route.timeline.isOffline { return "offline" }
        return switch route.channel.server.status {
        case .none: "absent"
        case .starting: "starting"
        case .serving: "serving"
        case .finished: "finished"
        }
    }

    private func requests(_ route: SchemeRoute) -> UInt64 {
        let statistics = route.channel.statistics
        return Opcode.allCases.reduce(UInt64(0)) { $0 &+ (statistics.client[$1]?.count ?? 0) }
    }

    private func status(_ route: SchemeRoute) -> JSON {
        let server = route.channel.server
        let fill = route.channel.fill
        let violations = route.channel.violations
        return .object([
            ("scheme", .text(route.description.name)), ("state", .text(state(route))),
            ("incarnation", .count(UInt64(server.incarnation))), ("heartbeat", .count(server.heartbeat)),
            ("open_files", .number(Int64(route.openFileCount))),
            (
                "sequence",
                .object([
                    ("recovered", .count(server.recoveredSequence)), ("applied", .count(server.appliedSequence)),
                    ("committed", .count(server.committedSequence)),
                ])
            ),
            (
                "channel",
                .object([
                    ("records", .number(Int64(fill.records))), ("free", .number(Int64(fill.freeRecords))),
                    ("in_flight", .number(Int64(fill.inFlight))), ("log", .number(Int64(fill.retained))),
                    ("payload_pages", .number(Int64(fill.payloadPages))),
                    ("reply_pages", .number(Int64(fill.replyPages))),
                    ("wakeups", .count(fill.rings)),
                ])
            ),
            ("violations", .count(violations.total)),
            (
                "working_on",
                .array(
                    server.marks.map { mark in
                        .object([
                            ("operation", .text(mark.opcode?.name ?? "unknown")), ("tag", .count(UInt64(mark.tag))),
                        ])
                    })
            ),
        ])
    }

    private func latency(_ route: SchemeRoute) -> JSON {
        let statistics = route.channel.statistics
        return .array(
            Opcode.allCases.compactMap { opcode -> JSON? in
                guard let seen = statistics.client[opcode], seen.count > 0 else { return nil }
                var members: [(String, JSON)] = [
                    ("operation", .text(opcode.name)), ("count", .count(seen.count)), ("errors", .count(seen.errors)),
                    ("bytes_in", .count(seen.bytesIn)), ("bytes_out", .count(seen.bytesOut)),
                    ("router_nanoseconds", times(seen)),
                ]
                if let served = statistics.server[opcode] { members.append(("server_nanoseconds", times(served))) }
                return .object(members)
            })
    }

    private func times(_ statistics: OperationStatistics) -> JSON {
        .object([
            ("mean", .count(statistics.totalNanoseconds / max(1, statistics.count))),
            ("p50", .count(statistics.quantile(0.5))), ("p99", .count(statistics.quantile(0.99))),
            ("max", .count(statistics.longestNanoseconds)),
            ("histogram", .array(statistics.histogram.map { .count(UInt64($0)) })),
        ])
    }

    private func recoveries(_ route: SchemeRoute) -> JSON {
        .array(
            route.timeline.entries.map { entry in
                let report = entry.report
                let begin = entry.died == 0 ? entry.started : entry.died
                return .object([
                    ("incarnation", .count(UInt64(report?.incarnation ?? 0))),
                    ("is_first_start", .flag(entry.died == 0)),
                    ("started_after_microseconds", .count((entry.started &- begin) / 1000)),
                    ("resumed_after_microseconds", .count((entry.resumed &- begin) / 1000)),
                    ("handles", .number(Int64(report?.handles ?? 0))),
                    ("replayed", .number(Int64(report?.replayed ?? 0))),
                    ("resubmitted", .number(Int64(report?.resubmitted ?? 0))),
                    ("quarantined", .number(Int64(report?.quarantined ?? 0))),
                    ("mismatches", .number(Int64(report?.mismatches.count ?? 0))),
                ])
            })
    }
}
