import Platform
import SchemeKit

/// The displays: what every call and every viewer works on, one at a time.
///
/// A change is made in the values here first, then kept (`keep`): only then it counts, with the answer to the call that asked for it. Pixels
/// are drawn afterwards.
struct DisplayCore {
    let memory: DisplayMemory
    var state: DisplayState
    var terminals: [TextTerminal?] = Array(repeating: nil, count: DisplayMemory.displayCount)
    var handles: [HandleKey: OpenHandle] = [:]
    /// What was looked up and not opened yet.
    var requests: [UInt32: WindowRequest] = [:]
    var paths: [UInt64: [String]] = [:]
    /// The number of the last window that was looked up.
    var lastWindow: UInt32
    /// Nodes whose waiting calls must be tried again.
    var woken: [UInt64] = []
    /// Nodes whose pages the kernel keeps, because they are mapped.
    var mappedNodes: Set<UInt64> = []
    /// Who has read a picture to its end. Not kept: at worst such a reader holds its place until it closes.
    var finishedReaders: Set<HandleKey> = []
    /// Nodes whose pages in the kernel's cache are no longer right.
    var staleNodes: Set<UInt64> = []
    /// What viewers haven't seen yet, by display.
    var damage: [DamageList] = Array(repeating: DamageList(), count: DisplayMemory.displayCount)
    /// A window that is being moved by its title bar, and where it was taken hold of.
    var drag: (window: UInt32, x: Int, y: Int)?
    /// Where viewers can connect: lines of `info`.
    var viewers = ""
    /// How many viewers look on.
    var viewerCount = 0
    /// Told when there is damage for viewers.
    var onDamage: @Sendable () -> Void = {}

    /// An open file.
    struct OpenHandle {
        let node: DisplayNode
        let flags: UInt32
    }

    /// The displays as the memory has them; display 0 is made if it isn't there.
    ///
    /// - Parameters:
    ///   - incarnation: which start of the server this is: so that no number of a window comes twice.
    ///   - size: the size of display 0 when it is made.
    ///   - owner: its user and group.
    init(
        _ memory: DisplayMemory, incarnation: UInt32 = 1, size: PixelSize = .standard, owner: (UInt32, UInt32) = (0, 0)
    ) {
        self.memory = memory
        lastWindow = incarnation << 16
        state = memory.state() ?? DisplayState()
        for number in state.displays.indices {
            guard let display = state.displays[number] else { continue }
            terminals[number] = memory.terminal(number, changes: display.textChanges) ?? TextTerminal(display.size)
            finishDrawing(number)
        }
        if state.displays[0] == nil {
            makeDisplay(0, size, uid: owner.0, gid: owner.1, mode: 0o700)
            _ = keep(nil)
            finishDrawing(0)
        }
    }

    // MARK: Keeping

    /// Who called, to give the same answer when the call comes again.
    struct Caller {
        let channel: UInt32
        let requestID: UInt64

        init(_ context: CallContext) {
            channel = context.channel
            requestID = context.requestID
        }
    }

    /// The result of a call that was done before its caller could learn of it.
    func answer(_ caller: Caller) -> Int64? {
        guard let answer = state.answers[caller.channel], answer.requestID == caller.requestID else { return nil }
        return answer.result
    }

    /// Makes all changes count. False if there is no room.
    mutating func keep(_ caller: Caller?, result: Int64 = 0) -> Bool {
        if let caller {
            state.answers[caller.channel] = DisplayState.Answer(requestID: caller.requestID, result: result)
        }
        return memory.commit(state)
    }

    mutating func wake(_ node: DisplayNode) { woken.append(node.number) }

    /// Forgets and returns the nodes that were woken.
    mutating func takeWoken() -> [UInt64] {
        defer { woken = [] }
        return woken
    }

    // MARK: Displays

    /// Makes a display where there is none.
    mutating func makeDisplay(_ number: Int, _ size: PixelSize, uid: UInt32, gid: UInt32, mode: UInt32) {
        state.generations &+= 1
        var display = DisplayState.Display(generation: state.generations, size: size, uid: uid, gid: gid, mode: mode)
        display.frameGeneration = state.generations
        // Other than what the last display of this number left as done.
        display.textChanges = state.generations << 8 | 1
        display.clearings = state.generations << 8 | 1
        // The display's own is for who comes without the kernel.
        state.generations &+= 1
        display.clipboardGeneration = state.generations
        state.displays[number] = display
        let terminal = TextTerminal(size)
        terminals[number] = terminal
        _ = memory.store(terminal, number, changes: display.textChanges)
    }

