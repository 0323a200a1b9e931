import Platform
public import SchemeKit

// Documented in NodeScheme.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension DisplayScheme {
    public func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let key = HandleKey(channel: context.channel, handle: handle)
        let (uid, gid) = (context.uid, context.gid)
        context.opened = try change(&context) { core throws(Errno) in
            let found = try core.node(node)
            if case .window(let id) = found, core.window(id) == nil {
                guard let request = core.requests[id] else { throw .staleNFSFileHandle }
                guard core.makeWindow(id, request, uid: uid, gid: gid) else { throw .noSpace }
                core.requests[id] = nil
                guard core.keep(nil) else { throw .noSpace }
            }
            if flags & OpenFlags.truncate != 0 { try core.truncated(found) }
            return core.register(key, found, flags)
        }
    }

    public func adopt(
        _ node: UInt64, generation: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) {
        let key = HandleKey(channel: context.channel, handle: handle)
        context.opened = try core.withLock { core throws(Errno) in
            let found = try core.node(node)
            // The kernel may have kept pages of it, which the last incarnation knew.
            switch found {
            case .frame, .window, .windowPixels: core.mappedNodes.insert(node)
            default: break
            }
            return core.register(key, found, flags)
        }
    }

    public func open(
        path: RawSpan, handle: UInt64, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let parts = path.copied().split(separator: 0x2f)
        let node = try core.withLock { core throws(Errno) -> DisplayNode in
            var node = DisplayNode.root
            for part in parts { node = try core.lookup(node.number, Array(part)) }
            // Not the number that the kernel looks up, as it learns nothing of this one's changes.
            if case .clipboard(let number, _) = node, let display = core.state.displays[number] {
                return .clipboard(number, generation: display.generation)
            }
            return node
        }
        try open(node.number, handle: handle, flags: flags, &context)
        return node.number
    }

    public func duplicate(
        _ node: UInt64, handle: UInt64, as newHandle: UInt64, kind: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let kind = String(decoding: kind.copied(), as: UTF8.self)
        let key = HandleKey(channel: context.channel, handle: newHandle)
        let found = try core.withLock { core throws(Errno) -> DisplayNode in
            // A window's clipboard, as Redox's programs get it, is that of its display.
            guard kind == "clipboard", case .window = try core.node(node), let display = core.state.displays[0] else {
                throw .invalidArgument
            }
            let clipboard = DisplayNode.clipboard(0, generation: display.generation)
            _ = core.register(key, clipboard, OpenFlags.readWrite)
            return clipboard
        }
        return found.number
    }

    public func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let key = HandleKey(channel: context.channel, handle: handle)
        try change(&context) { core throws(Errno) in
            let before = core.state
            core.close(key)
            if core.state != before { _ = core.keep(nil) }
        }
    }

    public func poll(
        _ node: UInt64, handle: UInt64, events: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt32 {
        try core.withLock { core throws(Errno) in
            var ready = events & PollEvents.output
            let hasInput =
                switch try core.node(node) {
                case .display(let number, _, .input), .display(let number, _, .rawInput):
                    !(core.state.displays[number]?.events.isEmpty ?? true)
                case .display(let number, _, .text): !(core.state.displays[number]?.typed.isEmpty ?? true)
                case .window(let id): core.window(id).map { !core.state.windows[$0].events.isEmpty } ?? true
                default: true
                }
            if hasInput { ready |= events & PollEvents.input }
            return ready
        }
    }

    public func synchronize(
        _ node: UInt64, handle: UInt64, dataOnly: Bool, _ context: inout CallContext
    ) throws(Errno) {
        // Everything is where it is kept as soon as it is written.
    }
}

extension DisplayCore {
    /// A file was opened with O_TRUNC: the kernel takes it for empty from now on, and only a clipboard is.
    mutating func truncated(_ node: DisplayNode) throws(Errno) {
        switch node {
        case .clipboard(let number, let generation):
            setClipboard(number, [], through: generation)
            guard keep(nil) else { throw .noSpace }
        case .frame(let number, let generation, _): try renewFrame(number, after: generation)
        case .windowPixels(let id, _):
            guard let index = window(id), state.windows[index].pixelsNode == node else { return }
            renewPixels(index)
            guard keep(nil) else { throw .noSpace }
        default: break
        }
    }

    /// Notes an open file; returns what the kernel may do with it.
    mutating func register(_ key: HandleKey, _ node: DisplayNode, _ flags: UInt32) -> OpenedFlags {
        handles[key] = OpenHandle(node: node, flags: flags)
        switch node {
        case .display(_, _, .input), .display(_, _, .rawInput), .display(_, _, .text), .display(_, _, .damage):
            return [.directIO, .stream]
        default: return .directIO
        }
    }
}
