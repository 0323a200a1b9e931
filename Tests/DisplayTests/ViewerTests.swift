import Glibc
import Platform
import SchemeKit
import Testing

@testable import DisplayScheme

/// Viewers see what the display shows (RFC 6143), and what they do reaches the display.
struct ViewerTests {
    private typealias Viewer = SteppedViewer

    @Test func aViewerSeesThePixels() throws {
        let harness = try DisplayHarness()
        let pixels = testPixels(64 * 48, seed: 5)
        try harness.write(try harness.find("0/fb"), bytes(pixels))
        var viewer = Viewer(harness)
        let start = try viewer.begin()
        #expect(Array(start.prefix(4)) == [0, 64, 0, 48])
        #expect(Array(start[4..<20]) == RemotePixelFormat.native.bytes)
        let all = try viewer.say([3, 0, 0, 0, 0, 0, 0, 64, 0, 48])
        #expect(Array(all.prefix(16)) == [0, 0, 0, 1, 0, 0, 0, 0, 0, 64, 0, 48, 0, 0, 0, 0])
        #expect(Array(all[16...]) == bytes(pixels))
        // Nothing more until something changes, then only that.
        #expect(try viewer.say([3, 1, 0, 0, 0, 0, 0, 64, 0, 48]) == [])
        try harness.write(try harness.find("0/fb"), [1, 2, 3, 255], at: UInt64(4 * (10 * 64 + 20)))
        #expect(try viewer.take() == [0, 0, 0, 1, 0, 20, 0, 10, 0, 1, 0, 1, 0, 0, 0, 0, 1, 2, 3, 255])
    }

    @Test func otherPixelsAndSizes() throws {
        let harness = try DisplayHarness()
        try harness.write(try harness.find("0/fb"), bytes([0xffff_8040]))
        var viewer = Viewer(harness)
        _ = try viewer.begin()
        // 16 bits, 5-6-5, big-endian.
        _ = try viewer.say([0, 0, 0, 0, 16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0])
        let pixel = try viewer.say([3, 0, 0, 0, 0, 0, 0, 1, 0, 1])
        let value = UInt16(31) << 11 | UInt16(0x80 * 63 / 255) << 5 | UInt16(0x40 * 31 / 255)
        #expect(Array(pixel.suffix(2)) == [UInt8(value >> 8), UInt8(value & 0xff)])
        _ = try viewer.say([2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21])
        _ = try viewer.say([3, 1, 0, 0, 0, 0, 0, 64, 0, 48])
        try harness.write("0/size", "32x16")
        #expect(try viewer.take() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 32, 0, 16, 0xff, 0xff, 0xff, 0x21])
    }