    /// Draws what the state says and the last incarnation, or this one, hasn't drawn.
    mutating func finishDrawing(_ number: Int) {
        guard let display = state.displays[number], var terminal = terminals[number] else { return }
        if !memory.isCleared(number, display) {
            memory.discardPixels(display: number)
            memory.setCleared(number, display)
            terminal.touchAll()
            note(number, display.size.bounds)
        } else if !memory.isDrawn(number, display) {
            terminal.touchAll()
        } else {
            return
        }
        paint(number, terminal)
        memory.setDrawn(number, display)
    }

    private mutating func paint(_ number: Int, _ terminal: TextTerminal) {
        guard let display = state.displays[number] else { return }
        note(number, TerminalPainter.paint(terminal, memory.pixels(number, display.size)))
        var drawn = terminal
        for row in drawn.changedRows.indices { drawn.changedRows[row] = false }
        terminals[number] = drawn
        staleFrames(number)
    }

    /// Part of a display has changed.
    mutating func note(_ number: Int, _ rectangle: Rectangle) {
        guard let display = state.displays[number] else { return }
        let part = rectangle.intersection(display.size.bounds)
        guard !part.isEmpty else { return }
        damage[number].add(part)
        if viewerCount > 0 { onDamage() }
    }

    /// What the kernel keeps of a window's pixels is no longer right, whatever number it knows them by.
    mutating func staleWindow(_ id: UInt32) {
        for node in mappedNodes where DisplayNode(node)?.window == id { staleNodes.insert(node) }
    }

    /// What the kernel keeps of a display's pixels is no longer right, whatever size it knows.
    mutating func staleFrames(_ number: Int) {
        for node in mappedNodes {
            if case .frame(number, _, _) = DisplayNode(node) { staleNodes.insert(node) }
        }
    }

    /// Gives a display another size: what was on it is gone but for the terminal's text.
    mutating func resize(_ number: Int, _ size: PixelSize, _ caller: Caller?, result: Int64) -> Bool {
        guard var display = state.displays[number], var terminal = terminals[number] else { return false }
        terminal.resize(size)
        display.size = size
        display.textChanges &+= 1
        display.clearings &+= 1
        display.pointer.x = min(display.pointer.x, size.width - 1)
        display.pointer.y = min(display.pointer.y, size.height - 1)
        guard memory.store(terminal, number, changes: display.textChanges) else { return false }
        state.displays[number] = display
        terminals[number] = terminal
        deliver(InputEvent(.screen, Int64(size.width), Int64(size.height)), toDisplay: number)
        guard keep(caller, result: result) else { return false }
        damage[number].sizeChanged()
        finishDrawing(number)
        return true
    }

    // MARK: Terminals

    /// Takes what a program wrote to a terminal.
    mutating func write(_ bytes: RawSpan, toTerminal number: Int, _ caller: Caller?) -> Bool {
        guard var display = state.displays[number], var terminal = terminals[number] else { return false }
        // Where the cursor was must be drawn without it.
        terminal.touch(terminal.cursor.row)
        terminal.write(bytes)
        type(terminal.replies, &display, number)
        terminal.replies = []
        display.textChanges &+= 1
        guard memory.store(terminal, number, changes: display.textChanges) else { return false }
        state.displays[number] = display
        terminals[number] = terminal
        guard keep(caller, result: Int64(bytes.byteCount)) else { return false }
        paint(number, terminal)
        memory.setDrawn(number, display)
        return true
    }

    /// Bytes for who reads the terminal; too many, and the oldest are lost.
    mutating func type(_ bytes: [UInt8], _ display: inout DisplayState.Display, _ number: Int) {
        guard !bytes.isEmpty else { return }
        display.typed += bytes
        if display.typed.count > Self.typedLimit { display.typed.removeFirst(display.typed.count - Self.typedLimit) }
        wake(.display(number, generation: display.generation, .text))
    }

    private static let typedLimit = 4096
}
