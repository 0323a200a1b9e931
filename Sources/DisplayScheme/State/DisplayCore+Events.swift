import SchemeKit

extension DisplayCore {
    private static let focusFlags: Window.Flags = [.back, .hidden]

    /// The window that gets keys: the topmost that is shown and not in the background.
    var focus: Int? { state.windows.lastIndex { $0.flags.intersection(Self.focusFlags).isEmpty } }

    /// The window under a place of display 0.
    func window(at x: Int, _ y: Int) -> Int? {
        state.windows.lastIndex { !$0.flags.contains(.hidden) && $0.frame.contains(x, y) }
    }

    /// Takes an event of a user: moves the mouse, moves and raises windows, and queues it for who is to read it.
    mutating func take(_ event: InputEvent, _ number: Int) {
        guard var display = state.displays[number] else { return }
        let place = (display.pointer.x, display.pointer.y)
        if event.kind == .mouse { move(&display, number, event) }
        if event.kind == .key, event.scancode == Keyboard.control { display.isControlHeld = event.isPress }
        let before = display.pointer.buttons
        if event.kind == .button { display.pointer.buttons = UInt32(truncatingIfNeeded: event.a & 0xff) }
        state.displays[number] = display
        guard number == 0, !state.windows.isEmpty, deliverToWindow(event, display.pointer, from: place, before) else {
            deliver(event, toDisplay: number)
            return
        }
    }

    private mutating func move(_ display: inout DisplayState.Display, _ number: Int, _ event: InputEvent) {
        let old = display.pointer
        let room = number == 0 ? pointerRoom(display.size) : display.size.bounds
        display.pointer.x = Int(clamping: min(max(event.a, Int64(room.x)), Int64(room.right - 1)))
        display.pointer.y = Int(clamping: min(max(event.b, Int64(room.y)), Int64(room.bottom - 1)))
        if display.pointer.isVisible {
            note(number, PointerArrow.bounds(old.x, old.y))
            note(number, PointerArrow.bounds(display.pointer.x, display.pointer.y))
        }
    }

    /// The window that has the keys and the mouse, too.
    private var grabbing: Int? { focus.flatMap { state.windows[$0].flags.contains(.grabbing) ? $0 : nil } }

    /// Where the mouse may be on display 0.
    private func pointerRoom(_ size: PixelSize) -> Rectangle {
        let content = grabbing.map { state.windows[$0].content.intersection(size.bounds) }
        return content.flatMap { $0.isEmpty ? nil : $0 } ?? size.bounds
    }

    /// Brings the mouse to where it may be.
    mutating func confinePointer() {
        guard var display = state.displays[0] else { return }
        move(&display, 0, InputEvent(.mouse, Int64(display.pointer.x), Int64(display.pointer.y)))
        state.displays[0] = display
    }

    /// Whether the arrow is seen on a display: it is to be, and isn't over a window that wants none.
    func isPointerVisible(_ number: Int) -> Bool {
        guard let pointer = state.displays[number]?.pointer, pointer.isVisible else { return false }
        guard number == 0, let index = grabbing ?? window(at: pointer.x, pointer.y) else { return true }
        let window = state.windows[index]
        return !window.flags.contains(.cursorless) || !window.content.contains(pointer.x, pointer.y)
    }

    /// Queues an event for the readers of a display's input and terminal.
    mutating func deliver(_ event: InputEvent, toDisplay number: Int) {
        guard var display = state.displays[number], let terminal = terminals[number] else { return }
        append(event, &display.events, DisplayMemory.queue(display: number))
        var bytes = Keyboard.terminalBytes(event, terminal.keys)
        if display.isControlHeld, bytes.count == 1, bytes[0] >= 0x40 { bytes[0] &= 0x1f }
        type(bytes, &display, number)
        state.displays[number] = display
        wake(.display(number, generation: display.generation, .input))
        wake(.display(number, generation: display.generation, .rawInput))
    }

    /// Queues an event for a window.
    mutating func deliver(_ event: InputEvent, toWindow index: Int) {
        let queue = DisplayMemory.queue(state.windows[index])
        append(event, &state.windows[index].events, queue)
        wake(.window(state.windows[index].id))
    }

    private func append(_ event: InputEvent, _ events: inout DisplayState.EventQueue, _ queue: Int) {
        if events.tail - events.head == DisplayState.EventQueue.capacity {
            events.head += 1
            events.lost += 1
        }
        memory.setEvent(queue, at: events.tail, event)
        events.tail += 1
    }

