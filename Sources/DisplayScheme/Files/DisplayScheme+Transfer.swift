import Platform
public import SchemeKit

// Documented in NodeScheme.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension DisplayScheme {
    public func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        let caller = DisplayCore.Caller(context)
        let key = HandleKey(channel: context.channel, handle: handle)
        let found = try core.withLock { core throws(Errno) in try core.node(node) }
        if case .display(let number, _, .picture) = found, offset == 0 {
            // Packing a picture takes long: the others go on meanwhile.
            try core.withLock { core throws(Errno) in try core.checkRoomForSnapshot(key) }
            guard let picture = core.withLock({ Compositor.picture($0, number) }),
                let bytes = PNGEncoder.encode(picture)
            else { throw .noMemory }
            try core.withLock { core throws(Errno) in try core.keepSnapshot(bytes, key) }
        }
        let isFromCache = context.isFromCache
        return try change(&context) { core throws(Errno) in
            switch found {
            case .frame(let number, _, _):
                return try core.readFrame(number, found, at: offset, into: &buffer, isFromCache)
            case .window(let id) where !isFromCache: return try core.readEvents(id, caller, into: &buffer)
            case .window(let id), .windowPixels(let id, _):
                return try core.readPixels(window: id, found, at: offset, into: &buffer, isFromCache)
            default:
                guard case (let number, let file?)? = found.display else { throw .isDirectory }
                return try core.read(file, number, key, caller, at: offset, into: &buffer)
            }
        }
    }

    public func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let caller = DisplayCore.Caller(context)
        let isFromCache = context.isFromCache
        return try change(&context) { core throws(Errno) in
            let found = try core.node(node)
            if case (let number, let file?)? = found.display {
                if let again = core.answer(caller) { return Int(again) }
                return try core.write(file, number, found, caller, at: offset, bytes, isFromCache)
            }
            switch found {
            case .window(let id) where !isFromCache:
                if let again = core.answer(caller) { return Int(again) }
                guard core.window(id) != nil else { throw .staleNFSFileHandle }
                guard let lines = TextLines.split(bytes.copied()) else { throw .invalidArgument }
                // All are known before the first is carried out.
                let commands = lines.compactMap { WindowCommand($0) }
                guard commands.count == lines.count else { throw .invalidArgument }
                for command in commands { core.carryOut(command, id) }
                guard core.keep(caller, result: Int64(bytes.byteCount)) else { throw .noSpace }
                return bytes.byteCount
            case .window(let id), .windowPixels(let id, _):
                return try core.writePixels(window: id, at: offset, bytes, isFromCache)
            default: throw .isDirectory
            }
        }
    }
}

extension DisplayCore {
    // MARK: Reading

    mutating func read(
        _ file: DisplayFile, _ number: Int, _ key: HandleKey, _ caller: Caller, at offset: UInt64,
        into buffer: inout MutableRawSpan
    ) throws(Errno) -> Int {
        guard var display = state.displays[number] else { throw .staleNFSFileHandle }
        switch file {
        case .info, .size, .cursor: return buffer.fill(from: Array(text(file, number).utf8), at: offset)
        case .picture: return try readSnapshot(key, at: offset, into: &buffer)
        case .clipboard: return buffer.fill(from: memory.clipboard(number, display), at: offset)
        case .damage, .frame: throw .badFileDescriptor
        case .input, .rawInput:
            // Done by the last incarnation: the bytes are in the reply already.
            if let again = answer(caller) { return min(Int(again), buffer.byteCount) }
            guard buffer.byteCount > 0 else { return 0 }
            guard !display.events.isEmpty else { throw .wouldBlock }
            let isRaw = file == .rawInput
            guard !isRaw || buffer.byteCount >= InputEvent.byteCount else { throw .invalidArgument }
            let count = readEvents(
                &display.events, DisplayMemory.queue(display: number), asRecords: isRaw, into: &buffer)
            // The rest of a line alone is nothing for a reader of records.
            guard count > 0 else { throw .wouldBlock }
            state.displays[number] = display
            guard keep(caller, result: Int64(count)) else { throw .noSpace }
            return count
        case .text:
            if let again = answer(caller) { return min(Int(again), buffer.byteCount) }
            guard buffer.byteCount > 0 else { return 0 }
            guard !display.typed.isEmpty else { throw .wouldBlock }
            let count = buffer.fill(from: display.typed, at: 0)
            display.typed.removeFirst(count)
            state.displays[number] = display
            guard keep(caller, result: Int64(count)) else { throw .noSpace }
            return count
        }
    }

