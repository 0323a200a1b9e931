import SchemeKit

extension DisplayCore {
    /// What a node number means now. ESTALE if it is that of something that is gone.
    func node(_ number: UInt64) throws(Errno) -> DisplayNode {
        guard let node = DisplayNode(number) else { throw .staleNFSFileHandle }
        switch node {
        case .root, .windowFolder, .windowList: break
        case .display(let index, let generation, _):
            guard let display = state.displays[index], display.generation & DisplayNode.generationMask == generation
            else { throw .staleNFSFileHandle }
        case .frame(let index, let generation, _):
            guard let display = state.displays[index],
                display.had(generation, newest: display.frameGeneration, DisplayNode.frameMask)
            else { throw .staleNFSFileHandle }
        case .clipboard(let index, let generation):
            guard let display = state.displays[index],
                display.had(generation, newest: display.clipboardGeneration, .max)
            else { throw .staleNFSFileHandle }
        case .window(let id):
            guard window(id) != nil || requests[id] != nil else { throw .staleNFSFileHandle }
        case .windowPixels(let id, _): guard window(id) != nil else { throw .staleNFSFileHandle }
        case .pathFolder: guard paths[number] != nil else { throw .staleNFSFileHandle }
        }
        return node
    }

    /// Finds a name in a folder.
    mutating func lookup(_ parent: UInt64, _ name: [UInt8]) throws(Errno) -> DisplayNode {
        let folder = try node(parent)
        guard let text = String(validating: name, as: UTF8.self) else { throw .noSuchFileOrDirectory }
        switch folder {
        case .root:
            if text == "window" { return .windowFolder }
            if text == "windows" { return .windowList }
            guard let number = Self.displayNumber(text), let display = state.displays[number] else {
                throw .noSuchFileOrDirectory
            }
            return .display(number, generation: display.generation & DisplayNode.generationMask, nil)
        case .windowList:
            guard let id = UInt32(text), let index = window(id) else { throw .noSuchFileOrDirectory }
            return state.windows[index].pixelsNode
        case .windowFolder: return try lookup(path: [], text)
        case .pathFolder: return try lookup(path: paths[parent] ?? [], text)
        case .display(let number, _, nil):
            guard let file = DisplayFile.allCases.first(where: { $0.name == text }),
                let display = state.displays[number]
            else { throw .noSuchFileOrDirectory }
            return Self.node(of: file, number, display)
        default: throw .notDirectory
        }
    }

    /// The node of a display's file.
    static func node(of file: DisplayFile, _ number: Int, _ display: DisplayState.Display) -> DisplayNode {
        switch file {
        case .frame: .frame(number, generation: display.frameGeneration & DisplayNode.frameMask, display.size)
        case .clipboard: .clipboard(number, generation: display.clipboardGeneration)
        default: .display(number, generation: display.generation & DisplayNode.generationMask, file)
        }
    }

    /// The number that a name stands for: a digit, as there are few displays.
    static func displayNumber(_ text: String) -> Int? {
        guard let number = Int(text), state(number), text == "\(number)" else { return nil }
        return number
    }

    private static func state(_ number: Int) -> Bool { (0..<DisplayMemory.displayCount).contains(number) }

    /// The next part of a window's path. Its last part gives a window of its own each time that it is looked up.
    private mutating func lookup(path: [String], _ name: String) throws(Errno) -> DisplayNode {
        if WindowRequest.isComplete(path) {
            guard let request = WindowRequest(path, title: Array(name.utf8)) else { throw .invalidArgument }
            lastWindow &+= 1
            // What was looked up and never opened is forgotten at some time: who comes back looks it up anew.
            if requests.count >= Self.requestLimit, let oldest = requests.keys.min() { requests[oldest] = nil }
            requests[lastWindow] = request
            return .window(lastWindow)
        }
        let longer = path + [name]
        guard WindowRequest.isBeginning(longer) else { throw .noSuchFileOrDirectory }
        let node = DisplayNode.folder(longer)
        if paths.count >= Self.requestLimit { paths = paths.filter { $0.value.count < longer.count } }
        paths[node.number] = longer
        return node
    }

    private static let requestLimit = 4096

