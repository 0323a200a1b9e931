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

    /// Carries out a command that was written to a window, as Redox's programs do: `P,x,y` position, `S,width,height` size, `T,title`,
    /// `F,flags,0 or 1`, `A,0 or 1` asynchronous, `Y[,x,y,width,height]...` these parts were drawn, `D` the mouse moves it as long as
    /// its button is pressed, `M,C,0 or 1` the arrow is seen over it, `M,G,0 or 1` the mouse can't leave it, `M,R,0 or 1` it is told how
    /// far the mouse was moved. False: not known.
    mutating func command(_ text: String, _ index: Int) -> Bool {
        let parts = text.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = parts.first else { return false }
        let rest = parts.count == 2 ? String(parts[1]) : ""
        let numbers = rest.split(separator: ",").map { Int($0) }
        switch name {
        case "P":
            guard numbers.count == 2, let x = numbers[0], let y = numbers[1], Window.positions.contains(x),
                Window.positions.contains(y)
            else { return false }
            place(index, x: x, y: y)
        case "S":
            guard numbers.count == 2, let width = numbers[0], let height = numbers[1],
                let size = PixelSize(width: width, height: height)
            else { return false }
            resizeWindow(index, size)
        case "T":
            state.windows[index].title = Array(rest.utf8.prefix(255))
            note(0, state.windows[index].frame)
        case "A": return setFlag("a", rest, index)
        case "F":
            let words = rest.split(separator: ",")
            guard words.count == 2, words[0].allSatisfy({ Window.Flags.flag($0) != nil }) else { return false }
            let id = state.windows[index].id
            // A window that comes to the front has another index.
            for letter in words[0] {
                guard let index = window(id), setFlag(letter, String(words[1]), index) else { return false }
            }
        case "Y": return noteDrawn(numbers, index)
        case "D":
            guard rest.isEmpty else { return false }
            beginDrag(index)
        case "M": return setMouse(rest, index)
        default: return false
        }
        return true
    }

    /// The window follows the mouse until its button is let go. Without effect if it is already.
    private mutating func beginDrag(_ index: Int) {
        guard let pointer = state.displays[0]?.pointer, pointer.buttons != 0 else { return }
        let window = state.windows[index]
        drag = (window.id, pointer.x - window.x, pointer.y - window.y)
    }

    private mutating func setMouse(_ text: String, _ index: Int) -> Bool {
        let words = text.split(separator: ",", omittingEmptySubsequences: false)
        guard words.count == 2, words[1] == "0" || words[1] == "1" else { return false }
        let isSet = words[1] == "1"
        switch words[0] {
        case "C": set(.cursorless, !isSet, index)
        case "G":
            set(.grabbing, isSet, index)
            if isSet { confinePointer() }
        case "R": set(.relative, isSet, index)
        default: return false
        }
        return true
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

    private mutating func setFlag(_ letter: Character, _ value: String, _ index: Int) -> Bool {
        guard let flag = Window.Flags.flag(letter), value == "0" || value == "1" else { return false }
        let id = state.windows[index].id
        let before = focus.map { state.windows[$0].id }
        note(0, state.windows[index].frame)
        if value == "1" {
            state.windows[index].flags.insert(flag)
        } else {
            state.windows[index].flags.remove(flag)
        }
        if flag == .back || flag == .front {
            let window = state.windows.remove(at: index)
            state.windows.insert(window, at: Self.position(of: window, in: state.windows))
        }
        tellFocus(before)
        if let index = window(id) { note(0, state.windows[index].frame) }
        return true
    }

    /// Parts of a window were drawn: what of it lies in the kernel's pages is fetched from there.
    private mutating func noteDrawn(_ numbers: [Int?], _ index: Int) -> Bool {
        let window = state.windows[index]
        if numbers.isEmpty { note(0, window.content) }
        guard numbers.count % 4 == 0 else { return false }
        for start in stride(from: 0, to: numbers.count, by: 4) {
            guard let x = numbers[start], let y = numbers[start + 1], let width = numbers[start + 2],
                let height = numbers[start + 3]
            else { return false }
            let part = Rectangle(x: x, y: y, width: width, height: height).intersection(window.size.bounds)
            note(0, Rectangle(x: window.x + part.x, y: window.y + part.y, width: part.width, height: part.height))
        }
        staleWindow(window.id)
        return true
    }
}
