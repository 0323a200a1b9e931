import SchemeProtocol

/// What a trace has learnt of the names of one scheme's nodes.
struct TracePaths {
    private struct Place {
        let parent: UInt64
        let name: String
    }

    private struct Name: Hashable {
        let parent: UInt64
        let name: String
    }

    private var places: [UInt64: Place] = [:]
    private var nodes: [Name: UInt64] = [:]

    private static let limit = 200_000
    private static let depthLimit = 64
    private static let root: UInt64 = 1

    /// The names in an event; one that was cut off ends in three points.
    private static func names(_ event: TraceEvent) -> (first: String, second: String?) {
        let count = Int(clamping: event.nameByteCount)
        func text(_ bytes: ArraySlice<UInt8>) -> String {
            // A name in a trace must not move the cursor.
            String(String(decoding: bytes, as: UTF8.self).map { $0.isNewline || $0.asciiValue ?? 32 < 32 ? "?" : $0 })
        }
        if count > event.text.count { return (text(event.text[...]) + "...", nil) }
        let rest = event.text[count...]
        return (text(event.text[..<count]), rest.isEmpty ? nil : text(rest))
    }

    /// The path of a node, or its number.
    private func path(_ node: UInt64) -> String {
        var parts: [String] = []
        var current = node
        while current != Self.root {
            guard let place = places[current], parts.count < Self.depthLimit else {
                return (["#\(current)"] + parts.reversed()).joined(separator: "/")
            }
            parts.append(place.name)
            current = place.parent
        }
        return "/" + parts.reversed().joined(separator: "/")
    }

    /// What a request is about: the path of its node, or of the name in it.
    func place(_ event: TraceEvent, _ opcode: Opcode) -> String {
        if event.node == 0, event.text.isEmpty { return "" }
        let own = event.node == 0 ? "" : path(event.node)
        guard !event.text.isEmpty else { return own }
        let (first, second) = Self.names(event)
        switch opcode {
        case .setxattr, .getxattr, .removexattr: return "\(own), \(first)"
        case .symlink: return join(own, first) + (second.map { " -> \($0)" } ?? "")
        case .rename: return join(own, first) + (second.map { " -> \(join(path(event.found), $0))" } ?? "")
        case .link: return "\(own) -> \(first)"
        default: return join(own, first)
        }
    }

    private func join(_ folder: String, _ name: String) -> String {
        folder.isEmpty || folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
    }

    /// Takes in what the answer says about names.
    mutating func learn(_ event: TraceEvent, _ opcode: Opcode) {
        guard event.result >= 0, !event.text.isEmpty else { return }
        let names = Self.names(event)
        let name = Name(parent: event.node, name: names.first)
        switch opcode {
        case .lookup, .create, .mkdir, .mknod, .symlink:
            guard event.found != 0 else { return }
            if places.count >= Self.limit {
                places = [:]
                nodes = [:]
            }
            places[event.found] = Place(parent: event.node, name: name.name)
            nodes[name] = event.found
        case .unlink, .rmdir:
            if let node = nodes.removeValue(forKey: name) { places[node] = nil }
        case .rename:
            guard let node = nodes.removeValue(forKey: name) else { return }
            let target = Name(parent: event.found, name: names.second ?? "...")
            if let replaced = nodes[target] { places[replaced] = nil }
            places[node] = Place(parent: target.parent, name: target.name)
            nodes[target] = node
        default: break
        }
    }
}
