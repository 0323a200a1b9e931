import Platform
import Sandbox

extension Supervisor {
    /// Something that status shows has changed.
    func updateStatus() { statusMemory.invalidate() }

    /// Everything about the mount.
    func statusJSON() -> ControlJSON {
        let time = now()
        return .make([
            "pid": .count(processNumber()), "phase": .string("\(phase)"), "source": .string(configuration.source),
            "mountpoint": mount.map { .string($0.request.mountpoint) } ?? .null,
            "root": configuration.router?.settings.first { $0.key == "root" }.map { .string($0.value) } ?? .null,
            "read_only": .bool(isReadOnly),
            "uptime_ms": .count((time - startedAt) / 1_000_000), "files": .array(configuredFiles.map { .string($0) }),
            "processes": .array(members.map { memberJSON($0, time) }),
        ])
    }

    /// The image was opened only to be read.
    private var isReadOnly: Bool {
        members.contains { $0.name == "file" && $0.configuration.settings.contains { $0 == ("read-only", "1") } }
    }

    /// Paths that processes were configured with: images, overlays, sockets.
    private var configuredFiles: [String] { Self.paths(in: members.flatMap { $0.configuration.settings }) }

    /// The paths among settings; a password is none, even if it begins like one.
    static func paths(in settings: [(key: String, value: String)]) -> [String] {
        Set(settings.filter { !secretSettings.contains($0.key) && $0.value.hasPrefix("/") }.map(\.value)).sorted()
    }

    private static let secretSettings: Set<String> = ["password"]

    private func memberJSON(_ member: Member, _ time: UInt64) -> ControlJSON {
        let confinement = member.isAlive ? Confinement(processID: member.pid) : nil
        var reason = ControlJSON.null
        if case .offline(let text) = member.state { reason = .string(text) }
        return .make([
            "name": .string(member.name), "role": .string(member.isRouter ? "router" : "scheme"),
            "state": .string(member.state.name), "reason": reason, "pid": .count(member.pid),
            "incarnation": .count(member.incarnation), "deaths": .count(member.deathCount),
            "serving_ms": member.state == .serving
                ? .count((time - (member.readyAt ?? time)) / 1_000_000) : .null,
            "memory": .count(confinement?.residentBytes ?? 0), "threads": .count(confinement?.threadCount ?? 0),
            "sandbox": sandboxJSON(member, confinement),
            "channels": .array(channelsJSON(of: member)),
            "recoveries": .array(member.timelines.suffix(16).map(\.json)),
        ])
    }

    private func sandboxJSON(_ member: Member, _ confinement: Confinement?) -> ControlJSON {
        .make([
            "user": .count(member.sandbox.identity.outsideUser),
            "seccomp_filters": .count(confinement?.filterCount ?? 0),
            "no_capabilities": .bool(confinement?.hasNoCapabilities ?? false),
            "no_new_privileges": .bool(confinement?.refusesNewPrivileges ?? false),
            "network": .bool(member.configuration.manifest.reachesNetwork),
            "strict": .bool(member.configuration.manifest.requiresStrictFilter),
            "system_calls": .string(member.configuration.manifest.systemCalls.text),
        ])
    }

    private func requestCount(_ channel: Channel) -> UInt64 {
        channel.observer?.statistics.server.values.reduce(0) { $0 &+ $1.count } ?? 0
    }

    private func channelsJSON(of server: Member) -> [ControlJSON] {
        channels.values.filter { $0.server == server.index }.sorted { $0.number < $1.number }.map { channel in
            let report = channel.observer?.server
            return .make([
                "number": .count(channel.number), "client": .string(members[channel.client].name),
                "requests": .count(requestCount(channel)), "waiting": .count(report?.waiting ?? 0),
                "in_hand": .count(report?.marks.count ?? 0),
                "committed": .count(report?.committedSequence ?? 0),
                "applied": .count(report?.appliedSequence ?? 0), "heartbeat": .count(report?.heartbeat ?? 0),
            ])
        }
    }
}
