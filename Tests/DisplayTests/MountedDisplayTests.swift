import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import DisplayScheme

/// The display through the mount, as programs see it; its server is killed in between.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct MountedDisplayTests {
    private let pixels = testPixels(320 * 200, seed: 6)

    @Test func writtenAndMappedPixelsAreShownAndSurvive() throws {
        let display = try MountedDisplay()
        let frame = try display.open("0/fb")
        let content = bytes(pixels)
        let span = content.span
        try SystemCall.writeAll(frame.rawValue, unsafe span.bytes)
        #expect(try display.picture() == pixels)
        try display.kill()
        #expect(try display.picture() == pixels)
        let mapped = unsafe mmap(nil, content.count, PROT_READ | PROT_WRITE, MAP_SHARED, frame.rawValue, 0)
        try #require(unsafe mapped != MAP_FAILED)
        defer { unsafe munmap(mapped, content.count) }
        let words = try unsafe #require(mapped).assumingMemoryBound(to: UInt32.self)
        #expect(unsafe words[12345] == pixels[12345])
        unsafe words[12345] = 0xff01_0203
        #expect(unsafe msync(mapped, content.count, MS_SYNC) == 0)
        #expect(try display.picture()[12345] == 0xff01_0203)
        // Without msync: `damage` has the kernel write back what was changed, a little later.
        unsafe words[54321] = 0xff04_0506
        try display.write("0/damage", "0 0 320 200\n")
        #expect(try display.comesTrue { try display.picture()[54321] == 0xff04_0506 })
        // What others write is seen in the mapping, a little later too.
        try display.write("0/text", "\u{1b}[H\u{1b}[41m ")
        #expect(try display.comesTrue { unsafe words[0] == TerminalPalette.colors[1] })
        // The next server knows of the mapping, too.
        try display.kill()
        unsafe words[54321] = 0xff07_0809
        try display.write("0/damage", "0 0 320 200\n")
        #expect(try display.comesTrue { try display.picture()[54321] == 0xff07_0809 })
        try display.write("0/text", "\u{1b}[H\u{1b}[42m ")
        #expect(try display.comesTrue { unsafe words[0] == TerminalPalette.colors[2] })
    }

    @Test func readersWaitForInputAcrossADeath() throws {
        let display = try MountedDisplay()
        let input = try display.open("0/input")
        let got = Locked<[UInt8]>([])
        let number = input.rawValue
        let reader = try spawnThread(name: "reader") {
            var line: [UInt8] = []
            while line.last != 0x0a {
                var byte: UInt8 = 0
                guard unsafe read(number, &byte, 1) == 1 else { break }
                line.append(byte)
            }
            got.withLock { $0 = line }
        }
        try display.kill()
        try display.write("0/input", "mouse 3 4\n")
        reader.join()
        #expect(got.withLock { $0 } == Array("mouse 3 4\n".utf8))
        var entries = [pollfd(fd: number, events: Int16(POLLIN), revents: 0)]
        #expect(try SystemCall.poll(&entries, milliseconds: 0) == 0)
        try display.write("0/input", "button 1\n")
        #expect(try SystemCall.poll(&entries, milliseconds: -1) == 1)
    }

    @Test func windowsAndDisplays() throws {
        let display = try MountedDisplay()
        #expect(unsafe mkdir("\(display.root)/1", 0o700) == 0)
        #expect(try display.size("1/fb") == 320 * 200 * 4)
        try display.write("1/size", "64x32")
        #expect(try display.size("1/fb") == 64 * 32 * 4)
        #expect(try display.picture(1).count == 64 * 32)
        #expect(unsafe rmdir("\(display.root)/1") == 0)
        let window = try display.open("window/l/10/20/16/16/one")
        let byteCount = 16 * 16 * 4
        let mapped = unsafe mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, window.rawValue, 0)
        let words = try unsafe #require(mapped).assumingMemoryBound(to: UInt32.self)
        for index in 0..<256 { unsafe words[index] = 0xff40_8020 }
        #expect(fsync(window.rawValue) == 0)
        #expect(try display.picture()[20 * 320 + 10] == 0xff40_8020)
        try display.kill()
        try SystemCall.write(text: "P,100,100", to: window.rawValue)
        #expect(try display.picture()[100 * 320 + 100] == 0xff40_8020)
        var record = [UInt8](repeating: 0, count: 24)
        #expect(unsafe read(window.rawValue, &record, 24) == 24)
        #expect(record == InputEvent(.focus, 1).bytes)
        unsafe munmap(mapped, byteCount)
    }

    /// A browser gets the page, and over a web socket what a viewer gets.
    @Test func aBrowserConnects() throws {
        let display = try MountedDisplay()
        for _ in 0..<2 {
            let page = try SystemCall.connect(toPath: "\(display.folder)/web")
            try SystemCall.write(text: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", to: page.rawValue)
            let answer = String(decoding: try SystemCall.readToEnd(page.rawValue, limit: 1 << 20), as: UTF8.self)
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(answer.hasSuffix(ViewerPage.html))
            let socket = try SystemCall.connect(toPath: "\(display.folder)/web")
            let request = "GET /0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"
            try SystemCall.write(text: request, to: socket.rawValue)
            var heard: [UInt8] = []
            let end = Array("\r\n\r\n".utf8) + [0x82, 12] + Array("RFB 003.008\n".utf8)
            while heard.suffix(end.count) != end[...] {
                var part = [UInt8](repeating: 0, count: 1)
                try #require(unsafe read(socket.rawValue, &part, 1) == 1)
                heard += part
            }
            #expect(String(decoding: heard, as: UTF8.self).contains("Sec-WebSocket-Accept: \(WebSocket.accept("abc"))"))
            try display.kill()
        }
    }

    /// A minimal viewer over the socket: it sees the pixels, types, and finds everything again when it connects to the next server.
    @Test func aViewerConnects() throws {
        let display = try MountedDisplay()
        let frame = try display.open("0/fb")
        let content = bytes(pixels)
        let span = content.span
        try SystemCall.writeAll(frame.rawValue, unsafe span.bytes)
        for _ in 0..<2 {
            let viewer = try MountedViewer(try SystemCall.connect(toPath: "\(display.folder)/vnc"))
            try viewer.say([3, 0, 0, 0, 0, 0, 1, 64, 0, 200])
            _ = try viewer.hear(16)
            #expect(try viewer.hear(content.count) == content)
            try viewer.say([4, 1, 0, 0, 0, 0, 0, 0x78])
            var byte: UInt8 = 0
            let text = try display.open("0/text")
            #expect(unsafe read(text.rawValue, &byte, 1) == 1)
            #expect(byte == 0x78)
            try display.kill()
        }
    }
}
