/// All that is said over one connection: the remote framebuffer protocol, for browsers in a web socket's frames. Bytes in, bytes out;
/// knows no sockets. Its whole state can be kept and taken up by another process (`encode`).
struct ViewerConversation {
    private enum Kind: UInt32 {
        /// A browser that hasn't said yet what it wants.
        case request = 1
        /// The conversation in a web socket's frames.
        case web = 2
        case plain = 3
        /// A page is being sent: the connection ends after it.
        case page = 4
    }

    /// What is to be sent next.
    var output: [UInt8] = []
    /// Why the connection ends when everything is sent; empty: as it should.
    private(set) var ending: String?
    private(set) var session: ViewerSession
    private var kind: Kind
    private var web = WebSocket()

    /// A conversation that begins.
    ///
    /// - Parameters:
    ///   - viewer: its number, different from all others'.
    ///   - hasPassword: whether the viewer must know one.
    init(viewer: UInt64, isWeb: Bool, hasPassword: Bool) {
        kind = isWeb ? .request : .plain
        session = ViewerSession(viewer: viewer, display: 0, hasPassword: hasPassword)
        if !isWeb { takeOutput() }
    }

    var display: Int { session.display }

    /// Whether the viewer has greeted, and knows the password if there is one.
    var isServing: Bool { (kind == .plain || kind == .web) && session.isServing }

    /// Whether it ends because the viewer doesn't know the password.
    var isRejected: Bool { ending == ViewerSession.wrongPassword }

    /// What of the display has changed.
    mutating func note(_ damage: DamageList) { session.note(damage) }

    /// Ends when everything is sent.
    mutating func end(_ reason: String) { ending = ending ?? reason }

    /// Takes what the viewer sent.
    mutating func receive(_ bytes: [UInt8], _ scheme: DisplayScheme, password: [UInt8]?) {
        do throws(ViewerFault) {
            switch kind {
            case .plain: try session.receive(bytes, scheme, password: password)
            case .page: break
            case .request: try takeRequest(bytes)
            case .web:
                if let contents = try web.takeFrames(
                    bytes, longestFrame: session.isServing ? WebSocket.longestFrame : ViewerSession.longestBeginning,
                    &output)
                {
                    try session.receive(contents, scheme, password: password)
                } else {
                    end("")
                }
            }
        } catch {
            // The reason may be for the viewer: what there is is still sent.
            end(error.reason)
        }
        takeOutput()
    }

    private mutating func takeRequest(_ bytes: [UInt8]) throws(ViewerFault) {
        switch try web.takeRequest(bytes) {
        case .page:
            output += WebSocket.response("200 OK", ViewerPage.html)
            kind = .page
            end("")
        case .socket(let path, let answer):
            session = ViewerSession(
                viewer: session.viewer, display: DisplayCore.displayNumber(String(path.dropFirst())) ?? 0,
                hasPassword: session.hasPassword)
            output += answer
            kind = .web
        case .other:
            output += WebSocket.response("404 Not Found", "<p>There is nothing here.</p>")
            kind = .page
            end("")
        case .misdirected:
            output += WebSocket.response(
                "421 Misdirected Request", "<p>Use the address in numbers, or localhost, in place of a name.</p>")
            kind = .page
            end("")
        case nil: break
        }
    }

    /// Makes the next part of a picture, if one was asked for and there is something to show.
    mutating func produce(_ scheme: DisplayScheme, _ encoder: RectangleEncoder) {
        guard output.isEmpty, ending == nil, kind == .plain || kind == .web else { return }
        do throws(ViewerFault) {
            try session.update(scheme, encoder)
            takeOutput()
        } catch {
            session.output = []
            end(error.reason)
        }
    }

    private mutating func takeOutput() {
        guard !session.output.isEmpty, kind == .plain || kind == .web else { return }
        output += kind == .web ? WebSocket.frame(2, session.output) : session.output
        session.output = []
    }

    // MARK: Keeping

    func encode(into writer: inout StateWriter) {
        writer.put(kind.rawValue)
        writer.put(ending != nil)
        writer.put(Array((ending ?? "").utf8))
        writer.put(web.input)
        session.encode(into: &writer)
    }

    /// Taken up from what was kept: all of the display may have changed since. Nil if it makes no sense.
    init?(decoding reader: inout StateReader) {
        guard let kind = Kind(rawValue: reader.uint32()) else { return nil }
        self.kind = kind
        let isEnding = reader.bool()
        let reason = String(decoding: reader.array(), as: UTF8.self)
        ending = isEnding ? reason : nil
        web = WebSocket(input: reader.array())
        guard let session = ViewerSession(decoding: &reader) else { return nil }
        self.session = session
    }
}
