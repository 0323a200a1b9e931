import Glibc
import Router
import SchemeProtocol
import SystemPackage

extension RouterBackend {
    /// How long the kernel may trust what the router itself shows, in milliseconds: names stay, contents don't.
    private static let systemNameValid: UInt32 = 1000
    /// How long it may believe that a name isn't there, in a scheme that only this mount changes.
    private static let absentNameValid: UInt32 = 86_400_000
    /// How often a name is looked up whose node is gone before it can be kept.
    private static let keepingAttempts = 16

    /// The attributes of what the router itself shows.
    func ownAttributes(_ target: Target, _ request: FuseRequest) throws(Errno) -> NodeAttributes {
        let number: UInt64
        let isDirectory: Bool
        switch target {
        case .root: (number, isDirectory) = (NodeNumbers.root, true)
        case .system(let node):
            number = UInt64(NodeNumbers.systemIndex) << 48 | SystemTree.number(node)
            isDirectory = system.entries(node) != nil
            if !isDirectory, system.contents(node) == nil { throw .staleNFSFileHandle }
        case .scheme: throw .invalidArgument
        }
        return NodeAttributes(
            node: number, mode: isDirectory ? S_IFDIR | 0o555 : S_IFREG | 0o444, links: isDirectory ? 2 : 1,
            accessTime: request.time, modificationTime: request.time, changeTime: request.time,
            attributesValid: 0, nameValid: Self.systemNameValid)
    }

    /// The node of a name.
    public func lookup(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno) -> NodeAttributes {
        let target = try target(parent)
        if isDot(name) { return try attributes(request, node: parent, handle: nil) }
        switch target {
        case .scheme(let route, let node):
            return staleCallers.contains(request.process)
                ? try lookupToKeep(request, route, node, name) : try lookup(request, route, node, name)
        case .root:
            let text = text(name)
            if text == "sys" { return try ownAttributes(.system(.root), request) }
            guard let route = router.route(named: text), route.index != 0 else { throw .noSuchFileOrDirectory }
            return try rootAttributes(route, request)
        case .system(let node):
            let text = text(name)
            guard let found = system.entries(node)?.first(where: { $0.name == text }) else {
                throw .noSuchFileOrDirectory
            }
            return try ownAttributes(.system(found.node), request)
        }
    }

    private func lookup(
        _ request: FuseRequest, _ route: SchemeRoute, _ parent: UInt64, _ name: RawSpan
    ) throws(Errno) -> NodeAttributes {
        let call = call(.lookup, request, parent, payloadBytes: name.byteCount)
        do throws(Errno) {
            return try route.perform(
                call,
                {
                    put(name, at: 0, into: &$0); return name.byteCount
                }
            ) {
                answer throws(Errno) in try attributes(answer, route)
            }
        } catch .noSuchFileOrDirectory where !route.description.changesByItself {
            return .absent(nameValid: Self.absentNameValid)
        }
    }

    /// The node of a name for who was told of another one that it is gone: it will be there when it is asked for.
    private func lookupToKeep(
        _ request: FuseRequest, _ route: SchemeRoute, _ parent: UInt64, _ name: RawSpan
    ) throws(Errno) -> NodeAttributes {
        for _ in 0..<Self.keepingAttempts {
            let found = try lookup(request, route, parent, name)
            let isAbsentOrDirectory = found.node == 0 || found.mode & ModeBits.typeMask == ModeBits.directory
            if isAbsentOrDirectory || route.description.changesByItself { return found }
            do throws(Errno) {
                if let handle = try route.keepOpen(route.numbers.server(found.node)) {
                    let file = KeptFile(route: route, node: found.node, handle: handle)
                    for other in staleCallers.keep(file, for: request.process) { other.letGo() }
                }
                return found
            } catch {
                // Gone already.
            }
        }
        return try lookup(request, route, parent, name)
    }

    private func isDot(_ name: RawSpan) -> Bool {
        unsafe name.byteCount == 1 && name.unsafeLoad(as: UInt8.self) == UInt8(ascii: ".")
    }

