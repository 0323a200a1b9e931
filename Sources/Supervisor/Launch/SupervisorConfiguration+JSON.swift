import Platform
import Sandbox
import SystemPackage

// How a configuration travels to the supervisor's process: as JSON, with the descriptors as numbers.

/// A configuration that can't be read; the text says what is wrong with it.
public struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public let description: String
    init(_ description: String) { self.description = description }
}

extension SupervisorConfiguration {
    /// As JSON. The descriptors' numbers are those of `numbers`, by object.
    func json(number: (SharedDescriptor) -> Int) -> ControlJSON {
        .make([
            "source": .string(source), "spares": .bool(keepsSpares),
            "control": controlSocketPath.map { .string($0) } ?? .null,
            "mount": mount?.json ?? .null, "router": router?.json(number: number) ?? .null,
            "schemes": .array(schemes.map { $0.json(number: number) }),
            "policy": .make([
                "first_delay": .count(policy.firstDelay), "longest_delay": .count(policy.longestDelay),
                "free_deaths": .count(policy.freeDeaths), "death_limit": .count(policy.deathLimit),
                "failed_start_limit": .count(policy.failedStartLimit), "stable_after": .count(policy.stableAfter),
                "debt_per_death": .count(policy.debtPerDeath), "debt_limit": .count(policy.debtLimit),
                "stable_in_debt_after": .count(policy.stableInDebtAfter),
            ]),
            "limits": .make([
                "start": .count(limits.start), "stopped": .count(limits.stopped), "hang": .count(limits.hang),
                "idle": .count(limits.idle), "finish": .count(limits.finish), "watch": .count(limits.watch),
            ]),
        ])
    }

    /// From JSON; takes over the descriptors that it names.
    public init(json: ControlJSON) throws(ConfigurationError) {
        var descriptors: [Int: SharedDescriptor] = [:]
        var schemes: [MemberConfiguration] = []
        for value in json["schemes"]?.array ?? [] {
            schemes.append(try MemberConfiguration(json: value, &descriptors))
        }
        self.init(schemes: schemes)
        if let value = json["router"], value != .null { router = try MemberConfiguration(json: value, &descriptors) }
        if let value = json["mount"], value != .null { mount = try MountRequest(json: value) }
        keepsSpares = json["spares"]?.bool ?? true
        source = json["source"]?.string ?? ""
        controlSocketPath = json["control"]?.string
        if let value = json["policy"] {
            value.read("first_delay", &policy.firstDelay)
            value.read("longest_delay", &policy.longestDelay)
            value.read("free_deaths", &policy.freeDeaths)
            value.read("death_limit", &policy.deathLimit)
            value.read("failed_start_limit", &policy.failedStartLimit)
            value.read("stable_after", &policy.stableAfter)
            value.read("debt_per_death", &policy.debtPerDeath)
            value.read("debt_limit", &policy.debtLimit)
            value.read("stable_in_debt_after", &policy.stableInDebtAfter)
        }
        if let value = json["limits"] {
            value.read("start", &limits.start)
            value.read("stopped", &limits.stopped)
            value.read("hang", &limits.hang)
            value.read("idle", &limits.idle)
            value.read("finish", &limits.finish)
            value.read("watch", &limits.watch)
        }
    }
}

extension ControlJSON {
    /// Changes the number if the member is there and fits.
    fileprivate func read<Number: FixedWidthInteger>(_ name: String, _ number: inout Number) {
        if let value = self[name]?.integer, let fitting = Number(exactly: value) { number = fitting }
    }

    fileprivate func required(_ name: String) throws(ConfigurationError) -> String {
        guard let text = self[name]?.string else { throw ConfigurationError("\(name) is missing") }
        return text
    }
}

extension MountRequest {
    fileprivate var json: ControlJSON {
        .make([
            "mountpoint": .string(mountpoint), "source": .string(source),
            "options": .array(options.map { .string($0) }), "cleanup": cleanupProgram.map { .string($0) } ?? .null,
        ])
    }

    fileprivate init(json: ControlJSON) throws(ConfigurationError) {
        self.init(
            mountpoint: try json.required("mountpoint"), source: try json.required("source"),
            options: (json["options"]?.array ?? []).compactMap(\.string), cleanupProgram: json["cleanup"]?.string)
    }
}

