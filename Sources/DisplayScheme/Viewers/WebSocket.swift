import CCrypto
import Platform

/// The web's side of a viewer's connection: the request for the page or for a web socket (RFC 6455), and the socket's frames.
struct WebSocket {
    /// What a browser asked for.
    enum Request: Equatable {
        /// A page of ours.
        case page(String)
        /// A socket; with the answer to send.
        case socket(path: String, answer: [UInt8])
        /// Something that isn't there.
        case other
        /// Asked for under a name: who answers for that name today may be somebody else tomorrow.
        case misdirected
    }

    private static let longestRequest = 16384
    static let longestFrame = 1 << 20

    /// What came and isn't whole yet.
    private(set) var input: [UInt8] = []

    init(input: [UInt8] = []) { self.input = input }

    /// Takes bytes of a request; nil if more must come.
    mutating func takeRequest(_ bytes: [UInt8]) throws(ViewerFault) -> Request? {
        input += bytes
        guard input.count <= Self.longestRequest else { throw ViewerFault(reason: "request too long") }
        let text = String(decoding: input, as: UTF8.self)
        guard text.hasSuffix("\r\n\r\n") else { return nil }
        input = []
        let lines = text.split(separator: "\r\n").map(String.init)
        let words = lines.first?.split(separator: " ") ?? []
        guard words.count == 3, words[0] == "GET" else { throw ViewerFault(reason: "not a request for a page") }
        let path = String(words[1].prefix { $0 != "?" })
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 {
                fields[parts[0].lowercased()] = String(parts[1].drop { $0 == " " })
            }
        }
        // A page of another site could have its own name lead here, and would then count as one of ours.
        if let host = fields["host"], !Self.isPlain(host) { return .misdirected }
        guard fields["upgrade"]?.lowercased() == "websocket", let key = fields["sec-websocket-key"] else {
            return path == "/" || DisplayCore.displayNumber(String(path.dropFirst())) != nil ? .page(path) : .other
        }
        // Another site's page must not look at this one's display.
        if let origin = fields["origin"] {
            guard let host = fields["host"], origin.hasSuffix("://\(host)") else { return .other }
        }
        var answer = """
            HTTP/1.1 101 Switching Protocols\r
            Upgrade: websocket\r
            Connection: Upgrade\r
            Sec-WebSocket-Accept: \(Self.accept(key))\r

            """
        if fields["sec-websocket-protocol"]?.contains("binary") ?? false {
            answer += "Sec-WebSocket-Protocol: binary\r\n"
        }
        return .socket(path: path, answer: Array((answer + "\r\n").utf8))
    }

    /// Whether a host is a numeric address or `localhost`, with a port or without.
    static func isPlain(_ text: String) -> Bool {
        guard let parts = try? HostAndPort(text) else { return false }
        if parts.host.lowercased() == "localhost" { return true }
        return SocketAddress(numeric: parts.host, port: 0)?.isIPv6 == parts.isBracketed
    }

    /// What the server says to a browser's key.
    static func accept(_ key: String) -> String {
        let text = Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)
        var digest = [UInt8](repeating: 0, count: 20)
        _ = unsafe SHA1(text, text.count, &digest)
        return base64(digest)
    }

    private static func base64(_ bytes: [UInt8]) -> String {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let part = bytes[start..<min(start + 3, bytes.count)]
            let bits = part.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - part.count))
            for index in 0..<4 {
                text.append(index <= part.count ? letters[Int(bits >> UInt32(18 - 6 * index) & 63)] : "=")
            }
        }
        return text
    }

    /// An answer with a page.
    static func response(_ status: String, _ body: String) -> [UInt8] {
        let body = Array(body.utf8)
        let head =
            "HTTP/1.1 \(status)\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: \(body.count)\r\n"
            + "Cache-Control: no-store\r\nX-Frame-Options: DENY\r\n"
            + "Content-Security-Policy: frame-ancestors 'none'\r\nConnection: close\r\n\r\n"
        return Array(head.utf8) + body
    }

    // MARK: Frames

    /// What a browser's frames carry; nil: the browser ended it. Answers (to pings) go to `output`.
    ///
    /// - Parameter longestFrame: what a frame may carry at most.
    mutating func takeFrames(
        _ bytes: [UInt8], longestFrame: Int = Self.longestFrame, _ output: inout [UInt8]
    ) throws(ViewerFault) -> [UInt8]? {
        input += bytes
        var contents: [UInt8] = []
        var position = 0
        defer { input.removeFirst(position) }
        while let frame = try takeFrame(from: &position, longestFrame) {
            switch frame.kind {
            case 0, 1, 2: contents += frame.contents
            case 8: return nil
            case 9: output += Self.frame(10, frame.contents)
            default: break
            }
        }
        return contents
    }

    private func takeFrame(
        from position: inout Int, _ longestFrame: Int
    ) throws(ViewerFault) -> (kind: UInt8, contents: [UInt8])? {
        let there = input.count - position
        guard there >= 2 else { return nil }
        guard input[position + 1] & 0x80 != 0 else { throw ViewerFault(reason: "frame without mask") }
        var count = Int(input[position + 1] & 0x7f)
        var start = 2
        if count >= 126 {
            let bytes = count == 126 ? 2 : 8
            guard there >= 2 + bytes else { return nil }
            let wide = input[(position + 2)..<(position + 2 + bytes)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            guard wide <= UInt64(longestFrame) else { throw ViewerFault(reason: "frame too long") }
            count = Int(wide)
            start += bytes
        }
        guard there >= start + 4 + count else { return nil }
        let first = position + start + 4
        let mask = Array(input[(first - 4)..<first])
        var contents = Array(input[first..<(first + count)])
        for index in contents.indices { contents[index] ^= mask[index & 3] }
        let kind = input[position] & 0x0f
        position = first + count
        return (kind, contents)
    }

    /// Bytes as a frame for the browser.
    static func frame(_ kind: UInt8, _ contents: [UInt8]) -> [UInt8] {
        var head: [UInt8] = [0x80 | kind]
        if contents.count < 126 {
            head.append(UInt8(contents.count))
        } else if contents.count < 65536 {
            head += [126, UInt8(contents.count >> 8), UInt8(contents.count & 0xff)]
        } else {
            head.append(127)
            for shift in stride(from: 56, through: 0, by: -8) {
                head.append(UInt8(truncatingIfNeeded: contents.count >> shift))
            }
        }
        return head + contents
    }
}
