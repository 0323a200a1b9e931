import Glibc
import Platform
import SchemeKit
import SystemPackage
import TestSupport
import Testing

@testable import DisplayScheme

/// A viewer's connection keeps, whenever its server dies:
/// - every byte that the viewer was to get comes once and in order, in the middle of a rectangle too;
/// - everything that the viewer did is done once.
///
/// A real socket and real pipes; the server dies between any two of its steps, and another goes on with what is left.
@Suite struct ViewerLinkTests {
    enum Transport: CaseIterable {
        case unix
        case internet
        case browser
    }

    /// A server that dies, and a viewer.
    private final class Bench {
        let harness: DisplayHarness
        private let state: SchemeState
        private let memory: ViewerMemory
        private let socket: SharedDescriptor
        let viewer: SharedDescriptor
        private let pipes: ViewerPipes
        private let transport: Transport
        private let password: [UInt8]?
        private var link: ViewerLink
        private var encoder = RectangleEncoder()
        private var random: SplitMix
        private var heard: [UInt8] = []
        private var framed: [UInt8] = []
        private(set) var deaths = 0
        private(set) var hasEnded = false
        /// The longest life of a server, in steps; nil: it doesn't die.
        var longestLife: UInt64?

        init(_ transport: Transport, seed: UInt64, password: String? = nil) throws {
            harness = try DisplayHarness()
            state = try SchemeState(byteCount: ViewerMemory.byteCount)
            memory = ViewerMemory(state.memory)
            self.transport = transport
            self.password = password.map { Array($0.utf8) }
            (socket, viewer) = transport == .internet ? try Self.internetPair() : try Self.unixPair()
            pipes = try ViewerPipes()
            random = SplitMix(seed: seed)
            let begun = ViewerLink(
                beginning: memory.newSerial(), isWeb: transport == .browser, at: 3, socket, pipes, memory,
                password: self.password)
            link = try #require(begun)
        }

        private static func unixPair() throws -> (SharedDescriptor, SharedDescriptor) {
            var ends: [Int32] = [0, 0]
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            guard unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw Errno(rawValue: errno) }
            // Little room: pictures go in many parts.
            try SystemCall.setSocketOption(ends[0], level: SOL_SOCKET, name: SO_SNDBUF, value: 4096)
            return (SharedDescriptor(adopting: ends[0]), SharedDescriptor(adopting: ends[1]))
        }