extension MemberConfiguration {
    fileprivate func json(number: (SharedDescriptor) -> Int) -> ControlJSON {
        .make([
            "name": .string(name), "program": .string(executablePath), "manifest": manifest.json,
            "uses": .array(uses.map { .string($0) }), "visible": .bool(isVisible),
            "essential": .bool(isEssential), "socket_files": .array(socketFiles.map { .string($0) }),
            "arguments": .array(arguments.map { .string($0) }),
            "settings": .object(settings.map { ControlJSON.Member($0.key, .string($0.value)) }),
            "descriptors": .object(
                descriptors.map { ControlJSON.Member($0.name, .count(number($0.descriptor))) }),
            "endpoints": .object(endpoints.map { ControlJSON.Member($0.name, .string($0.endpoint.text)) }),
        ])
    }

    fileprivate init(
        json: ControlJSON, _ descriptors: inout [Int: SharedDescriptor]
    ) throws(ConfigurationError) {
        let name = try json.required("name")
        self.init(
            name: name, executablePath: try json.required("program"),
            manifest: try Manifest(name: name, json: json["manifest"] ?? .null),
            uses: (json["uses"]?.array ?? []).compactMap(\.string), isVisible: json["visible"]?.bool ?? true)
        isEssential = json["essential"]?.bool ?? true
        socketFiles = (json["socket_files"]?.array ?? []).compactMap(\.string)
        arguments = (json["arguments"]?.array ?? []).compactMap(\.string)
        settings = (json["settings"]?.members ?? []).map { (key: $0.name, value: $0.value.string ?? $0.value.text) }
        for member in json["endpoints"]?.members ?? [] {
            guard let endpoint = member.value.string.flatMap({ SocketEndpoint(text: $0) }) else {
                throw ConfigurationError("endpoint \(member.name) of \(name)")
            }
            endpoints.append((member.name, endpoint))
        }
        for member in json["descriptors"]?.members ?? [] {
            guard let number = member.value.integer, let raw = Int32(exactly: number), raw > 4 else {
                throw ConfigurationError("descriptor \(member.name) of \(name)")
            }
            let descriptor = descriptors[Int(raw)] ?? SharedDescriptor(adopting: raw)
            descriptors[Int(raw)] = descriptor
            self.descriptors.append((member.name, descriptor))
        }
    }
}

extension Manifest {
    fileprivate var json: ControlJSON {
        .make([
            "calls": .string(systemCalls.text), "network": .bool(reachesNetwork), "strict": .bool(requiresStrictFilter),
            "binds": .array(
                binds.map { .make(["path": .string($0.path), "directory": .bool($0.isDirectory)]) }),
            "paths": .array(
                paths.map { .make(["path": .string($0.path), "access": .count($0.access.rawValue)]) }),
            "memory": .count(limits.memoryBytes), "address_space": .count(limits.addressSpaceBytes),
            "threads": .count(limits.threads), "descriptors": .count(limits.descriptors),
            // The largest number means no limit; JSON's numbers end before it.
            "file_size": limits.fileBytes == .max ? .null : .count(limits.fileBytes),
            "locked": limits.lockedBytes.map { .count($0) } ?? .null,
        ])
    }

    fileprivate init(name: String, json: ControlJSON) throws(ConfigurationError) {
        guard let calls = SystemCallSet(text: json["calls"]?.string ?? "base") else {
            throw ConfigurationError("system calls of \(name)")
        }
        self.init(name: name, systemCalls: calls)
        if json["network"]?.bool == true { namespaces = .all.subtracting(.network) }
        requiresStrictFilter = json["strict"]?.bool ?? true
        for bind in json["binds"]?.array ?? [] {
            binds.append(ReadOnlyBind(path: try bind.required("path"), isDirectory: bind["directory"]?.bool ?? true))
        }
        for rule in json["paths"]?.array ?? [] {
            let access = rule["access"]?.integer.flatMap { UInt64(exactly: $0) } ?? 0
            paths.append(PathRule(try rule.required("path"), PathAccess(rawValue: access)))
        }
        json.read("memory", &limits.memoryBytes)
        json.read("address_space", &limits.addressSpaceBytes)
        json.read("threads", &limits.threads)
        json.read("descriptors", &limits.descriptors)
        json.read("file_size", &limits.fileBytes)
        var locked: UInt64 = .max
        json.read("locked", &locked)
        if locked != .max { limits.lockedBytes = locked }
    }
}
