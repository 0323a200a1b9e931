/// An open file: its number is only unique within its channel.
struct HandleKey: Hashable, Sendable {
    let channel: UInt32
    let handle: UInt64
}

/// All that a display server knows beside pixels, event records and terminals, which have memory of their own. Small: each change
/// writes it anew as a whole (`DisplayMemory.commit`).
struct DisplayState: Equatable {
    /// One screen.
    struct Display: Equatable {
        /// Tells it from earlier displays of the same number.
        var generation: UInt32
        var size: PixelSize
        var uid: UInt32
        var gid: UInt32
        /// Permission bits of its folder.
        var mode: UInt32
        var pointer = Pointer()
        var events = EventQueue()
        /// What was typed and not read yet from `text`.
        var typed: [UInt8] = []
        /// Whether the control key is held: it changes what is typed.
        var isControlHeld = false
        /// How often the terminal was changed, and in which of its two places it is.
        var textChanges: UInt32 = 0
        /// How often the clipboard was changed, and in which of its two places it is.
        var clipboardChanges: UInt32 = 0
        var clipboardCount = 0
        /// Those of the numbers that pixels and clipboard are looked up by (`DisplayNode`).
        var frameGeneration: UInt32 = 0
        var clipboardGeneration: UInt32 = 0
        /// How often the pixels must have been made anew (a new size).
        var clearings: UInt32 = 0
    }

    /// Where the mouse is.
    struct Pointer: Equatable {
        var x = 0
        var y = 0
        /// Whether an arrow is drawn there.
        var isVisible = false
        /// Bits of the buttons that are pressed: 1 left, 2 middle, 4 right.
        var buttons: UInt32 = 0
    }

    /// Events that wait for a reader: their records lie in memory of their own, at `head..<tail` modulo the capacity.
    struct EventQueue: Equatable {
        static let capacity: UInt64 = 1024
        var head: UInt64 = 0
        var tail: UInt64 = 0
        /// Events that nobody read before the room was needed.
        var lost: UInt64 = 0
        /// The rest of a line of which a part was read.
        var rest: [UInt8] = []

        var isEmpty: Bool { head == tail && rest.isEmpty }
    }

    /// A picture that is being read: made when the first byte was.
    struct Snapshot: Equatable {
        var key: HandleKey
        var place: UInt32
        var count: Int
    }

    /// What a call gave, to give it again when the process dies before the caller learns of it.
    struct Answer: Equatable {
        var requestID: UInt64
        var result: Int64
    }

    /// The displays by number; nil where there is none.
    var displays: [Display?] = Array(repeating: nil, count: DisplayMemory.displayCount)
    /// The last generation that was given to a display, its pixels or its clipboard.
    var generations: UInt32 = 0
    /// The windows on display 0, from the lowest to the topmost.
    var windows: [Window] = []
    /// From the oldest to the newest.
    var snapshots: [Snapshot] = []
    /// The last call of each channel that changed something here.
    var answers: [UInt32: Answer] = [:]
    /// How much of what each viewer did was done.
    var effects: [UInt64: UInt64] = [:]

    /// The state as bytes.
    var encoded: [UInt8] {
        var writer = StateWriter()
        writer.put(generations)
        for display in displays {
            writer.put(display != nil)
            if let display { display.encode(into: &writer) }
        }
        writer.put(UInt32(windows.count))
        for window in windows { window.encode(into: &writer) }
        writer.put(UInt32(snapshots.count))
        for snapshot in snapshots {
            writer.put(snapshot.key.channel)
            writer.put(snapshot.key.handle)
            writer.put(snapshot.place)
            writer.put(snapshot.count)
        }
        writer.put(UInt32(answers.count))
        for (channel, answer) in answers {
            writer.put(channel)
            writer.put(answer.requestID)
            writer.put(UInt64(bitPattern: answer.result))
        }
        writer.put(UInt32(effects.count))
        for (viewer, number) in effects {
            writer.put(viewer)
            writer.put(number)
        }
        for display in displays {
            guard let display else { continue }
            writer.put(display.frameGeneration)
            writer.put(display.clipboardGeneration)
        }
        for window in windows { writer.put(window.version) }
        return writer.bytes
    }