        private static func internetPair() throws -> (SharedDescriptor, SharedDescriptor) {
            let listener = try SystemCall.socket(.stream, isIPv6: false)
            try SystemCall.bind(listener.rawValue, to: try #require(SocketAddress(numeric: "127.0.0.1", port: 0)))
            try SystemCall.listen(listener.rawValue, backlog: 1)
            let viewer = try SystemCall.socket(.stream, isIPv6: false)
            try SystemCall.connect(viewer.rawValue, to: try SystemCall.localAddress(listener.rawValue))
            return (try #require(try SystemCall.acceptInternet(listener.rawValue)), viewer)
        }

        /// Lets the server go on until it has nothing to do, and die meanwhile.
        private func pump() throws {
            while true {
                link.stepsLeft = longestLife.map { Int(random.next() % $0) + 1 } ?? .max
                link.mayReceive = true
                // Lives of a few steps often end over the same message.
                link.attemptLimit = .max
                if let wanted = link.pump(harness.scheme, encoder) {
                    if wanted == [.readable, .writable] { continue }
                    return
                }
                guard link.stepsLeft == 0 else {
                    hasEnded = true
                    return
                }
                deaths += 1
                encoder = RectangleEncoder()
                try harness.restart()
                link = try #require(ViewerLink(resuming: 3, socket, pipes, memory, password: password))
                #expect(link.serial == 1)
            }
        }

        func say(_ bytes: [UInt8]) throws {
            var bytes = bytes
            if transport == .browser {
                let head: [UInt8] =
                    bytes.count < 126
                    ? [UInt8(bytes.count)] : [126, UInt8(bytes.count >> 8), UInt8(bytes.count & 0xff)]
                let mask: [UInt8] = [1, 2, 3, 4]
                bytes =
                    [0x82, head[0] | 0x80] + head.dropFirst() + mask + bytes.indices.map { bytes[$0] ^ mask[$0 & 3] }
            }
            try sayPlainly(bytes)
        }

        func sayPlainly(_ bytes: [UInt8]) throws {
            var rest = bytes[...]
            while !rest.isEmpty {
                let part = rest.prefix(Int(random.next() % 40) + 1)
                rest = rest.dropFirst(try SystemCall.sendSome(viewer.rawValue, part))
                try pump()
            }
        }

        private func receive() throws -> Bool {
            var buffer = [UInt8](repeating: 0, count: Int(random.next() % 5000) + 1)
            let count = unsafe recv(viewer.rawValue, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard count > 0 else { return false }
            heard += buffer.prefix(count)
            return true
        }

        func hearPlainly(_ count: Int) throws -> [UInt8] {
            var idle = 0
            while heard.count < count {
                try pump()
                idle = try receive() ? 0 : idle + 1
                try #require(idle < 100_000, "the viewer waits for bytes that the server doesn't send")
            }
            defer { heard.removeFirst(count) }
            return Array(heard.prefix(count))
        }

        func hear(_ count: Int) throws -> [UInt8] {
            guard transport == .browser else { return try hearPlainly(count) }
            while framed.count < count {
                let head = try hearPlainly(2)
                #expect(head[0] == 0x82)
                var size = Int(head[1])
                if size >= 126 {
                    size = try hearPlainly(size == 126 ? 2 : 8).reduce(0) { $0 << 8 | Int($1) }
                }
                framed += try hearPlainly(size)
            }
            defer { framed.removeFirst(count) }
            return Array(framed.prefix(count))
        }

        func greet() throws {
            if transport == .browser {
                try sayPlainly(
                    Array(
                        "GET /0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"
                            .utf8))
                var answer: [UInt8] = []
                while answer.suffix(4) != [13, 10, 13, 10] { answer += try hearPlainly(1) }
                #expect(answer.starts(with: "HTTP/1.1 101 ".utf8))
            }
            #expect(try hear(12) == Array("RFB 003.008\n".utf8))
            try say(Array("RFB 003.008\n".utf8))
            if let password {
                #expect(try hear(2) == [1, 2])
                try say([2])
                try say(RemotePassword.answer(try hear(16), password))
            } else {
                #expect(try hear(2) == [1, 1])
                try say([1])
            }
            #expect(try hear(4) == [0, 0, 0, 0])
            try say([1])
            let start = try hear(24)
            #expect(Array(start.prefix(4)) == [0, 64, 0, 48])
            _ = try hear(Int(start[23]))
        }
    }

    @Test(arguments: Transport.allCases, [nil, 3, 12, 60] as [UInt64?])
    func viewersGoOn(_ transport: Transport, _ longestLife: UInt64?) throws {
        let seed = UInt64.random(in: .min ... .max)
        print("viewersGoOn \(transport) \(longestLife ?? 0): seed \(seed)")
        let bench = try Bench(transport, seed: seed, password: "secret")
        bench.longestLife = longestLife
        try bench.greet()
        var reader = RectangleReader()
        var typed: [UInt8] = []
        let frame = try bench.harness.find("0/fb")
        var round = 0
        // How long each life is depends on the seed: on until there were some, if there are any.
        while round < 24 || longestLife != nil && bench.deaths < 5 {
            defer { round += 1 }
            let encoding = [RectangleEncoding.raw, .zrle, .tight][round % 3]
            try bench.say([2, 0, 0, 1, 0, 0, 0, UInt8(encoding.rawValue)])
            // Half of it one colour, so that it can be packed.
            let pixels =
                testPixels(64 * 24, seed: seed &+ UInt64(round)) + [UInt32](repeating: 0xff12_3456, count: 64 * 24)
            try bench.harness.write(frame, bytes(pixels))
            let key = UInt8(0x61 + round % 26)
            typed.append(key)
            try bench.say([4, 1, 0, 0, 0, 0, 0, key, 4, 0, 0, 0, 0, 0, 0, key])
            try bench.say([3, 0, 0, 0, 0, 0, 0, 64, 0, 48])
            #expect(try reader.update(width: 64, height: 48) { try bench.hear($0) } == pixels)
        }
        #expect(try bench.harness.text("0/text") == String(decoding: typed, as: UTF8.self))
    }

    /// Not even a message that kills its server each time keeps the display from the others: its connection ends.
    @Test func aMessageThatKillsIsGivenUp() throws {
        let harness = try DisplayHarness()
        let state = try SchemeState(byteCount: ViewerMemory.byteCount)
        let memory = ViewerMemory(state.memory)
        var ends: [Int32] = [0, 0]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try #require(unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0)
        let (socket, viewer) = (SharedDescriptor(adopting: ends[0]), SharedDescriptor(adopting: ends[1]))
        let pipes = try ViewerPipes()
        let begun = ViewerLink(beginning: 1, isWeb: false, at: 0, socket, pipes, memory, password: nil)
        #expect(try #require(begun).pump(harness.scheme, RectangleEncoder()) == .readable)
        try SystemCall.write(text: "RFB 003.008\n", to: viewer.rawValue)
        var deaths = 0
        while true {
            let link = try #require(ViewerLink(resuming: 0, socket, pipes, memory, password: nil))
            // Four steps bring it into the memory; then it is taken, but never comes to count.
            link.stepsLeft = deaths == 0 ? 4 : 0
            try #require(link.pump(harness.scheme, RectangleEncoder()) == nil)
            if link.ending == "the server died over its message" { break }
            #expect(link.ending == "\(Errno.canceled)")
            deaths += 1
            try #require(deaths < 100)
        }
        #expect(deaths == 16)
    }
}
