import Platform
import SchemeKit

extension NetworkScheme {
    private func text(_ bytes: RawSpan) throws(Errno) -> String {
        let units = (0..<bytes.byteCount).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
        guard let text = String(validating: units, as: UTF8.self) else { throw .noSuchFileOrDirectory }
        return text
    }

    /// What a node is. All names that may be looked up are alike.
    func describe(_ number: NodeNumber) -> NodeAttributes {
        let mode: UInt32 =
            switch number {
            case .directory: ModeBits.directory | 0o700
            case .name(let serial):
                switch memory.name(serial)?.kind {
                case .dns, .echo: ModeBits.regular | 0o400
                default: ModeBits.regular | 0o600
                }
            case .configuration(let place, _):
                if place.isDirectory {
                    ModeBits.directory | 0o500
                } else {
                    ModeBits.regular | (place == .nameServer && options.maySetNameServers ? 0o600 : 0o400)
                }
            case .numbered(_, _, .directory): ModeBits.directory | 0o500
            case .numbered(_, _, .ctl), .numbered(_, _, .data), .numbered(_, _, .listen): ModeBits.regular | 0o600
            case .numbered: ModeBits.regular | 0o400
            }
        let isDirectory = mode & ModeBits.typeMask == ModeBits.directory
        return NodeAttributes(
            node: number.number, mode: mode, links: isDirectory ? 2 : 1, uid: owner.uid, gid: owner.gid)
    }

    /// Finds a name; each look-up of an address gives a node of its own.
    public func lookup(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) -> NodeAttributes
    {
        let name = try text(name)
        switch NodeNumber(parent) {
        case .directory(.root):
            guard let found = rootEntries.first(where: { $0.name == name }) else { throw .noSuchFileOrDirectory }
            return describe(found.node)
        case .directory(.tcp):
            if name == "listen" { return describe(.directory(.tcpListen)) }
            return try member(name, .tcp, clone: .tcpClone, direct: .tcp)
        case .directory(.udp): return try member(name, .udp, clone: .udpClone, direct: .udp)
        case .directory(.tcpListen):
            guard Endpoint(name) != nil else { throw .noSuchFileOrDirectory }
            return remember(.tcpListen, name)
        case .directory(.tls):
            guard let endpoint = Endpoint(name), !endpoint.isAny else { throw .noSuchFileOrDirectory }
            return remember(.tls, name)
        case .directory(.icmp):
            guard name == NodeNumber.Directory.icmpEcho.name else { throw .noSuchFileOrDirectory }
            return describe(.directory(.icmpEcho))
        case .directory(.icmpEcho):
            let text = Self.withPort(name, 0)
            guard let endpoint = Endpoint(text), !endpoint.isAny else { throw .noSuchFileOrDirectory }
            return remember(.echo, text)
        case .directory(.dns):
            guard !name.isEmpty, Endpoint(Self.withPort(name, 1)) != nil else { throw .noSuchFileOrDirectory }
            return remember(.dns, name)
        case .configuration(let place, let interface):
            let found = try configurationEntries(place, interface).first { $0.name == name }
            guard let found else { throw .noSuchFileOrDirectory }
            return describe(found.node)
        case .numbered(let slot, let serial, .directory):
            try state.withLock { state throws(Errno) in _ = try numbered(slot, serial, state) }
            guard let file = NumberedFile.allCases.first(where: { $0 != .directory && $0.name == name }) else {
                throw .noSuchFileOrDirectory
            }
            return describe(.numbered(slot: slot, serial: serial, file: file))
        case .none: throw .staleNFSFileHandle
        default: throw .notDirectory
        }
    }

    /// A host without a port, as an endpoint is written.
    private static func withPort(_ host: String, _ port: UInt16) -> String {
        "\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    private var rootEntries: [(name: String, node: NodeNumber)] {
        [NodeNumber.Directory.tcp, .tls, .udp, .icmp, .dns].map { ($0.name, .directory($0)) }
            + [("netcfg", .configuration(.root, interface: 0))]
    }