    /// No display.
    init() {}

    /// From bytes; nil if they make no sense.
    init?(decoding bytes: [UInt8]) {
        var reader = StateReader(bytes)
        generations = reader.uint32()
        for index in displays.indices where reader.bool() {
            guard let display = Display(decoding: &reader) else { return nil }
            displays[index] = display
        }
        for _ in 0..<reader.count(atMost: DisplayMemory.windowCount) {
            guard let window = Window(decoding: &reader) else { return nil }
            windows.append(window)
        }
        for _ in 0..<reader.count(atMost: DisplayMemory.snapshotCount) {
            let key = HandleKey(channel: reader.uint32(), handle: reader.uint64())
            let snapshot = Snapshot(key: key, place: reader.uint32(), count: reader.int())
            guard snapshot.place < DisplayMemory.snapshotCount, snapshot.count >= 0,
                snapshot.count <= DisplayMemory.snapshotBytes
            else { return nil }
            snapshots.append(snapshot)
        }
        for _ in 0..<reader.count(atMost: 1 << 16) {
            let channel = reader.uint32()
            answers[channel] = Answer(
                requestID: reader.uint64(), result: Int64(bitPattern: reader.uint64()))
        }
        for _ in 0..<reader.count(atMost: 1 << 10) {
            let viewer = reader.uint64()
            effects[viewer] = reader.uint64()
        }
        if !reader.isAtEnd {
            for index in displays.indices where displays[index] != nil {
                displays[index]?.frameGeneration = reader.uint32()
                displays[index]?.clipboardGeneration = reader.uint32()
            }
            for index in windows.indices { windows[index].version = reader.uint32() }
        }
        guard reader.isWhole else { return nil }
    }
}

extension DisplayState.Display {
    /// Whether a file of this display, of which `newest` is the last generation, had another: those of the display's first one on.
    ///
    /// - Parameter mask: the bits that are known of the generation.
    func had(_ generation: UInt32, newest: UInt32, _ mask: UInt32) -> Bool {
        let age = newest &- self.generation
        return age > mask || (generation &- self.generation) & mask <= age
    }

    func encode(into writer: inout StateWriter) {
        writer.put(generation)
        writer.put(size.width)
        writer.put(size.height)
        writer.put(uid)
        writer.put(gid)
        writer.put(mode)
        writer.put(pointer.x)
        writer.put(pointer.y)
        writer.put(pointer.isVisible)
        writer.put(pointer.buttons)
        events.encode(into: &writer)
        writer.put(typed)
        writer.put(isControlHeld)
        writer.put(textChanges)
        writer.put(clipboardChanges)
        writer.put(clipboardCount)
        writer.put(clearings)
    }

    init?(decoding reader: inout StateReader) {
        generation = reader.uint32()
        // What an older process wrote says nothing else.
        frameGeneration = generation
        clipboardGeneration = generation
        guard let size = PixelSize(width: reader.int(), height: reader.int()) else { return nil }
        self.size = size
        uid = reader.uint32()
        gid = reader.uint32()
        mode = reader.uint32()
        pointer = DisplayState.Pointer(
            x: reader.int(), y: reader.int(), isVisible: reader.bool(), buttons: reader.uint32())
        events = DisplayState.EventQueue(decoding: &reader)
        typed = reader.array()
        isControlHeld = reader.bool()
        textChanges = reader.uint32()
        clipboardChanges = reader.uint32()
        clipboardCount = reader.int()
        clearings = reader.uint32()
        guard clipboardCount >= 0, clipboardCount <= DisplayMemory.clipboardBytes else { return nil }
    }
}

extension DisplayState.EventQueue {
    func encode(into writer: inout StateWriter) {
        writer.put(head)
        writer.put(tail)
        writer.put(lost)
        writer.put(rest)
    }

    init(decoding reader: inout StateReader) {
        head = reader.uint64()
        tail = reader.uint64()
        lost = reader.uint64()
        rest = reader.array()
        // Whatever the bytes are: never more than there is room for.
        if tail &- head > Self.capacity { head = tail }
    }
}
