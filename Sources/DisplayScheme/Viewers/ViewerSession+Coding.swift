extension ViewerSession {
    func encode(into writer: inout StateWriter) {
        writer.put(viewer)
        writer.put(display)
        writer.put(hasPassword)
        writer.put(input)
        switch phase {
        case .version: writer.put(UInt32(0))
        case .security: writer.put(UInt32(1))
        case .challenge(let challenge):
            writer.put(UInt32(2))
            writer.put(challenge)
        case .start: writer.put(UInt32(3))
        case .serving: writer.put(UInt32(4))
        }
        writer.put(version)
        style.encode(into: &writer)
        writer.put(takesSize)
        writer.put(zrleHasBegun)
        writer.put(size.width)
        writer.put(size.height)
        writer.put(UInt32(buttons))
        writer.put(effects)
        writer.put(request != nil)
        if let request {
            request.rectangle.encode(into: &writer)
            writer.put(request.isIncremental)
        }
        writer.put(running != nil)
        if let running {
            running.style.encode(into: &writer)
            writer.put(UInt32(running.parts.count))
            for part in running.parts { part.encode(into: &writer) }
        }
        writer.put(clipboardSeen)
        writer.put(sizeSeen.width)
        writer.put(sizeSeen.height)
    }

    /// Taken up from what was kept; nil if it makes no sense. What has changed meanwhile isn't known: everything may have.
    init?(decoding reader: inout StateReader) {
        let viewer = reader.uint64()
        let display = reader.int()
        guard (0..<DisplayMemory.displayCount).contains(display) else { return nil }
        self.init(viewer: viewer, display: display, hasPassword: reader.bool())
        output = []
        input = reader.array()
        switch reader.uint32() {
        case 0: phase = .version
        case 1: phase = .security
        case 2: phase = .challenge(reader.array())
        case 3: phase = .start
        case 4: phase = .serving
        default: return nil
        }
        version = reader.int()
        guard let style = RectangleStyle(decoding: &reader) else { return nil }
        self.style = style
        takesSize = reader.bool()
        zrleHasBegun = reader.bool()
        guard let size = PixelSize(width: reader.int(), height: reader.int()) else { return nil }
        self.size = size
        buttons = UInt8(truncatingIfNeeded: reader.uint32())
        effects = reader.uint64()
        if reader.bool() {
            guard let rectangle = Rectangle(decoding: &reader) else { return nil }
            request = Request(rectangle: rectangle, isIncremental: reader.bool())
        }
        if reader.bool() {
            guard let style = RectangleStyle(decoding: &reader) else { return nil }
            var parts: [Rectangle] = []
            for _ in 0..<reader.count(atMost: 1024) {
                guard let part = Rectangle(decoding: &reader) else { return nil }
                parts.append(part)
            }
            running = Update(parts: parts, style: style)
        }
        if !reader.isAtEnd { clipboardSeen = reader.uint32() }
        sizeSeen = size
        if !reader.isAtEnd {
            guard let seen = PixelSize(width: reader.int(), height: reader.int()) else { return nil }
            sizeSeen = seen
        }
        damage.sizeChanged()
    }
}

extension RectangleStyle {
    func encode(into writer: inout StateWriter) {
        writer.put(UInt32(bitPattern: encoding.rawValue))
        writer.put(level)
        writer.put(format.bytes)
    }

    init?(decoding reader: inout StateReader) {
        guard let encoding = RectangleEncoding(rawValue: Int32(bitPattern: reader.uint32())) else { return nil }
        self.encoding = encoding
        level = reader.int()
        guard let format = RemotePixelFormat(reader.array()[...]) else { return nil }
        self.format = format
    }
}

extension Rectangle {
    func encode(into writer: inout StateWriter) {
        for value in [x, y, width, height] { writer.put(value) }
    }

    /// From what was written; nil if no display is that large.
    init?(decoding reader: inout StateReader) {
        let values = (0..<4).map { _ in reader.int() }
        guard values.allSatisfy({ (0...65535).contains($0) }) else { return nil }
        self.init(x: values[0], y: values[1], width: values[2], height: values[3])
    }
}