    // MARK: Windows

    /// False if no window is concerned.
    private mutating func deliverToWindow(
        _ event: InputEvent, _ pointer: DisplayState.Pointer, from old: (x: Int, y: Int), _ buttonsBefore: UInt32
    ) -> Bool {
        switch event.kind {
        case .mouse:
            if let drag { return moveWindow(drag, pointer) }
            guard let index = grabbing ?? window(at: pointer.x, pointer.y) else { return false }
            let window = state.windows[index]
            if window.flags.contains(.relative), index == focus {
                let step = (Int64(pointer.x - old.x), Int64(pointer.y - old.y))
                if step != (0, 0) { deliver(InputEvent(.relative, step.0, step.1), toWindow: index) }
                return true
            }
            deliver(
                InputEvent(.mouse, Int64(pointer.x - window.x), Int64(pointer.y - window.y)), toWindow: index)
            return true
        case .button:
            if drag != nil {
                if pointer.buttons == 0 { drag = nil }
                return true
            }
            if let index = grabbing {
                deliver(event, toWindow: index)
                return true
            }
            guard let index = window(at: pointer.x, pointer.y) else { return false }
            if buttonsBefore == 0, pointer.buttons != 0 { return press(index, event, pointer) }
            deliver(event, toWindow: index)
            return true
        case .relative:
            guard let index = focus, state.windows[index].flags.contains(.relative) else { return false }
            deliver(event, toWindow: index)
            return true
        case .key, .scroll:
            guard let index = focus else { return false }
            deliver(event, toWindow: index)
            return true
        default: return false
        }
    }

    /// A button was pressed on a window: it comes to the top; its title bar can do more.
    private mutating func press(_ index: Int, _ event: InputEvent, _ pointer: DisplayState.Pointer) -> Bool {
        let id = state.windows[index].id
        raise(index)
        guard let index = state.windows.firstIndex(where: { $0.id == id }) else { return false }
        let window = state.windows[index]
        if window.closeButton.contains(pointer.x, pointer.y) {
            deliver(InputEvent(.quit), toWindow: index)
        } else if window.content.contains(pointer.x, pointer.y) {
            deliver(event, toWindow: index)
        } else {
            drag = (id, pointer.x - window.x, pointer.y - window.y)
        }
        return true
    }

    private mutating func moveWindow(_ drag: (window: UInt32, x: Int, y: Int), _ pointer: DisplayState.Pointer) -> Bool
    {
        guard let index = state.windows.firstIndex(where: { $0.id == drag.window }) else {
            self.drag = nil
            return false
        }
        place(index, x: pointer.x - drag.x, y: pointer.y - drag.y)
        return true
    }

    /// Puts a window elsewhere.
    mutating func place(_ index: Int, x: Int, y: Int) {
        guard Window.positions.contains(x), Window.positions.contains(y) else { return }
        note(0, state.windows[index].frame)
        state.windows[index].x = x
        state.windows[index].y = y
        note(0, state.windows[index].frame)
        deliver(InputEvent(.move, Int64(x), Int64(y)), toWindow: index)
    }

    /// Brings a window to the top of those of its kind.
    mutating func raise(_ index: Int) {
        let before = focus.map { state.windows[$0].id }
        let window = state.windows.remove(at: index)
        state.windows.insert(window, at: Self.position(of: window, in: state.windows))
        note(0, window.frame)
        tellFocus(before)
    }

    /// Where a window belongs that comes to the top: windows in the back are below all others, those in front above.
    static func position(of window: Window, in windows: [Window]) -> Int {
        func layer(_ window: Window) -> Int {
            window.flags.contains(.back) ? 0 : window.flags.contains(.front) ? 2 : 1
        }
        return windows.firstIndex { layer($0) > layer(window) } ?? windows.count
    }

    /// Tells the windows that lose and get the keys.
    mutating func tellFocus(_ before: UInt32?) {
        let after = focus.map { state.windows[$0].id }
        guard before != after else { return }
        for (id, isFocused) in [(before, false), (after, true)] {
            guard let index = state.windows.firstIndex(where: { $0.id == id }) else { continue }
            deliver(InputEvent(.focus, isFocused ? 1 : 0), toWindow: index)
            note(0, state.windows[index].frame)
        }
    }
}
