import Platform

/// A viewer that doesn't keep to the protocol: its connection ends.
struct ViewerFault: Error {
    let reason: String
}

/// The kinds of a viewer's messages.
enum RemoteMessage: UInt8 {
    case setPixelFormat = 0
    case setEncodings = 2
    case updateRequest = 3
    case key = 4
    case pointer = 5
    case cutText = 6
}

/// The kinds of messages to a viewer.
enum ServerMessage {
    static let update: UInt8 = 0
    static let cutText: UInt8 = 3
}

/// How a viewer proves who it is.
enum RemoteSecurity {
    static let none: UInt8 = 1
    /// By a password (`RemotePassword`).
    static let password: UInt8 = 2
}

/// What a viewer did, counted, so that it is done once although the process that did it died before it could write that down.
struct ViewerEffect {
    let viewer: UInt64
    let number: UInt64
}

/// One viewer's side of the conversation (RFC 6143, the remote framebuffer protocol 3.8): bytes in, bytes out. Knows no sockets.
struct ViewerSession {
    enum Phase {
        case version
        case security
        case challenge([UInt8])
        case start
        case serving
    }

    /// What a viewer has asked for and not got yet.
    struct Request: Equatable {
        let rectangle: Rectangle
        /// Only what has changed.
        let isIncremental: Bool
    }

    /// An update of which a part is sent. It is in one style from beginning to end.
    struct Update: Equatable {
        var parts: [Rectangle]
        let style: RectangleStyle
    }

    /// What is to be sent.
    var output: [UInt8] = []
    let display: Int
    let viewer: UInt64
    let hasPassword: Bool
    var input: [UInt8] = []
    /// Where in the input the next message begins, while messages are taken.
    private var position = 0
    var phase = Phase.version
    var version = 8
    var style = RectangleStyle()
    var takesSize = false
    var request: Request?
    var running: Update?
    var zrleHasBegun = false
    var damage = DamageList()
    /// The size that the viewer was told.
    var size = PixelSize.standard
    /// The display's size when its last update began: another one is news once, also to a viewer that can't be told.
    var sizeSeen = PixelSize.standard
    var buttons: UInt8 = 0
    var effects: UInt64 = 0
    /// The change of the clipboard that the viewer was told of last, or made.
    var clipboardSeen: UInt32 = 0

    static let sizeEncoding: Int32 = -223
    /// The pixels that have numbers.
    private static let plane = Rectangle(width: 65535, height: 65535)
    private static let levelEncodings: ClosedRange<Int32> = -256 ... -247
    private static let longestText = 1 << 20
    /// What may come at a time before the viewer is served.
    static let longestBeginning = 512
    static let wrongPassword = "wrong password"

    /// Whether it is past the handshake.
    var isServing: Bool {
        if case .serving = phase { true } else { false }
    }

    /// A conversation that begins.
    ///
    /// - Parameters:
    ///   - viewer: its number.
    ///   - hasPassword: whether the viewer must know one.
    init(viewer: UInt64, display: Int, hasPassword: Bool) {
        self.viewer = viewer
        self.display = display
        self.hasPassword = hasPassword
        output = Array("RFB 003.008\n".utf8)
    }

    /// Takes what the viewer sent.
    mutating func receive(_ bytes: [UInt8], _ scheme: DisplayScheme, password: [UInt8]?) throws(ViewerFault) {
        input += bytes
        // Taken out at once: every removal moves all that follows.
        defer {
            input.removeFirst(position)
            position = 0
        }
        while try takeMessage(scheme, password) {}
        guard isServing || waiting <= Self.longestBeginning else { throw ViewerFault(reason: "not a viewer") }
    }

    /// Bytes of the input that no message was made of yet.
    private var waiting: Int { input.count - position }

    /// Takes part of the input; nil if it isn't all there.
    private mutating func take(_ count: Int) -> [UInt8]? {
        guard waiting >= count else { return nil }
        defer { position += count }
        return Array(input[position..<(position + count)])
    }

    /// A byte of the message that is looked at; it must be there.
    private func byte(_ index: Int) -> UInt8 { input[position + index] }

    private func number16(_ index: Int) -> Int { Int(byte(index)) << 8 | Int(byte(index + 1)) }

    private func number32(_ index: Int) -> UInt32 {
        UInt32(number16(index)) << 16 | UInt32(number16(index + 2))
    }