    mutating func readFrame(
        _ number: Int, _ node: DisplayNode, at offset: UInt64, into buffer: inout MutableRawSpan, _ isFromCache: Bool
    ) throws(Errno) -> Int {
        guard let display = state.displays[number] else { throw .staleNFSFileHandle }
        if isFromCache { mappedNodes.insert(node.number) }
        return Self.copy(memory.pixels(number, display.size), at: offset, into: &buffer)
    }

    mutating func readEvents(_ id: UInt32, _ caller: Caller, into buffer: inout MutableRawSpan) throws(Errno) -> Int {
        if let again = answer(caller) { return min(Int(again), buffer.byteCount) }
        guard let index = window(id) else { throw .staleNFSFileHandle }
        guard buffer.byteCount >= InputEvent.byteCount else { throw .invalidArgument }
        var events = state.windows[index].events
        guard !events.isEmpty else {
            if state.windows[index].flags.contains(.asynchronous) { return 0 }
            throw .wouldBlock
        }
        let count = readEvents(&events, DisplayMemory.queue(state.windows[index]), asRecords: true, into: &buffer)
        state.windows[index].events = events
        guard keep(caller, result: Int64(count)) else { throw .noSpace }
        return count
    }

    mutating func readPixels(
        window id: UInt32, _ node: DisplayNode, at offset: UInt64, into buffer: inout MutableRawSpan,
        _ isFromCache: Bool
    ) throws(Errno) -> Int {
        guard let index = window(id) else { throw .staleNFSFileHandle }
        if isFromCache { mappedNodes.insert(node.number) }
        return Self.copy(memory.pixels(state.windows[index]), at: offset, into: &buffer)
    }

