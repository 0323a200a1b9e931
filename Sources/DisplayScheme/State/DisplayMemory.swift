import Platform

// What of the displays outlives the process.
//
//     +----------------------------------+ 0
//     | magic                            |
//     |   64  which state counts u32     |
//     |  128  of each display:           |
//     |       textChanges that are drawn |
//     |       clearings that are done    |
//     +----------------------------------+ 4096
//     | two states of 1 MiB              |  count u32, bytes
//     +----------------------------------+
//     | two terminals for each display   |  count u32, bytes; which counts says textChanges
//     | two clipboards for each display  |  which counts says clipboardChanges
//     | event records of each display    |  24 bytes each, room for twice as many as count: those that count stay
//     | event records of each window     |
//     | pictures that are being read     |  PNG
//     | pixels of each display           |
//     | pixels of each window            |
//     +----------------------------------+
//
// A change writes first what doesn't count yet (the other terminal, records behind the tail, the other state), then the one word
// that makes the other state count. Pixels have no second copy: they are drawn afterwards, and the next incarnation draws again what
// its state says was not finished. The memory costs only what was ever written.

/// The displays' memory.
final class DisplayMemory: Sendable {
    static let displayCount = 8
    static let windowCount = 64
    static let clipboardBytes = 1 << 20
    static let snapshotCount = 8
    static let snapshotBytes = 28 << 20
    private static let stateBytes = 1 << 20
    private static let terminalBytes = 4 << 20
    private static let recordBytes = InputEvent.byteCount * Int(2 * DisplayState.EventQueue.capacity)
    private static let pixelBytes = 4 * PixelSize.mostPixels

    private static let whichOffset = 64
    private static let statesOffset = 4096
    private static let terminalsOffset = statesOffset + 2 * stateBytes
    private static let clipboardsOffset = terminalsOffset + 2 * displayCount * terminalBytes
    private static let recordsOffset = clipboardsOffset + 2 * displayCount * clipboardBytes
    private static let snapshotsOffset = (recordsOffset + (displayCount + windowCount) * recordBytes + 4095) & ~4095
    private static let pixelsOffset = snapshotsOffset + snapshotCount * snapshotBytes
    static let byteCount = pixelsOffset + (displayCount + windowCount) * pixelBytes
    private static let magic: UInt64 = 0x3179_616c_7073_6964

    let memory: SharedMapping
    /// Whether there was a state before.
    let isInherited: Bool

    init(_ memory: SharedMapping) {
        self.memory = memory
        isInherited = memory.load64(0) == Self.magic
        if !isInherited { memory.store64Releasing(0, Self.magic) }
    }

    // MARK: State

    /// The state that counts; nil if there is none yet or it makes no sense.
    func state() -> DisplayState? {
        DisplayState(decoding: block(Self.statesOffset, Self.stateBytes, memory.load32Acquiring(Self.whichOffset) & 1))
    }

    /// Makes a state count. False if it is too large: nothing is changed then.
    func commit(_ state: DisplayState) -> Bool {
        let which = memory.load32(Self.whichOffset) & 1 ^ 1
        guard setBlock(Self.statesOffset, Self.stateBytes, which, state.encoded) else { return false }
        memory.store32Releasing(Self.whichOffset, which)
        return true
    }

    private func block(_ offset: Int, _ byteCount: Int, _ which: UInt32) -> [UInt8] {
        let start = offset + Int(which) * byteCount
        let count = min(Int(memory.load32(start)), byteCount - 4)
        return memory.array(start + 4, count: count)
    }

    private func setBlock(_ offset: Int, _ byteCount: Int, _ which: UInt32, _ bytes: [UInt8]) -> Bool {
        guard bytes.count <= byteCount - 4 else { return false }
        let start = offset + Int(which) * byteCount
        memory.store32(start, UInt32(bytes.count))
        let span = bytes.span
        memory.copyBytes(from: unsafe span.bytes, at: start + 4)
        return true
    }

    // MARK: Terminals

    /// A display's terminal after so many changes; nil if it makes no sense.
    func terminal(_ display: Int, changes: UInt32) -> TextTerminal? {
        let bytes = block(Self.terminalsOffset + 2 * display * Self.terminalBytes, Self.terminalBytes, changes & 1)
        return TextTerminal(decoding: bytes)
    }

    /// Keeps a terminal. It counts when a state with that number of changes does.
    func store(_ terminal: TextTerminal, _ display: Int, changes: UInt32) -> Bool {
        setBlock(
            Self.terminalsOffset + 2 * display * Self.terminalBytes, Self.terminalBytes, changes & 1, terminal.encoded)
    }

    private func drawnOffset(_ display: Int) -> Int { 128 + 8 * display }

    /// Whether everything was drawn that the state says.
    func isDrawn(_ number: Int, _ display: DisplayState.Display) -> Bool {
        memory.load32(drawnOffset(number)) == display.textChanges
    }

