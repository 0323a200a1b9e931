import Glibc

/// A viewer that takes raw pixels from a Unix socket, to measure how soon it has what was written.
struct ViewerProbe {
    private let socket: Int32
    let width: Int
    let height: Int

    init(path: String) throws {
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        try check(socket >= 0, "socket")
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard bytes.count <= room else { throw Failure(text: "\(path): too long") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try check(result == 0, path)
        self.socket = socket
        _ = try Self.hear(socket, 12)
        try Self.say(socket, Array("RFB 003.008\n".utf8))
        _ = try Self.hear(socket, Int(try Self.hear(socket, 1)[0]))
        try Self.say(socket, [1])
        _ = try Self.hear(socket, 4)
        try Self.say(socket, [1])
        let start = try Self.hear(socket, 24)
        width = Int(start[0]) << 8 | Int(start[1])
        height = Int(start[2]) << 8 | Int(start[3])
        _ = try Self.hear(socket, Int(start[23]))
        try Self.say(socket, [2, 0, 0, 1, 0, 0, 0, 0])
    }

    /// Asks for what changes, or for everything.
    func ask(isIncremental: Bool) throws {
        let size = [width >> 8, width & 0xff, height >> 8, height & 0xff].map { UInt8($0) }
        try Self.say(socket, [3, isIncremental ? 1 : 0, 0, 0, 0, 0] + size)
    }

    /// Takes one update; returns the lowest byte of the last pixel of the display, if the update has it.
    func update() throws -> UInt8? {
        var last: UInt8?
        let head = try Self.hear(socket, 4)
        for _ in 0..<(Int(head[2]) << 8 | Int(head[3])) {
            let bytes = try Self.hear(socket, 12)
            let numbers = (0..<4).map { Int(bytes[2 * $0]) << 8 | Int(bytes[2 * $0 + 1]) }
            let pixels = try Self.hear(socket, 4 * numbers[2] * numbers[3])
            if numbers[0] + numbers[2] == width, numbers[1] + numbers[3] == height { last = pixels[pixels.count - 4] }
        }
        return last
    }

    /// Takes updates until the last pixel has a value.
    func wait(for value: UInt8) throws {
        while try update() != value { try ask(isIncremental: true) }
    }

    private static func say(_ socket: Int32, _ bytes: [UInt8]) throws {
        try check(write(socket, bytes, bytes.count) == bytes.count, "viewer")
    }

    private static func hear(_ socket: Int32, _ count: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { buffer, done in
            while done < count {
                let part = read(socket, buffer.baseAddress.map { $0 + done }, count - done)
                guard part > 0 else { throw Failure(text: "the display's server has ended the connection") }
                done += part
            }
        }
    }
}

/// The time from a write to its arrival at a viewer: of one pixel, and of whole frames.
func measureViewer(_ socket: String, _ path: String, _ byteCount: Int, _ frames: Int) throws {
    let viewer = try ViewerProbe(path: socket)
    guard viewer.width * viewer.height * 4 == byteCount else {
        throw Failure(text: "the display has \(viewer.width)x\(viewer.height) pixels")
    }
    let file = open(path, O_RDWR)
    try check(file >= 0, path)
    defer { close(file) }
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
    defer { buffer.deallocate() }
    try viewer.ask(isIncremental: false)
    _ = try viewer.update()
    for (name, start) in [("one pixel", byteCount - 4), ("whole frame", 0)] {
        var times: [Double] = []
        for frame in 0..<frames {
            let value = UInt8(truncatingIfNeeded: frame &+ (start == 0 ? 1 : 128))
            memset(buffer, Int32(value), byteCount)
            // Asked for beforehand, as viewers do; what the server does about that isn't to be measured.
            try viewer.ask(isIncremental: true)
            usleep(2000)
            times.append(
                try seconds {
                    var done = start
                    while done < byteCount {
                        let count = pwrite(file, buffer + done, byteCount - done, off_t(done))
                        try check(count > 0, path)
                        done += count
                    }
                    try viewer.wait(for: value)
                })
        }
        times.sort()
        func microseconds(_ part: Double) -> Int {
            Int(times[min(times.count - 1, Int(Double(times.count) * part))] * 1e6)
        }
        print(
            "viewer  \(name): \(microseconds(0.5)) us from pwrite to the viewer (p50), \(microseconds(0.99)) us (p99)")
    }
    let count = max(1, frames)
    let time = try seconds {
        for _ in 0..<count {
            try viewer.ask(isIncremental: false)
            _ = try viewer.update()
        }
    }
    print("viewer  \(Int((Double(count) / time).rounded())) frames/s to a viewer that asks for whole frames (raw)")
}