    private static func copy(_ pixels: PixelArea, at offset: UInt64, into buffer: inout MutableRawSpan) -> Int {
        guard let start = Int(exactly: offset), start < pixels.size.byteCount else { return 0 }
        let count = min(buffer.byteCount, pixels.size.byteCount - start)
        let source = pixels.bytes.extracting(start..<(start + count))
        unsafe buffer.withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<count]).copyMemory(from: source)
            }
        }
        return count
    }

    /// Throws EBUSY if there is no place for a picture: others are in the middle of theirs.
    func checkRoomForSnapshot(_ key: HandleKey) throws(Errno) {
        guard state.snapshots.count == DisplayMemory.snapshotCount else { return }
        guard state.snapshots.contains(where: { $0.key == key || finishedReaders.contains($0.key) }) else {
            throw .resourceBusy
        }
    }

    /// Keeps a picture for the file that it is read through: in place of its last one, or of one that was read to the end.
    mutating func keepSnapshot(_ bytes: [UInt8], _ key: HandleKey) throws(Errno) {
        try checkRoomForSnapshot(key)
        var replaced = state.snapshots.firstIndex { $0.key == key }
        if replaced == nil, state.snapshots.count == DisplayMemory.snapshotCount {
            replaced = state.snapshots.firstIndex { finishedReaders.contains($0.key) }
        }
        if let replaced {
            let old = state.snapshots.remove(at: replaced)
            finishedReaders.remove(old.key)
            // It must not count any more when its bytes are gone.
            guard keep(nil) else { throw .noSpace }
            memory.discardSnapshot(Int(old.place))
        }
        let used = Set(state.snapshots.map(\.place))
        guard let place = (0..<UInt32(DisplayMemory.snapshotCount)).first(where: { !used.contains($0) }),
            memory.setSnapshot(Int(place), bytes)
        else { throw .noSpace }
        state.snapshots.append(DisplayState.Snapshot(key: key, place: place, count: bytes.count))
        guard keep(nil) else { throw .noSpace }
    }

    private mutating func readSnapshot(
        _ key: HandleKey, at offset: UInt64, into buffer: inout MutableRawSpan
    ) throws(Errno) -> Int {
        // Read from the middle without the beginning; or read to the end, and its place needed for another.
        guard let snapshot = state.snapshots.last(where: { $0.key == key }) else { throw .staleNFSFileHandle }
        guard let start = Int(exactly: offset), start < snapshot.count else {
            finishedReaders.insert(key)
            return 0
        }
        let count = min(buffer.byteCount, snapshot.count - start)
        return buffer.fill(from: memory.snapshot(Int(snapshot.place), start..<(start + count)), at: 0)
    }

    // MARK: Writing

    mutating func write(
        _ file: DisplayFile, _ number: Int, _ node: DisplayNode, _ caller: Caller, at offset: UInt64, _ bytes: RawSpan,
        _ isFromCache: Bool
    ) throws(Errno) -> Int {
        guard let display = state.displays[number] else { throw .staleNFSFileHandle }
        switch file {
        case .info, .picture: throw .badFileDescriptor
        case .frame:
            if case .frame(_, let generation, let size) = node, !isFromCache,
                offset > UInt64(size.byteCount) || UInt64(bytes.byteCount) > UInt64(size.byteCount) - offset
            {
                // To the kernel the file has grown.
                try renewFrame(number, after: generation)
            }
            return writeFrame(number, display, at: offset, bytes, isFromCache)
        case .text:
            guard write(bytes, toTerminal: number, caller) else { throw .noSpace }
            return bytes.byteCount
        case .input, .rawInput: return try writeEvents(file, number, caller, bytes)
        case .clipboard:
            let end = offset.addingReportingOverflow(UInt64(bytes.byteCount))
            guard !end.overflow, end.partialValue <= UInt64(DisplayMemory.clipboardBytes) else { throw .noSpace }
            var text = memory.clipboard(number, display)
            let start = Int(offset)
            if text.count < start { text += [UInt8](repeating: 0, count: start - text.count) }
            let old = text.dropFirst(start + bytes.byteCount)
            guard case .clipboard(_, let generation) = node else { throw .staleNFSFileHandle }
            setClipboard(number, text.prefix(start) + bytes.copied() + old, through: generation)
            deliver(InputEvent(.clipboardUpdate), toDisplay: number)
        case .size, .cursor, .damage:
            return try writeLines(bytes, to: file, number, caller)
        }
        guard keep(caller, result: Int64(bytes.byteCount)) else { throw .noSpace }
        return bytes.byteCount
    }

    private mutating func writeLines(
        _ bytes: RawSpan, to file: DisplayFile, _ number: Int, _ caller: Caller
    ) throws(Errno) -> Int {
        guard let display = state.displays[number] else { throw .staleNFSFileHandle }
        let count = bytes.byteCount
        let bytes = bytes.copied()
        if file == .size {
            guard let text = String(validating: bytes, as: UTF8.self), let size = PixelSize(text: text) else {
                throw .invalidArgument
            }
            if size == display.size { return count }
            guard resize(number, size, caller, result: Int64(count)) else { throw .noSpace }
            return count
        }
        guard let lines = TextLines.split(bytes) else { throw .invalidArgument }
        var parts: [Rectangle] = []
        var places: [DisplayState.Pointer] = []
        for line in lines {
            let numbers = line.split { $0 == " " || $0 == "," || $0 == "\t" }.map { Int($0) }
            if file == .damage {
                guard numbers.count == 4, let x = numbers[0], let y = numbers[1], let width = numbers[2],
                    let height = numbers[3], PixelSize(width: width, height: height) != nil,
                    Window.positions.contains(x), Window.positions.contains(y)
                else { throw .invalidArgument }
                parts.append(Rectangle(x: x, y: y, width: width, height: height))
            } else {
                guard (2...3).contains(numbers.count), let x = numbers[0], let y = numbers[1],
                    let isVisible = numbers.count == 3
                        ? numbers[2] : (places.last ?? display.pointer).isVisible ? 1 : 0,
                    (0...1).contains(isVisible)
                else { throw .invalidArgument }
                places.append(DisplayState.Pointer(x: x, y: y, isVisible: isVisible == 1))
            }
        }
        // All of it is known before anything is done.
        for part in parts { note(number, part) }
        for place in places {
            setPointer(number, isVisible: place.isVisible)
            take(InputEvent(.mouse, Int64(place.x), Int64(place.y)), number)
        }
        // What was written through a mapping lies in the kernel's pages: it is fetched from there.
        if file == .damage { staleFrames(number) }
        guard keep(caller, result: Int64(count)) else { throw .noSpace }
        return count
    }

    private mutating func setPointer(_ number: Int, isVisible: Bool) {
        guard let pointer = state.displays[number]?.pointer else { return }
        state.displays[number]?.pointer.isVisible = isVisible
        note(number, PointerArrow.bounds(pointer.x, pointer.y))
    }

    /// Events that a program gives as if a user had caused them. What isn't whole or not known is refused, with nothing taken.
    private mutating func writeEvents(
        _ file: DisplayFile, _ number: Int, _ caller: Caller, _ bytes: RawSpan
    ) throws(Errno) -> Int {
        let bytes = bytes.copied()
        var events: [InputEvent] = []
        if file == .rawInput {
            guard bytes.count % InputEvent.byteCount == 0 else { throw .invalidArgument }
            for start in stride(from: 0, to: bytes.count, by: InputEvent.byteCount) {
                if let event = InputEvent(bytes[start...]) { events.append(event) }
            }
        } else {
            guard let lines = TextLines.split(bytes) else { throw .invalidArgument }
            for line in lines {
                guard let known = InputEvent.events(line: line) else { throw .invalidArgument }
                events += known
            }
        }
        // More would write over records that count.
        guard events.count <= Int(DisplayState.EventQueue.capacity) else { throw .messageTooLong }
        for event in events { take(event, number) }
        guard keep(caller, result: Int64(bytes.count)) else { throw .noSpace }
        return bytes.count
    }

    /// Writes pixels: the place is that of the offset in an endless row of frames. What the kernel writes back from its pages ends with the
    /// frame.
    private mutating func writeFrame(
        _ number: Int, _ display: DisplayState.Display, at offset: UInt64, _ bytes: RawSpan, _ isFromCache: Bool
    ) -> Int {
        let frame = display.size.byteCount
        let base = memory.pixelsOffset(display: number)
        if isFromCache {
            guard let start = Int(exactly: offset), start < frame else { return bytes.byteCount }
            let part = bytes.extracting(first: min(bytes.byteCount, frame - start))
            memory.memory.copyBytes(from: part, at: base + start)
            noteBytes(number, display.size, (0, 0), start, part.byteCount)
            return bytes.byteCount
        }
        var done = 0
        var start = Int(offset % UInt64(frame))
        while done < bytes.byteCount {
            let count = min(bytes.byteCount - done, frame - start)
            memory.memory.copyBytes(from: bytes.extracting(done..<(done + count)), at: base + start)
            noteBytes(number, display.size, (0, 0), start, count)
            done += count
            start = 0
        }
        staleFrames(number)
        return bytes.byteCount
    }

    /// Bytes of pixels were written that begin at a place of the display.
    private mutating func noteBytes(
        _ number: Int, _ size: PixelSize, _ place: (x: Int, y: Int), _ start: Int, _ count: Int
    ) {
        guard count > 0 else { return }
        let stride = 4 * size.width
        let (first, last) = (start / stride, (start + count - 1) / stride)
        var part = Rectangle(x: 0, y: first, width: size.width, height: last - first + 1)
        if first == last {
            part.x = start % stride / 4
            part.width = (start % stride + count - 1) / 4 - part.x + 1
        }
        part.x += place.x
        part.y += place.y
        note(number, part)
    }

    mutating func writePixels(
        window id: UInt32, at offset: UInt64, _ bytes: RawSpan, _ isFromCache: Bool
    ) throws(Errno) -> Int {
        guard let index = window(id) else { throw .staleNFSFileHandle }
        let window = state.windows[index]
        guard let start = Int(exactly: offset), start < window.size.byteCount else {
            if isFromCache { return bytes.byteCount }
            throw .noSpace
        }
        let part = bytes.extracting(first: min(bytes.byteCount, window.size.byteCount - start))
        memory.memory.copyBytes(from: part, at: memory.pixelsOffset(window) + start)
        noteBytes(0, window.size, (window.x, window.y), start, part.byteCount)
        if !isFromCache { staleWindow(id) }
        return isFromCache ? bytes.byteCount : part.byteCount
    }
}