    func isCleared(_ number: Int, _ display: DisplayState.Display) -> Bool {
        memory.load32(drawnOffset(number) + 4) == display.clearings
    }

    func setDrawn(_ number: Int, _ display: DisplayState.Display) {
        memory.store32Releasing(drawnOffset(number), display.textChanges)
    }

    func setCleared(_ number: Int, _ display: DisplayState.Display) {
        memory.store32Releasing(drawnOffset(number) + 4, display.clearings)
    }

    // MARK: Clipboards

    private func clipboard(_ display: Int, _ place: UInt32) -> Int {
        Self.clipboardsOffset + (2 * display + Int(place & 1)) * Self.clipboardBytes
    }

    /// The bytes of a display's clipboard.
    func clipboard(_ display: Int, _ state: DisplayState.Display) -> [UInt8] {
        memory.array(clipboard(display, state.clipboardChanges), count: state.clipboardCount)
    }

    /// Writes the clipboard that doesn't count yet.
    func setClipboard(_ display: Int, place: UInt32, _ bytes: [UInt8]) {
        let span = bytes.span
        memory.copyBytes(from: unsafe span.bytes, at: clipboard(display, place))
    }

    // MARK: Events

    private func record(_ queue: Int, _ position: UInt64) -> Int {
        Self.recordsOffset + queue * Self.recordBytes
            + Int(position % (2 * DisplayState.EventQueue.capacity)) * InputEvent.byteCount
    }

    /// The number of a display's queue.
    static func queue(display: Int) -> Int { display }

    /// The number of a window's queue.
    static func queue(_ window: Window) -> Int { displayCount + Int(window.place) }

    /// The event at a position of a queue.
    func event(_ queue: Int, at position: UInt64) -> InputEvent {
        let base = record(queue, position)
        return InputEvent(
            code: Int64(bitPattern: memory.load64(base)), a: Int64(bitPattern: memory.load64(base + 8)),
            b: Int64(bitPattern: memory.load64(base + 16)))
    }

    /// Writes an event where it doesn't count yet.
    func setEvent(_ queue: Int, at position: UInt64, _ event: InputEvent) {
        let base = record(queue, position)
        memory.store64(base, UInt64(bitPattern: event.code))
        memory.store64(base + 8, UInt64(bitPattern: event.a))
        memory.store64(base + 16, UInt64(bitPattern: event.b))
    }

    // MARK: Snapshots

    /// Keeps a picture; false if it is too large.
    func setSnapshot(_ place: Int, _ bytes: [UInt8]) -> Bool {
        guard bytes.count <= Self.snapshotBytes else { return false }
        let span = bytes.span
        memory.copyBytes(from: unsafe span.bytes, at: Self.snapshotsOffset + place * Self.snapshotBytes)
        return true
    }

    /// The bytes of a picture; the range must lie within what was kept.
    func snapshot(_ place: Int, _ range: Range<Int>) -> [UInt8] {
        memory.array(Self.snapshotsOffset + place * Self.snapshotBytes + range.lowerBound, count: range.count)
    }

    /// Gives a picture's memory back.
    func discardSnapshot(_ place: Int) {
        memory.discard(Self.snapshotsOffset + place * Self.snapshotBytes, count: Self.snapshotBytes)
    }

    // MARK: Pixels

    private func pixels(_ place: Int) -> Int { Self.pixelsOffset + place * Self.pixelBytes }

    /// Where a display's pixels begin.
    func pixelsOffset(display: Int) -> Int { pixels(display) }

    /// Where a window's pixels begin.
    func pixelsOffset(_ window: Window) -> Int { pixels(Self.displayCount + Int(window.place)) }

    /// A display's pixels.
    func pixels(_ display: Int, _ size: PixelSize) -> PixelArea {
        PixelArea(memory, at: pixelsOffset(display: display), size)
    }

    /// A window's pixels.
    func pixels(_ window: Window) -> PixelArea { PixelArea(memory, at: pixelsOffset(window), window.size) }

    /// Makes the pixels zero and gives their memory back.
    func discardPixels(display: Int) { memory.discard(pixelsOffset(display: display), count: Self.pixelBytes) }

    /// Makes the pixels zero and gives their memory back.
    func discardPixels(_ window: Window) { memory.discard(pixelsOffset(window), count: Self.pixelBytes) }
}

extension SharedMapping {
    /// A copy of part of the memory.
    func array(_ offset: Int, count: Int) -> [UInt8] {
        let span = bytes(offset, count: count)
        return unsafe span.withUnsafeBytes { unsafe Array($0) }
    }
}

extension RawSpan {
    /// The bytes in an array.
    func copied() -> [UInt8] {
        unsafe withUnsafeBytes { unsafe Array($0) }
    }
}
