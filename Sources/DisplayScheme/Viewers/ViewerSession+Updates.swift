extension ViewerSession {
    /// Pixels of one rectangle: a picture goes in such parts, each of which is kept until it is sent.
    private static let stripePixels = 1 << 16
    /// The widest rectangle: more is nothing for some viewers of Tight.
    private static let stripeWidth = 2048

    /// What of the display has changed.
    mutating func note(_ other: DamageList) { damage.add(other) }

    /// Puts out the next part of what was asked for, if there is something.
    mutating func update(_ scheme: DisplayScheme, _ encoder: RectangleEncoder) throws(ViewerFault) {
        guard output.isEmpty, case .serving = phase else { return }
        if running?.parts.isEmpty ?? true {
            running = nil
            putClipboard(scheme)
            guard output.isEmpty else { return }
            beginUpdate(scheme)
        }
        while let style = running?.style, output.count < Self.stripePixels * 4, let part = nextPart() {
            putRectangle(part, style.encoding.rawValue)
            guard
                encoder.append(
                    scheme.compose(display, part), width: part.width, style, zrleHasBegun: &zrleHasBegun, to: &output)
            else { throw ViewerFault(reason: "no memory") }
        }
    }

    /// Tells the viewer of a clipboard that it doesn't know. Not of an empty one: that is the moment before a new text is written.
    private mutating func putClipboard(_ scheme: DisplayScheme) {
        guard let (changes, text) = scheme.clipboard(of: display, since: clipboardSeen) else { return }
        clipboardSeen = changes
        guard !text.isEmpty else { return }
        // Latin-1 on the wire.
        let bytes = String(decoding: text, as: UTF8.self).unicodeScalars.map {
            UInt8(exactly: $0.value) ?? UInt8(ascii: "?")
        }
        output += [ServerMessage.cutText, 0, 0, 0]
        put32(UInt32(clamping: bytes.count))
        output += bytes
    }

    private mutating func beginUpdate(_ scheme: DisplayScheme) {
        guard let request, let new = scheme.size(of: display) else { return }
        if damage.isResized || new != sizeSeen || takesSize && new != size {
            sizeSeen = new
            damage = DamageList()
            // Who isn't told of the size sees black where nothing is any more.
            damage.add(takesSize ? new.bounds : size.bounds)
            if takesSize, new != size {
                size = new
                output += [ServerMessage.update, 0]
                put16(1)
                putRectangle(Rectangle(width: new.width, height: new.height), Self.sizeEncoding)
                self.request = nil
                return
            }
        }
        damage.crop(to: size)
        let wanted = request.rectangle.intersection(size.bounds)
        var parts = request.isIncremental ? damage.rectangles.map { $0.intersection(wanted) } : [wanted]
        parts = parts.filter { !$0.isEmpty }
        guard !parts.isEmpty else { return }
        damage.remove(wanted)
        self.request = nil
        parts = parts.flatMap { part in
            stride(from: part.x, to: part.right, by: Self.stripeWidth).map {
                Rectangle(x: $0, y: part.y, width: min(Self.stripeWidth, part.right - $0), height: part.height)
            }
        }
        let count = parts.reduce(0) { $0 + ($1.height + Self.rows($1) - 1) / Self.rows($1) }
        output += [ServerMessage.update, 0]
        put16(count)
        running = Update(parts: parts, style: style)
    }

    /// Rows of one rectangle.
    private static func rows(_ part: Rectangle) -> Int { max(1, stripePixels / max(1, part.width)) }

    /// Takes the next rectangle of the update that is being sent; nil: it is complete.
    private mutating func nextPart() -> Rectangle? {
        guard let part = running?.parts.first else { return nil }
        let rows = min(part.height, Self.rows(part))
        if rows == part.height {
            running?.parts.removeFirst()
        } else {
            running?.parts[0] = Rectangle(x: part.x, y: part.y + rows, width: part.width, height: part.height - rows)
        }
        return Rectangle(x: part.x, y: part.y, width: part.width, height: rows)
    }

    private mutating func putRectangle(_ rectangle: Rectangle, _ encoding: Int32) {
        put16(rectangle.x)
        put16(rectangle.y)
        put16(rectangle.width)
        put16(rectangle.height)
        put32(UInt32(bitPattern: encoding))
    }
}

extension DisplayScheme {
    /// A display's size; nil if there is no such display.
    func size(of display: Int) -> PixelSize? { core.withLock { $0.state.displays[display]?.size } }

    /// What is seen in a part of a display; black where it has no pixels (any more).
    func compose(_ display: Int, _ part: Rectangle) -> [UInt32] {
        let (pixels, seen) = core.withLock { core in
            let seen = part.intersection(core.state.displays[display]?.size.bounds ?? Rectangle(width: 0, height: 0))
            return (Compositor.compose(core, display, seen), seen)
        }
        if seen == part { return pixels }
        var result = [UInt32](repeating: 0xff00_0000, count: part.width * part.height)
        guard !seen.isEmpty, pixels.count == seen.width * seen.height else { return result }
        for y in 0..<seen.height {
            let target = (seen.y - part.y + y) * part.width + seen.x - part.x
            result.replaceSubrange(
                target..<(target + seen.width), with: pixels[(y * seen.width)..<((y + 1) * seen.width)])
        }
        return result
    }

    /// Takes events of a viewer.
    func take(_ events: [InputEvent], _ display: Int, _ effect: ViewerEffect) {
        change { core in
            guard core.begin(effect) else { return }
            for event in events { core.take(event, display) }
            _ = core.keep(nil)
        }
    }

    /// A display's clipboard and how often it was changed; nil if that is what is known.
    func clipboard(of display: Int, since known: UInt32) -> (changes: UInt32, text: [UInt8])? {
        core.withLock { core in
            guard let state = core.state.displays[display], state.clipboardChanges != known else { return nil }
            return (state.clipboardChanges, core.memory.clipboard(display, state))
        }
    }

    /// Takes a viewer's clipboard. Returns how often it was changed then; nil if that was done already.
    func setClipboard(_ text: String, _ display: Int, _ effect: ViewerEffect) -> UInt32? {
        change { core -> UInt32? in
            guard core.begin(effect) else { return nil }
            core.setClipboard(display, Array(text.utf8.prefix(DisplayMemory.clipboardBytes)), through: nil)
            core.deliver(InputEvent(.clipboardUpdate), toDisplay: display)
            _ = core.keep(nil)
            return core.state.displays[display]?.clipboardChanges
        }
    }

    /// Forgets what all but these viewers did.
    func forgetEffects(except viewers: Set<UInt64>) {
        change { core in
            guard core.state.effects.keys.contains(where: { !viewers.contains($0) }) else { return }
            core.state.effects = core.state.effects.filter { viewers.contains($0.key) }
            _ = core.keep(nil)
        }
    }
}

extension DisplayCore {
    /// Notes what a viewer did, to be kept with its consequences. False: it was done already.
    mutating func begin(_ effect: ViewerEffect) -> Bool {
        guard (state.effects[effect.viewer] ?? 0) < effect.number else { return false }
        state.effects[effect.viewer] = effect.number
        return true
    }
}