    private func member(
        _ name: String, _ kind: ConnectionKind, clone: NameKind, direct: NameKind
    ) throws(Errno) -> NodeAttributes {
        if name == "clone" { return remember(clone, name) }
        if let slot = Int(name) {
            return try state.withLock { state throws(Errno) in
                guard let found = state.connections[slot], memory.isNumbered(slot), found.kind == kind else {
                    throw .noSuchFileOrDirectory
                }
                return describe(.numbered(slot: slot, serial: found.serial, file: .directory))
            }
        }
        guard let endpoint = Endpoint(name), !endpoint.isAny else { throw .noSuchFileOrDirectory }
        return remember(direct, name)
    }

    private func remember(_ kind: NameKind, _ name: String) -> NodeAttributes {
        let serial = state.withLock { _ in memory.addName(kind, name) }
        return describe(.name(serial))
    }

    /// What a node is.
    public func attributes(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) -> NodeAttributes
    {
        guard let number = NodeNumber(node) else { throw .staleNFSFileHandle }
        if case .numbered(let slot, let serial, _) = number {
            try state.withLock { state throws(Errno) in _ = try numbered(slot, serial, state) }
        }
        return describe(number)
    }

    /// Opening with O_TRUNC, as a shell's ">" does, changes nothing here.
    public func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        if changes.changesPermissions { throw .notPermitted }
        return try attributes(node, handle: handle, &context)
    }

    /// Lists what can be listed: numbered connections and listeners.
    public func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing, _ context: inout CallContext
    ) throws(Errno) {
        let entries = try entries(node)
        guard let start = Int(exactly: position), start < entries.count else { return }
        for index in start..<entries.count {
            let attributes = describe(entries[index].node)
            guard listing.append(entries[index].name, at: index, attributes, isShown: withAttributes) else { return }
        }
    }

    private func entries(_ node: UInt64) throws(Errno) -> [(name: String, node: NodeNumber)] {
        switch NodeNumber(node) {
        case .directory(.root): return rootEntries
        case .directory(.icmp): return [(NodeNumber.Directory.icmpEcho.name, .directory(.icmpEcho))]
        case .directory(.tcp):
            return [("clone", cloneEntry), ("listen", .directory(.tcpListen))] + numberedEntries(.tcp)
        case .directory(.udp): return [("clone", cloneEntry)] + numberedEntries(.udp)
        case .directory(.tcpListen):
            return state.withLock { state in
                state.connections.values.filter { $0.kind == .listener }.map {
                    (memory.text($0.slot), .name($0.serial))
                }
                .sorted { $0.0 < $1.0 }
            }
        case .directory(.dns), .directory(.tls), .directory(.icmpEcho): return []
        case .configuration(let place, let interface): return try configurationEntries(place, interface)
        case .numbered(let slot, let serial, .directory):
            return NumberedFile.allCases.filter { $0 != .directory }.map {
                ($0.name, .numbered(slot: slot, serial: serial, file: $0))
            }
        default: throw .notDirectory
        }
    }

    /// A number for the listing alone: each look-up of `clone` gives another node.
    private var cloneEntry: NodeNumber { .name(0) }

    private func numberedEntries(_ kind: ConnectionKind) -> [(name: String, node: NodeNumber)] {
        state.withLock { state in
            state.connections.values.filter { $0.kind == kind && memory.isNumbered($0.slot) }.map(\.slot).sorted()
                .compactMap { slot in
                    state.connections[slot].map {
                        ("\(slot)", NodeNumber.numbered(slot: slot, serial: $0.serial, file: .directory))
                    }
                }
        }
    }

    /// `rm tcp/listen/ADDRESS:PORT` ends the listening; who waits there for a caller gets ECONNABORTED.
    public func unlink(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        guard case .directory(.tcpListen) = NodeNumber(parent) else { throw .notPermitted }
        let name = try text(name)
        let isResubmitted = context.isResubmitted
        let waiting = try state.withLock { state throws(Errno) -> [Waiter] in
            let found = state.connections.values.first { $0.kind == .listener && memory.text($0.slot) == name }
            guard let found else {
                if isResubmitted { return [] }
                throw .noSuchFileOrDirectory
            }
            defer { end(found, &state) }
            return sendAway(found, .connectionAbort, &state)
        }
        for waiter in waiting { context.wake(waiter.node) }
    }

    /// A network has no size.
    public func figures(_ node: UInt64, _ context: inout CallContext) throws(Errno) -> FileSystemFigures {
        FileSystemFigures()
    }
}
