import Platform
public import SchemeKit

// Documented in NodeScheme.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension DisplayScheme {
    public func lookup(
        _ parent: UInt64, _ name: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let name = name.copied()
        return try core.withLock { core throws(Errno) in
            let node = try core.lookup(parent, name)
            return try core.attributes(node)
        }
    }

    public func attributes(
        _ node: UInt64, handle: UInt64, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        try core.withLock { core throws(Errno) in try core.attributes(try core.node(node)) }
    }

    public func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        try change(&context) { core throws(Errno) in
            let found = try core.node(node)
            guard let (number, file) = found.display else { return try core.attributes(found) }
            if case .clipboard(_, let generation) = found, let size = changes.size {
                try core.setClipboard(number, count: size, through: generation)
            }
            // Other files have the size that they have: the kernel takes it from the answer.
            if let mode = changes.mode {
                guard file == nil else { throw .notPermitted }
                core.state.displays[number]?.mode = mode & 0o7777
            }
            if changes.uid != nil || changes.gid != nil {
                guard file == nil else { throw .notPermitted }
                if let uid = changes.uid { core.state.displays[number]?.uid = uid }
                if let gid = changes.gid { core.state.displays[number]?.gid = gid }
            }
            guard core.keep(nil) else { throw .noSpace }
            return try core.attributes(found)
        }
    }

    public func makeDirectory(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let name = name.copied()
        let caller = DisplayCore.Caller(context)
        let (uid, gid) = (context.uid, context.gid)
        return try change(&context) { core throws(Errno) in
            guard parent == DisplayNode.root.number else { throw .notPermitted }
            guard let number = DisplayCore.displayNumber(String(decoding: name, as: UTF8.self)) else {
                throw .invalidArgument
            }
            if core.answer(caller) == nil {
                guard core.state.displays[number] == nil else { throw .fileExists }
                let size = core.state.displays[0]?.size ?? .standard
                core.makeDisplay(number, size, uid: uid, gid: gid, mode: mode & 0o777)
                guard core.keep(caller) else { throw .noSpace }
                core.finishDrawing(number)
            }
            return try core.attributes(try core.lookup(parent, name))
        }
    }

    public func removeDirectory(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        let name = name.copied()
        let caller = DisplayCore.Caller(context)
        try change(&context) { core throws(Errno) in
            if core.answer(caller) != nil { return }
            guard case .display(let number, let generation, nil) = try core.lookup(parent, name) else {
                throw .notPermitted
            }
            guard number != 0 else { throw .resourceBusy }
            core.state.displays[number] = nil
            core.terminals[number] = nil
            guard core.keep(caller) else { throw .noSpace }
            core.memory.discardPixels(display: number)
            // Who waits for input learns that there won't be any.
            for file in [DisplayFile.input, .rawInput, .text] {
                core.wake(.display(number, generation: generation, file))
            }
        }
    }

    public func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing, _ context: inout CallContext
    ) throws(Errno) {
        let entries = try core.withLock { core throws(Errno) in try core.entries(try core.node(node)) }
        guard let start = Int(exactly: position), start < entries.count else { return }
        for index in start..<entries.count {
            let (text, attributes) = entries[index]
            guard listing.append(text, at: index, attributes, isShown: withAttributes) else { return }
        }
    }
}

extension DisplayCore {
    /// The names in a folder. Windows can't be listed by their paths.
    func entries(_ folder: DisplayNode) throws(Errno) -> [(String, NodeAttributes)] {
        var nodes: [(String, DisplayNode)] = []
        switch folder {
        case .root:
            for (number, display) in state.displays.enumerated() {
                guard let display else { continue }
                let generation = display.generation & DisplayNode.generationMask
                nodes.append(("\(number)", .display(number, generation: generation, nil)))
            }
            nodes += [("window", .windowFolder), ("windows", .windowList)]
        case .windowList: nodes = state.windows.map { ("\($0.id)", $0.pixelsNode) }
        case .windowFolder, .pathFolder: break
        case .display(let number, _, nil):
            guard let display = state.displays[number] else { throw .staleNFSFileHandle }
            nodes = DisplayFile.allCases.map { ($0.name, Self.node(of: $0, number, display)) }
        default: throw .notDirectory
        }
        var entries: [(String, NodeAttributes)] = []
        for (name, node) in nodes { entries.append((name, try attributes(node))) }
        return entries
    }

    /// Cuts a clipboard, or fills it up with zeros.
    mutating func setClipboard(_ number: Int, count: UInt64, through generation: UInt32) throws(Errno) {
        guard let display = state.displays[number] else { throw .staleNFSFileHandle }
        guard let count = Int(exactly: count), count <= DisplayMemory.clipboardBytes else { throw .fileTooLarge }
        var bytes = memory.clipboard(number, display)
        bytes = Array(bytes.prefix(count)) + [UInt8](repeating: 0, count: max(0, count - bytes.count))
        setClipboard(number, bytes, through: generation)
    }

    /// Gives a display another clipboard, no longer than there is room for.
    ///
    /// - Parameter generation: that of the number that it was changed by; nil for a viewer. The kernel follows the size only through the
    ///   number that it looks up: changed otherwise, the clipboard is another file from the next look-up on.
    mutating func setClipboard(_ number: Int, _ bytes: [UInt8], through generation: UInt32?) {
        guard var display = state.displays[number] else { return }
        if generation != display.clipboardGeneration, bytes.count != display.clipboardCount {
            state.generations &+= 1
            display.clipboardGeneration = state.generations
        }
        let changes = display.clipboardChanges &+ 1
        memory.setClipboard(number, place: changes, bytes)
        display.clipboardChanges = changes
        display.clipboardCount = bytes.count
        state.displays[number] = display
        if viewerCount > 0 { onDamage() }
    }
}