    @Test func whatAViewerDoesIsInput() throws {
        let harness = try DisplayHarness()
        var viewer = Viewer(harness)
        _ = try viewer.begin()
        // In pieces, as they come.
        for byte in [4, 1, 0, 0, 0, 0, 0, 0x61, 4, 0, 0, 0, 0, 0, 0, 0x61, 5, 1, 0, 7, 0, 9, 5, 8, 0, 7, 0, 9]
            as [UInt8]
        {
            _ = try viewer.say([byte])
        }
        _ = try viewer.say([6, 0, 0, 0, 0, 0, 0, 2, 0x68, 0xe9])
        #expect(
            try harness.text("0/input")
                == "key 97 30 1\nkey 97 30 0\nmouse 7 9\nbutton 1\nmouse 7 9\nbutton 0\nscroll 0 1\nclipboard-update\n")
        #expect(try harness.text("0/clipboard") == "hé")
        #expect(throws: ViewerFault.self) { try viewer.say([99]) }
    }

    /// What is written to `clipboard` reaches every viewer, what a viewer has copied all others; each once.
    @Test func clipboardsReachViewers() throws {
        let harness = try DisplayHarness()
        try harness.write("0/clipboard", "before")
        let cut: [UInt8] = [3, 0, 0, 0, 0, 0, 0]
        let before = cut + [6] + Array("before".utf8)
        var viewer = Viewer(harness)
        #expect(Array(try viewer.begin().suffix(before.count)) == before)
        var other = Viewer(harness, number: 2)
        #expect(Array(try other.begin().suffix(before.count)) == before)
        // Emptied first, as by a shell.
        var context = harness.context()
        try harness.scheme.open(
            try harness.find("0/clipboard"), handle: 9, flags: OpenFlags.readWrite | OpenFlags.truncate, &context)
        #expect(try viewer.take() == [])
        try harness.write("0/clipboard", "hé €")
        #expect(try viewer.take() == cut + [4, 0x68, 0xe9, 0x20, 0x3f])
        #expect(try viewer.take() == [])
        #expect(try other.take() == cut + [4, 0x68, 0xe9, 0x20, 0x3f])
        // Not to the one whose text it is.
        #expect(try viewer.say([6, 0, 0, 0, 0, 0, 0, 2, 0x6f, 0x6b]) == [])
        #expect(try other.take() == cut + [2, 0x6f, 0x6b])
        #expect(try other.take() == [])
    }

    @Test func passwords() throws {
        let harness = try DisplayHarness()
        var viewer = Viewer(harness, password: "secret")
        _ = try viewer.take()
        #expect(try viewer.say(Array("RFB 003.008\n".utf8)) == [1, 2])
        let challenge = try viewer.say([2])
        #expect(challenge.count == 16)
        #expect(try viewer.say(RemotePassword.answer(challenge, Array("secret".utf8))) == [0, 0, 0, 0])
        var other = Viewer(harness, password: "secret")
        _ = try other.take()
        _ = try other.say(Array("RFB 003.003\n".utf8))
        #expect(throws: ViewerFault.self) { try other.say([UInt8](repeating: 0, count: 16)) }
        // Known from a session of other programs: an empty key is DES of zeros.
        #expect(
            RemotePassword.answer([UInt8](repeating: 0, count: 16), [])
                == [0x8c, 0xa6, 0x4d, 0xe9, 0xc1, 0xb1, 0x23, 0xa7, 0x8c, 0xa6, 0x4d, 0xe9, 0xc1, 0xb1, 0x23, 0xa7])
    }

    /// Every way to write rectangles gives the pixels, of every size, also when each part is packed by another process.
    @Test(arguments: [RectangleEncoding.raw, .tight, .zrle])
    func encodingsAreExact(_ encoding: RectangleEncoding) throws {
        var reader = RectangleReader()
        var hasBegun = false
        for (width, height) in [(1, 1), (3, 1), (4, 1), (64, 64), (65, 1), (1, 65), (130, 70), (300, 7)] {
            let random = testPixels(width * height, seed: UInt64(width))
            let half = random.enumerated().map { $0.offset < width * height / 2 ? 0xff00_ff00 : $0.element }
            for pixels in [random, half, [UInt32](repeating: 0xff01_0203, count: width * height)] {
                var bytes: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 0, UInt8(width >> 8), UInt8(width & 0xff), 0, UInt8(height)]
                bytes += [0, 0, 0, UInt8(encoding.rawValue)]
                #expect(
                    RectangleEncoder().append(
                        pixels, width: width, RectangleStyle(encoding: encoding), zrleHasBegun: &hasBegun, to: &bytes))
                var rest = bytes[...]
                let seen = try reader.update(width: width, height: height) { count in
                    try #require(rest.count >= count)
                    defer { rest = rest.dropFirst(count) }
                    return Array(rest.prefix(count))
                }
                #expect(seen == pixels && rest.isEmpty)
            }
        }
    }

    /// A large picture comes in parts that belong to one update, in the style that was wanted at its beginning.
    @Test func largePicturesComeInParts() throws {
        let harness = try DisplayHarness(size: "3000x200")
        let pixels = testPixels(3000 * 200, seed: 8)
        try harness.write(try harness.find("0/fb"), bytes(pixels))
        var viewer = Viewer(harness)
        _ = try viewer.begin()
        _ = try viewer.say([2, 0, 0, 2, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0x06])
        let all = try viewer.say([3, 0, 0, 0, 0, 0, 0x0b, 0xb8, 0, 200])
        var reader = RectangleReader()
        var rest = all[...]
        let seen = try reader.update(width: 3000, height: 200) { count in
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        #expect(seen == pixels && rest.isEmpty)
        #expect(all[2] != 0 || all[3] > 8)
    }

    /// What a display that became smaller has no more is black, for a viewer that can't take another size.
    @Test func smallerDisplaysAreBlackAround() throws {
        let harness = try DisplayHarness()
        var viewer = Viewer(harness)
        _ = try viewer.begin()
        try harness.write("0/size", "32x16")
        let pixels = testPixels(32 * 16, seed: 9)
        try harness.write(try harness.find("0/fb"), bytes(pixels))
        let all = try viewer.say([3, 0, 0, 0, 0, 0, 0, 64, 0, 48])
        var reader = RectangleReader()
        var rest = all[...]
        let seen = try reader.update(width: 64, height: 48) { count in
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        for y in 0..<48 {
            for x in 0..<64 { #expect(seen[y * 64 + x] == (x < 32 && y < 16 ? pixels[y * 32 + x] : 0xff00_0000)) }
        }
    }

    /// The bytes that carry nothing are left out where the protocol wants it, and only there.
    @Test func pixelsArePacked() throws {
        func packed(_ format: RemotePixelFormat, _ packing: RemotePixelFormat.Packing) -> [UInt8] {
            var bytes: [UInt8] = []
            format.append([0xff12_3456], packing, to: &bytes)
            return bytes
        }
        let native = RemotePixelFormat.native
        #expect(packed(native, native.zrlePacking) == [0x56, 0x34, 0x12])
        #expect(packed(native, native.tightPacking) == [0x12, 0x34, 0x56])
        let head: [UInt8] = [32, 24, 1, 1, 0, 255, 0, 255, 0, 255]
        let big = try #require(RemotePixelFormat((head + [16, 8, 0, 0, 0, 0])[...]))
        #expect(packed(big, big.zrlePacking) == [0x12, 0x34, 0x56])
        let high = try #require(RemotePixelFormat((head + [24, 16, 8, 0, 0, 0])[...]))
        #expect(packed(high, high.zrlePacking) == [0x12, 0x34, 0x56])
        #expect(packed(high, .whole) == [0x12, 0x34, 0x56, 0])
        let small = try #require(
            RemotePixelFormat(([16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0] as [UInt8])[...]))
        #expect(small.zrlePacking == .whole && small.tightPacking == .whole)
    }

    @Test func webSockets() throws {
        // The example of RFC 6455.
        #expect(WebSocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        var socket = WebSocket()
        let request =
            "GET /1 HTTP/1.1\r\nHost: [::1]:1\r\nOrigin: http://[::1]:1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"
        guard case .socket(let path, _)? = try socket.takeRequest(Array(request.utf8)) else {
            Issue.record("no socket")
            return
        }
        #expect(path == "/1")
        var stranger = WebSocket()
        let strange = request.replacing("http://[::1]:1", with: "http://elsewhere")
        #expect(try stranger.takeRequest(Array(strange.utf8)) == .other)
        var output: [UInt8] = []
        // "Hi" behind a mask, in two pieces, then a ping.
        #expect(try socket.takeFrames([0x82, 0x82, 1, 2, 3], &output) == [])
        #expect(try socket.takeFrames([4, 0x48 ^ 1, 0x69 ^ 2, 0x89, 0x80, 0, 0, 0, 0], &output) == [0x48, 0x69])
        #expect(output == [0x8a, 0])
        #expect(try socket.takeFrames([0x88, 0x80, 0, 0, 0, 0], &output) == nil)
        #expect(throws: ViewerFault.self) { try socket.takeFrames([0x82, 0x02, 1, 1], &output) }
        #expect(
            WebSocket.frame(2, [UInt8](repeating: 0, count: 70000)).prefix(10) == [
                0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70,
            ])
    }

    /// A name can be led anywhere by whoever owns it: its pages aren't ours, whatever they say of their origin.
    @Test func onlyPlainHostsAreAnswered() throws {
        for host in [
            "127.0.0.1", "127.0.0.1:6080", "localhost", "LocalHost:6080", "[::1]", "[::1]:6080", "192.0.2.7:1",
        ] {
            #expect(WebSocket.isPlain(host), "\(host)")
        }
        for host in [
            "", ":80", "evil.example", "evil.example:6080", "localhost.evil.example", "127.0.0.1.evil.example",
            "localhost:", "localhost:x", "::1", "[localhost]", "[127.0.0.1]:80", "[::1", "localhost:80:90",
        ] {
            #expect(!WebSocket.isPlain(host), "\(host)")
        }
        func answer(_ fields: String, socket: Bool) throws -> WebSocket.Request? {
            var web = WebSocket()
            let upgrade = socket ? "Upgrade: websocket\r\nSec-WebSocket-Key: abc\r\n" : ""
            return try web.takeRequest(Array("GET / HTTP/1.1\r\n\(fields)\(upgrade)\r\n".utf8))
        }
        let rebound = "Host: evil.example:6080\r\nOrigin: http://evil.example:6080\r\n"
        #expect(try answer(rebound, socket: true) == .misdirected)
        #expect(try answer(rebound, socket: false) == .misdirected)
        #expect(try answer("Host: localhost:6080\r\n", socket: false) == .page("/"))
        // An origin without a host can't be compared.
        #expect(try answer("Origin: http://evil.example\r\n", socket: true) == .other)
        // No other page may have ours in a frame.
        let page = String(decoding: WebSocket.response("200 OK", "text"), as: UTF8.self)
        #expect(page.contains("\r\nX-Frame-Options: DENY\r\n"))
        #expect(page.contains("\r\nContent-Security-Policy: frame-ancestors 'none'\r\n"))
    }

    /// Before a viewer is known, little is kept of what it sends.
    @Test func strangersCannotSendMuch() throws {
        var output: [UInt8] = []
        var web = WebSocket()
        // 1 KiB is announced.
        let head: [UInt8] = [0x82, 0xfe, 4, 0]
        #expect(throws: ViewerFault.self) {
            try web.takeFrames(head, longestFrame: ViewerSession.longestBeginning, &output)
        }
        var served = WebSocket()
        #expect(try served.takeFrames(head, &output) == [])
    }

    /// Many messages that come at once are all taken, and the beginning of another is kept.
    @Test func messagesComeInBatches() throws {
        let harness = try DisplayHarness()
        var viewer = Viewer(harness)
        _ = try viewer.begin()
        var keys: [UInt8] = []
        for index in 0..<3000 { keys += [4, UInt8(1 - index % 2), 0, 0, 0, 0, 0, 0x61] }
        _ = try viewer.say(keys + [4, 1, 0, 0])
        #expect(viewer.session.input == [4, 1, 0, 0])
        #expect(viewer.session.effects == 3000)
    }

    @Test func answersAreCompared() {
        let challenge = [UInt8](0..<16)
        let password = Array("secret".utf8)
        let right = RemotePassword.answer(challenge, password)
        #expect(RemotePassword.isAnswer(right, to: challenge, password))
        for index in 0..<16 {
            var wrong = right
            wrong[index] ^= 0x80
            #expect(!RemotePassword.isAnswer(wrong, to: challenge, password))
        }
        #expect(!RemotePassword.isAnswer([], to: [], password))
        #expect(!RemotePassword.isAnswer(Array(right.dropLast()), to: challenge, password))
    }

    @Test func wrongPasswordsTakeEverLonger() {
        var brake = PasswordBrake()
        let second: UInt64 = 1_000_000_000
        var now = 1000 * second
        var delays: [UInt64] = []
        for _ in 0..<9 {
            delays.append((brake.failed(at: now) - now) / 1_000_000)
            now += second
        }
        #expect(delays == [250, 500, 1000, 2000, 4000, 8000, 16000, 16000, 16000])
        now += 200 * second
        #expect(brake.failed(at: now) - now == 250_000_000)
    }
}