    private func text(_ name: RawSpan) -> String {
        unsafe name.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// A scheme's directory in the mount's root.
    private func rootAttributes(_ route: SchemeRoute, _ request: FuseRequest) throws(Errno) -> NodeAttributes {
        let call = call(.getattr, request, route.description.rootNode)
        return try route.perform(call) { answer throws(Errno) in try attributes(answer, route) }
    }

    /// Attributes of a node.
    public func attributes(_ request: FuseRequest, node: UInt64, handle: UInt64?) throws(Errno) -> NodeAttributes {
        let target = try target(node)
        guard case .scheme(let route, let number) = target else { return try ownAttributes(target, request) }
        if var known = route.knownAttributes(number) {
            known.node = node
            return known
        }
        if let handle, let missing = full.missing(node), let flags = route.openFlags(handle),
            Int32(bitPattern: flags) & O_ACCMODE != O_RDONLY
        {
            try checkRoom(for: missing, request, node)
        }
        let call = call(.getattr, request, number, handle: handle ?? 0)
        return try lookingAgain(request, route) { () throws(Errno) in
            try route.perform(call) { answer throws(Errno) in try attributes(answer, route) }
        }
    }

    /// Throws ENOSPC to who is about to write to a file whose pages there was no room for, until there is.
    private func checkRoom(for missing: Int, _ request: FuseRequest, _ node: UInt64) throws(Errno) {
        let figures = try statistics(request, node: node)
        // Twice as much, as what is written takes blocks for itself.
        guard figures.availableBlocks / 2 > UInt64(missing) / max(1, figures.blockSize) else { throw .noSpace }
        full.remove(node)
    }

    /// Runs what asks for a node by its number. The kernel found it by its name a moment before another application removed or replaced
    /// it: with ESTALE in place of ENOENT it looks the name up again, as a name that is replaced is always there.
    ///
    /// Not in a scheme that changes by itself: looked up again, the name may be there no more.
    func lookingAgain<Result>(
        _ request: FuseRequest, _ route: SchemeRoute, _ body: () throws(Errno) -> Result
    ) throws(Errno) -> Result {
        do throws(Errno) {
            return try body()
        } catch {
            let isGone = error == .noSuchFileOrDirectory || error == .staleNFSFileHandle
            guard isGone, !route.description.changesByItself else { throw error }
            staleCallers.add(request.process)
            throw .staleNFSFileHandle
        }
    }

    /// A caller has what it looked for: nothing is kept for it any more. Other calls than those that this is said by come on the way
    /// there: for a symbolic link's target, or who may open the file.
    func endLook(_ request: FuseRequest, _ node: UInt64) {
        for file in staleCallers.remove(request.process, node) { file.letGo() }
    }

    /// Changes attributes.
    public func setAttributes(
        _ request: FuseRequest, node: UInt64, handle: UInt64?, _ changes: AttributeChangeSet
    ) throws(Errno) -> NodeAttributes {
        let (route, number) = try writable(node)
        // The kernel sends the times that it kept of a file, also when it has just removed the file's last name. Nobody misses them, but
        // an error would be told to the next syncfs(2) of anybody.
        let isParting = handle == nil && changes.areKeptTimes
        if isParting, route.isKnownGone(number) { return Self.partingAttributes(node, changes) }
        let call = call(
            .setattr, request, number, handle: handle ?? 0, flags: changes.killPrivileges ? .killPrivileges : [],
            payloadBytes: AttributeChangeSet.byteCount)
        if changes.size != nil { full.remove(node) }
        defer { endLook(request, node) }
        do throws(Errno) {
            return try lookingAgain(request, route) { () throws(Errno) in
                try route.perform(
                    call,
                    {
                        changes.encode(into: &$0); return AttributeChangeSet.byteCount
                    }
                ) {
                    answer throws(Errno) in try attributes(answer, route)
                }
            }
        } catch {
            guard isParting, error == .staleNFSFileHandle || error == .noSuchFileOrDirectory else { throw error }
            return Self.partingAttributes(node, changes)
        }
    }

    /// What is said of a file that is gone when its times arrive.
    private static func partingAttributes(_ node: UInt64, _ changes: AttributeChangeSet) -> NodeAttributes {
        let none = WireTime(seconds: 0, nanoseconds: 0)
        return NodeAttributes(
            node: node, mode: ModeBits.regular, links: 0, modificationTime: changes.modificationTime ?? none,
            changeTime: changes.changeTime ?? none)
    }

    /// A symbolic link's target.
    public func readSymbolicLink(
        _ request: FuseRequest, node: UInt64, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        guard case .scheme(let route, let number) = try target(node) else { throw .invalidArgument }
        let call = call(.readlink, request, number, replyBytes: 4096)
        try lookingAgain(request, route) { () throws(Errno) in
            try route.perform(call) { answer in unsafe answer.reply.withUnsafeBytes { unsafe reply($0) } }
        }
    }

    /// What statfs(2) shows.
    public func statistics(_ request: FuseRequest, node: UInt64) throws(Errno) -> FileSystemFigures {
        guard case .scheme(let route, let number) = try target(node) else {
            return FileSystemFigures(maximumName: 255, flags: 1)
        }
        return try route.perform(call(.statfs, request, number)) { answer throws(Errno) in
            guard let figures = FileSystemFigures(decoding: answer.reply) else { throw .ioError }
            return figures
        }
    }
}
