import SchemeKit

extension DisplayCore {
    /// The index of a window; nil if there is none of that number.
    func window(_ id: UInt32) -> Int? { state.windows.firstIndex { $0.id == id } }

    /// Opens a window that was looked up. False if there is no room for another.
    mutating func makeWindow(_ id: UInt32, _ request: WindowRequest, uid: UInt32, gid: UInt32) -> Bool {
        let used = Set(state.windows.map(\.place))
        guard let place = (0..<UInt32(DisplayMemory.windowCount)).first(where: { !used.contains($0) }) else {
            return false
        }
        let window = Window(
            id: id, place: place, flags: request.flags, x: request.x, y: request.y, size: request.size,
            title: request.title, uid: uid, gid: gid)
        memory.discardPixels(window)
        let before = focus.map { state.windows[$0].id }
        state.windows.insert(window, at: Self.position(of: window, in: state.windows))
        tellFocus(before)
        note(0, window.frame)
        return true
    }

    /// Takes a window away.
    mutating func removeWindow(_ id: UInt32) {
        guard let index = window(id) else { return }
        let before = focus.map { state.windows[$0].id }
        let window = state.windows.remove(at: index)
        if drag?.window == id { drag = nil }
        note(0, window.frame)
        tellFocus(before)
        mappedNodes = mappedNodes.filter { DisplayNode($0)?.window != id }
    }

    /// Carries out a command that was written to a window.
    mutating func carryOut(_ command: WindowCommand, _ id: UInt32) {
        // A window that comes to the front has another index.
        guard let index = window(id) else { return }
        switch command {
        case .place(let x, let y): place(index, x: x, y: y)
        case .size(let size): resizeWindow(index, size)
        case .title(let title):
            state.windows[index].title = title
            note(0, state.windows[index].frame)
        case .flags(let flags, let isSet): for flag in flags { setFlag(flag, isSet, id) }
        case .drawn(let parts): noteDrawn(parts, index)
        case .drag: beginDrag(index)
        case .mouse(let flag, let isSet):
            set(flag, isSet, index)
            if flag == .grabbing, isSet { confinePointer() }
        }
    }

    /// The window follows the mouse until its button is let go. Without effect if it is already.
    private mutating func beginDrag(_ index: Int) {
        guard let pointer = state.displays[0]?.pointer, pointer.buttons != 0 else { return }
        let window = state.windows[index]
        drag = (window.id, pointer.x - window.x, pointer.y - window.y)
    }

    private mutating func set(_ flag: Window.Flags, _ isSet: Bool, _ index: Int) {
        if isSet { state.windows[index].flags.insert(flag) } else { state.windows[index].flags.remove(flag) }
        if let pointer = state.displays[0]?.pointer { note(0, PointerArrow.bounds(pointer.x, pointer.y)) }
    }

    private mutating func resizeWindow(_ index: Int, _ size: PixelSize) {
        note(0, state.windows[index].frame)
        memory.discardPixels(state.windows[index])
        if state.windows[index].size != size {
            state.windows[index].size = size
            renewPixels(index)
        }
        note(0, state.windows[index].frame)
        staleWindow(state.windows[index].id)
        deliver(InputEvent(.resize, Int64(size.width), Int64(size.height)), toWindow: index)
    }

    private mutating func setFlag(_ flag: Window.Flags, _ isSet: Bool, _ id: UInt32) {
        guard let index = window(id) else { return }
        let before = focus.map { state.windows[$0].id }
        note(0, state.windows[index].frame)
        if isSet { state.windows[index].flags.insert(flag) } else { state.windows[index].flags.remove(flag) }
        if flag == .back || flag == .front {
            let window = state.windows.remove(at: index)
            state.windows.insert(window, at: Self.position(of: window, in: state.windows))
        }
        tellFocus(before)
        if let index = window(id) { note(0, state.windows[index].frame) }
    }

    /// Parts of a window were drawn: what of it lies in the kernel's pages is fetched from there.
    private mutating func noteDrawn(_ parts: [Rectangle], _ index: Int) {
        let window = state.windows[index]
        if parts.isEmpty { note(0, window.content) }
        for part in parts {
            let part = part.intersection(window.size.bounds)
            note(0, Rectangle(x: window.x + part.x, y: window.y + part.y, width: part.width, height: part.height))
        }
        staleWindow(window.id)
    }
}
