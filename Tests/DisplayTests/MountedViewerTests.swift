import Glibc
import Platform
import Supervisor
import SystemPackage
import TestSupport
import Testing

@testable import DisplayScheme

/// Programs that others wrote see exactly what the display shows; connections outlive the display's server.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct MountedViewerTests {
    private let pixels = testPixels(320 * 200, seed: 12)

    /// A listening socket that any port will do for.
    private static func internetListener() throws -> (socket: SharedDescriptor, address: SocketAddress) {
        let socket = try SystemCall.socket(.stream, isIPv6: false)
        try SystemCall.bind(socket.rawValue, to: try #require(SocketAddress(numeric: "127.0.0.1", port: 0)))
        try SystemCall.listen(socket.rawValue, backlog: 16)
        return (socket, try SystemCall.localAddress(socket.rawValue))
    }

    /// A connection that waits for what is to come.
    private static func connect(to address: SocketAddress) throws -> SharedDescriptor {
        let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { throw Errno(rawValue: errno) }
        let socket = SharedDescriptor(adopting: number)
        try SystemCall.connect(number, to: address)
        return socket
    }

    /// A viewer looks on while the display's server is killed again and again: its connection doesn't end, no byte is lost or doubled (the
    /// protocol would never recover), every key is typed once.
    @Test(arguments: [false, true]) func connectionsOutliveTheServer(_ isInternet: Bool) throws {
        let (listener, address) = try Self.internetListener()
        let display = try MountedDisplay(listeners: isInternet ? ["vnc": listener] : [:])
        var viewer = try MountedViewer(
            isInternet ? try Self.connect(to: address) : try SystemCall.connect(toPath: "\(display.folder)/vnc"))
        let frame = try display.open("0/fb")
        let text = try display.open("0/text")
        let isDone = Locked(false)
        let kills = Locked(0)
        let control = "\(display.folder)/control"
        let killer = try spawnThread(name: "killer") {
            var random = SplitMix(seed: 13)
            guard let client = try? ControlClient(path: control) else { return }
            while !isDone.withLock({ $0 }), (try? MountedDisplay.kill(client)) != nil {
                kills.withLock { $0 += 1 }
                usleep(UInt32(random.next() % 100_000))
            }
        }
        defer {
            isDone.withLock { $0 = true }
            killer.join()
        }
        var round = 0
        while round < 12 || kills.withLock({ $0 }) < 100 {
            let content = bytes(testPixels(320 * 200, seed: UInt64(round)))
            let span = content.span
            _ = try SystemCall.write(frame.rawValue, at: 0, unsafe span.bytes)
            let encoding = [RectangleEncoding.raw, .tight, .zrle][round % 3]
            #expect(try viewer.picture(encoding) == testPixels(320 * 200, seed: UInt64(round)))
            let key = UInt8(0x61 + round % 26)
            try viewer.say([4, 1, 0, 0, 0, 0, 0, key, 4, 0, 0, 0, 0, 0, 0, key])
            var byte: UInt8 = 0
            #expect(unsafe read(text.rawValue, &byte, 1) == 1)
            #expect(byte == key)
            round += 1
        }
        // Nothing was typed twice.
        var entries = [pollfd(fd: text.rawValue, events: Int16(POLLIN), revents: 0)]
        #expect(try SystemCall.poll(&entries, milliseconds: 0) == 0)
        print("\(round) pictures, \(kills.withLock { $0 }) kills")
    }

    /// Connections that say nothing take no place for good: the oldest of them goes when another comes, and nobody else does.
    @Test func whoDoesNotGreetMakesRoom() throws {
        let display = try MountedDisplay()
        let path = "\(display.folder)/vnc"
        var first = try MountedViewer(try SystemCall.connect(toPath: path))
        let idle = try (1..<ViewerMemory.slotCount).map { _ in
            let socket = try SystemCall.connect(toPath: path)
            #expect(try MountedViewer.hear(socket, 12) == Array("RFB 003.008\n".utf8))
            return socket
        }
        var last = try MountedViewer(try SystemCall.connect(toPath: path))
        #expect(throws: Errno.connectionReset) { try MountedViewer.hear(idle[0], 1) }
        for encoding in [RectangleEncoding.raw, .zrle] {
            let (one, other) = (try first.picture(encoding), try last.picture(encoding))
            #expect(one == other)
        }
        // The others are still there.
        try SystemCall.write(text: "RFB 003.008\n", to: idle[1].rawValue)
        #expect(try MountedViewer.hear(idle[1], 2) == [1, 1])
    }

    /// A wrong password is told at once; the connection ends later, and others are served meanwhile.
    @Test func wrongPasswordsHoldNobodyUp() throws {
        let display = try MountedDisplay(password: "secret")
        let path = "\(display.folder)/vnc"
        func attempt(_ password: String) throws -> (socket: SharedDescriptor, result: [UInt8]) {
            let socket = try SystemCall.connect(toPath: path)
            _ = try MountedViewer.hear(socket, 12)
            try SystemCall.write(text: "RFB 003.008\n", to: socket.rawValue)
            #expect(try MountedViewer.hear(socket, 2) == [1, 2])
            try SystemCall.write(text: "\u{2}", to: socket.rawValue)
            let answer = RemotePassword.answer(try MountedViewer.hear(socket, 16), Array(password.utf8))
            let span = answer.span
            try SystemCall.writeAll(socket.rawValue, unsafe span.bytes)
            return (socket, try MountedViewer.hear(socket, 4))
        }
        let begin = Clock.monotonicNanoseconds()
        let wrong = try attempt("guess")
        #expect(wrong.result == [0, 0, 0, 1])
        #expect(try attempt("secret").result == [0, 0, 0, 0])
        _ = try MountedViewer.hear(wrong.socket, 18)
        #expect(throws: Errno.connectionReset) { try MountedViewer.hear(wrong.socket, 1) }
        #expect(Clock.monotonicNanoseconds() - begin >= 250_000_000)
    }

    // MARK: Programs of others

    private static func program(_ names: [String]) -> String? {
        for name in names {
            for folder in ["/usr/bin", "/usr/local/bin", "/snap/bin"]
            where unsafe access("\(folder)/\(name)", X_OK) == 0 {
                return "\(folder)/\(name)"
            }
        }
        return nil
    }

    private static let capture = program(["gvnccapture"])
    private static let browser = program([
        "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
    ])

    /// A viewer of GTK-VNC takes a picture.
    @Test(.enabled(if: capture != nil, "gvnccapture isn't installed (Debian: gvncviewer)"))
    func anotherViewerSeesThePixels() throws {
        let (listener, address) = try Self.internetListener()
        let display = try MountedDisplay(listeners: ["vnc": listener])
        let frame = try display.open("0/fb")
        let content = bytes(pixels)
        let span = content.span
        try SystemCall.writeAll(frame.rawValue, unsafe span.bytes)
        let directory = try TemporaryDirectory()
        let program = BuiltProgram(path: try #require(Self.capture))
        for _ in 0..<2 {
            let file = directory.file("picture.png")
            // The number after the colon is that of a display: its port is 5900 more.
            let result = try program.run(["-q", "127.0.0.1:\(Int(address.port) - 5900)", file], in: directory)
            #expect(result.status == 0, "\(result.errors)")
            let picture = try decodePNG(try Self.contents(file))
            #expect(picture.width == 320 && picture.height == 200)
            #expect(picture.pixels == pixels)
            try display.kill()
        }
    }

    /// A browser shows the page, and takes a picture of it: with the password, too.
    @Test(
        .enabled(if: browser != nil, "no Chromium is installed (Debian: chromium-headless-shell)"),
        arguments: [nil, "secret"] as [String?])
    func aBrowserSeesThePixels(_ password: String?) throws {
        let (listener, address) = try Self.internetListener()
        let display = try MountedDisplay(listeners: ["web": listener], password: password)
        let frame = try display.open("0/fb")
        let content = bytes(pixels)
        let span = content.span
        try SystemCall.writeAll(frame.rawValue, unsafe span.bytes)
        let directory = try TemporaryDirectory()
        let script = FilePath(#filePath).removingLastComponent().removingLastComponent()
            .appending("Tools/browser-screenshot.py").string
        let file = directory.file("picture.png")
        let result = try BuiltProgram(path: "/usr/bin/python3").run(
            [script, try #require(Self.browser), "http://\(address)/#\(password ?? "")", file, "320", "200"],
            in: directory)
        #expect(result.status == 0, "\(result.errors)")
        let picture = try decodePNG(try Self.contents(file))
        #expect(picture.width == 320 && picture.height == 200)
        #expect(picture.pixels == pixels)
    }

    private static func contents(_ path: String) throws -> [UInt8] {
        let file = try SystemCall.open(path, O_RDONLY)
        return try SystemCall.readToEnd(file.rawValue, limit: 1 << 24)
    }
}