    /// Attributes of a node.
    func attributes(_ node: DisplayNode) throws(Errno) -> NodeAttributes {
        switch node {
        case .root: return NodeAttributes(node: node.number, mode: ModeBits.directory | 0o1777, links: 2)
        case .windowFolder, .windowList, .pathFolder:
            let owner = state.displays[0]
            return NodeAttributes(
                node: node.number, mode: ModeBits.directory | (owner?.mode ?? 0) & 0o555, links: 2,
                uid: owner?.uid ?? 0, gid: owner?.gid ?? 0)
        case .display(let number, _, let file):
            guard let display = state.displays[number] else { throw .staleNFSFileHandle }
            guard let file else {
                return NodeAttributes(
                    node: node.number, mode: ModeBits.directory | display.mode, links: 2, uid: display.uid,
                    gid: display.gid)
            }
            // Who may search the folder may use its files as far as they can be used.
            return NodeAttributes(
                node: node.number, mode: ModeBits.regular | file.permissions & display.mode,
                size: size(file, number, display), uid: display.uid, gid: display.gid)
        case .frame(let number, _, let size):
            guard let display = state.displays[number] else { throw .staleNFSFileHandle }
            return NodeAttributes(
                node: node.number, mode: ModeBits.regular | DisplayFile.frame.permissions & display.mode,
                size: UInt64(size.byteCount), uid: display.uid, gid: display.gid)
        case .clipboard(let number, _):
            guard let display = state.displays[number] else { throw .staleNFSFileHandle }
            return NodeAttributes(
                node: node.number, mode: ModeBits.regular | DisplayFile.clipboard.permissions & display.mode,
                size: UInt64(display.clipboardCount), uid: display.uid, gid: display.gid)
        case .window(let id), .windowPixels(let id, _):
            if let index = window(id) {
                let window = state.windows[index]
                return NodeAttributes(
                    node: node.number, mode: ModeBits.regular | 0o600, size: UInt64(window.size.byteCount),
                    uid: window.uid, gid: window.gid)
            }
            guard let request = requests[id], let owner = state.displays[0] else { throw .staleNFSFileHandle }
            return NodeAttributes(
                node: node.number, mode: ModeBits.regular | owner.mode & 0o666, size: UInt64(request.size.byteCount),
                uid: owner.uid, gid: owner.gid)
        }
    }

    private func size(_ file: DisplayFile, _ number: Int, _ display: DisplayState.Display) -> UInt64 {
        switch file {
        case .info, .size, .cursor: UInt64(text(file, number).utf8.count)
        default: 0
        }
    }

    /// What the small files say.
    func text(_ file: DisplayFile, _ number: Int) -> String {
        guard let display = state.displays[number] else { return "" }
        switch file {
        case .size: return "\(display.size.text)\n"
        case .cursor:
            let pointer = display.pointer
            return "\(pointer.x) \(pointer.y) \(pointer.isVisible ? 1 : 0) \(pointer.buttons)\n"
        case .info:
            let terminal = terminals[number]
            return """
                size \(display.size.text)
                format bgra
                stride \(display.size.width * 4)
                bytes \(display.size.byteCount)
                columns \(terminal?.columns ?? 0)
                rows \(terminal?.rows ?? 0)
                events \(display.events.tail - display.events.head)
                lost \(display.events.lost)
                windows \(number == 0 ? state.windows.count : 0)
                \(viewers)
                """
        default: return ""
        }
    }

    // MARK: Sizes that the kernel keeps

    /// The kernel's size of a display's pixels may be another than theirs: they are another file from the next look-up on.
    ///
    /// - Parameter generation: that of the number that the kernel knows them by; of an earlier one nobody asks any more.
    /// - Throws: ENOSPC if there is no room to keep that.
    mutating func renewFrame(_ number: Int, after generation: UInt32) throws(Errno) {
        guard let display = state.displays[number], display.frameGeneration & DisplayNode.frameMask == generation
        else { return }
        repeat { state.generations &+= 1 } while isFrameOpen(number, state.generations & DisplayNode.frameMask)
        state.displays[number]?.frameGeneration = state.generations
        guard keep(nil) else { throw .noSpace }
    }

    /// Whether somebody has a display's pixels of a generation open: as there are only so many generations they come again some day.
    private func isFrameOpen(_ number: Int, _ generation: UInt32) -> Bool {
        handles.values.contains {
            guard case .frame(number, generation, _) = $0.node else { return false }
            return true
        }
    }

    /// The kernel's size of a window's pixels may be another than theirs: they are another file from the next look-up on.
    mutating func renewPixels(_ index: Int) {
        let open = Set(handles.values.map(\.node.number))
        repeat { state.windows[index].version &+= 1 } while open.contains(state.windows[index].pixelsNode.number)
    }

    // MARK: Handles

    /// A file is open no more: a window goes with the last.
    mutating func close(_ key: HandleKey) {
        guard let open = handles.removeValue(forKey: key) else { return }
        if let index = state.snapshots.firstIndex(where: { $0.key == key }) {
            memory.discardSnapshot(Int(state.snapshots[index].place))
            state.snapshots.remove(at: index)
        }
        finishedReaders.remove(key)
        if case .window(let id) = open.node, !isOpen(id) { removeWindow(id) }
        // What the kernel keeps of a file that nobody has open or mapped it reads anew when it is opened again.
        if mappedNodes.contains(open.node.number), !handles.values.contains(where: { $0.node == open.node }) {
            mappedNodes.remove(open.node.number)
        }
    }

    private func isOpen(_ id: UInt32) -> Bool { handles.values.contains { $0.node == .window(id) } }

    /// After a recovery: windows and pictures that nobody has open any more.
    mutating func dropUnused() {
        for window in state.windows where !isOpen(window.id) { removeWindow(window.id) }
        for snapshot in state.snapshots where handles[snapshot.key] == nil {
            memory.discardSnapshot(Int(snapshot.place))
        }
        state.snapshots.removeAll { handles[$0.key] == nil }
        _ = keep(nil)
    }
}