    mutating func put16(_ value: Int) {
        output += [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
    }

    mutating func put32(_ value: UInt32) {
        put16(Int(value >> 16))
        put16(Int(value & 0xffff))
    }

    // MARK: The beginning

    /// Takes one message; false if none is whole.
    private mutating func takeMessage(_ scheme: DisplayScheme, _ password: [UInt8]?) throws(ViewerFault) -> Bool {
        switch phase {
        case .version:
            guard let text = take(12) else { return false }
            guard text.starts(with: "RFB 003.".utf8), let minor = Int(String(decoding: text[8..<11], as: UTF8.self))
            else { throw ViewerFault(reason: "not a viewer") }
            version = minor < 7 ? 3 : min(minor, 8)
            try offerSecurity()
        case .security:
            guard let choice = take(1) else { return false }
            guard choice[0] == security else { throw ViewerFault(reason: "security \(choice[0])") }
            try chosen()
        case .challenge(let challenge):
            guard let answer = take(16) else { return false }
            guard let password, RemotePassword.isAnswer(answer, to: challenge, password) else {
                put32(1)
                let reason = Array(Self.wrongPassword.utf8)
                if version == 8 {
                    put32(UInt32(reason.count))
                    output += reason
                }
                throw ViewerFault(reason: Self.wrongPassword)
            }
            put32(0)
            phase = .start
        case .start:
            guard take(1) != nil else { return false }
            begin(scheme)
        case .serving: return try takeRequest(scheme)
        }
        return true
    }

    private var security: UInt8 { hasPassword ? RemoteSecurity.password : RemoteSecurity.none }

    private mutating func offerSecurity() throws(ViewerFault) {
        if version == 3 {
            put32(UInt32(security))
            try chosen()
        } else {
            output += [1, security]
            phase = .security
        }
    }

    /// The way of security is agreed on.
    private mutating func chosen() throws(ViewerFault) {
        if !hasPassword {
            if version == 8 { put32(0) }
            phase = .start
        } else {
            guard let challenge = try? SystemCall.randomBytes(count: 16) else {
                throw ViewerFault(reason: "no random numbers")
            }
            output += challenge
            phase = .challenge(challenge)
        }
    }

    private mutating func begin(_ scheme: DisplayScheme) {
        size = scheme.size(of: display) ?? .standard
        sizeSeen = size
        // What it sees first it asks for as a whole.
        damage = DamageList()
        put16(size.width)
        put16(size.height)
        output += RemotePixelFormat.native.bytes
        let name = Array("Saltbridge display \(display)".utf8)
        put32(UInt32(name.count))
        output += name
        phase = .serving
    }

    // MARK: Requests

    private mutating func takeRequest(_ scheme: DisplayScheme) throws(ViewerFault) -> Bool {
        guard waiting > 0 else { return false }
        guard let kind = RemoteMessage(rawValue: byte(0)) else { throw ViewerFault(reason: "message \(byte(0))") }
        switch kind {
        case .setPixelFormat:
            guard let bytes = take(20) else { return false }
            guard let wanted = RemotePixelFormat(bytes[4...]) else { throw ViewerFault(reason: "pixel format") }
            style.format = wanted
        case .setEncodings:
            guard waiting >= 4 else { return false }
            let count = number16(2)
            guard waiting >= 4 + 4 * count else { return false }
            let encodings = (0..<count).map { Int32(bitPattern: number32(4 + 4 * $0)) }
            takesSize = encodings.contains(Self.sizeEncoding)
            style.encoding = encodings.lazy.compactMap { RectangleEncoding(rawValue: $0) }.first ?? .raw
            style.level = encodings.first { Self.levelEncodings.contains($0) }.map { Int($0 + 256) } ?? 1
            position += 4 + 4 * count
        case .updateRequest:
            guard waiting >= 10 else { return false }
            let rectangle = Rectangle(x: number16(2), y: number16(4), width: number16(6), height: number16(8))
            ask(Request(rectangle: rectangle.intersection(Self.plane), isIncremental: byte(1) != 0))
            position += 10
        case .key:
            guard waiting >= 8 else { return false }
            let event = RemoteKeys.event(number32(4), isPressed: byte(1) != 0)
            position += 8
            if let event { scheme.take([event], display, nextEffect()) }
        case .pointer:
            guard waiting >= 6 else { return false }
            let (mask, x, y) = (byte(1), number16(2), number16(4))
            position += 6
            scheme.take(pointerEvents(mask, x, y), display, nextEffect())
        case .cutText:
            guard waiting >= 8 else { return false }
            let count = Int(number32(4))
            guard count <= Self.longestText else { throw ViewerFault(reason: "text of \(count) bytes") }
            guard waiting >= 8 + count else { return false }
            // Latin-1 on the wire.
            let start = position + 8
            let text = String(String.UnicodeScalarView(input[start..<(start + count)].map { Unicode.Scalar($0) }))
            position += 8 + count
            // It needn't be told of what it has said.
            clipboardSeen = scheme.setClipboard(text, display, nextEffect()) ?? clipboardSeen
        }
        return true
    }

    /// Notes what a viewer asks for. What it asked for before and hasn't got yet it still wants: one answer is for both, with all of a
    /// rectangle that was asked for as a whole.
    private mutating func ask(_ new: Request) {
        guard let old = request, old != new else {
            request = new
            return
        }
        for part in [old, new] where !part.isIncremental { damage.add(part.rectangle) }
        request = Request(rectangle: old.rectangle.union(new.rectangle), isIncremental: true)
    }

    private mutating func nextEffect() -> ViewerEffect {
        effects &+= 1
        return ViewerEffect(viewer: viewer, number: effects)
    }

    /// The wheel comes as buttons 4 and 5.
    private mutating func pointerEvents(_ mask: UInt8, _ x: Int, _ y: Int) -> [InputEvent] {
        var events = [InputEvent(.mouse, Int64(x), Int64(y))]
        if mask & 7 != buttons & 7 { events.append(InputEvent(.button, Int64(mask & 7))) }
        let pressed = mask & ~buttons
        if pressed & 8 != 0 { events.append(InputEvent(.scroll, 0, 1)) }
        if pressed & 16 != 0 { events.append(InputEvent(.scroll, 0, -1)) }
        buttons = mask
        return events
    }
}
