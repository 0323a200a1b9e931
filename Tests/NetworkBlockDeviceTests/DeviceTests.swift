import BlockDevice
import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import NetworkBlockDevice

private let nbdkitObstacle: Comment? = NBDServer.nbdkitObstacle.map { Comment(rawValue: $0) }
private let qemuObstacle: Comment? = NBDServer.qemuObstacle.map { Comment(rawValue: $0) }

/// Disks of real servers: every byte where it belongs, whatever blocks the server wants; what it refuses is told.
@Suite(.enabled(if: nbdkitObstacle == nil, nbdkitObstacle))
struct DeviceTests {
    private static let size = 8 << 20

    @Test(arguments: [
        ["memory", "8M"],
        ["--filter=multi-conn", "memory", "8M", "multi-conn-mode=disable"],
        ["--filter=nozero", "memory", "8M"],
        ["--filter=fua", "memory", "8M", "fuamode=force"],
        [
            "--filter=blocksize-policy", "memory", "8M", "blocksize-minimum=4096", "blocksize-preferred=4096",
            "blocksize-maximum=65536", "blocksize-error-policy=error",
        ],
    ])
    func everyByteIsWhereItBelongs(_ arguments: [String]) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SplitMix(seed: seed)
        let folder = try TemporaryDirectory()
        let server = try NBDServer.nbdkit(socket: folder.file("s"), arguments)
        let device = try connect(server)
        #expect(device.byteCount == UInt64(Self.size))
        #expect(device.isWritable)
        var model = [UInt8](repeating: 0, count: Self.size)
        for _ in 0..<400 {
            let isAligned = random.next() & 1 == 0
            var count = Int(random.next() % (random.next() % 8 == 0 ? 3 << 20 : 100_000))
            var offset = Int(random.next() % UInt64(Self.size - count))
            if isAligned { (count, offset) = (count & ~4095, offset & ~4095) }
            switch random.next() % 6 {
            case 0, 1:
                let bytes = noise(count, &random)
                model.replaceSubrange(offset..<(offset + count), with: bytes)
                let span = bytes.span
                let buffer = AlignedBuffer(copying: unsafe span.bytes)
                let half = count / 3
                try device.write(
                    at: UInt64(offset), [BufferSlice(buffer, 0..<half), BufferSlice(buffer, half..<count)])
            case 2:
                try device.writeZeros(at: UInt64(offset), byteCount: UInt64(count))
                model.replaceSubrange(offset..<(offset + count), with: repeatElement(0, count: count))
            case 3:
                // A hole, or the server can't.
                guard device.export.abilities.contains(.zero) else {
                    #expect(throws: BlockDeviceError.unsupported(.discard)) {
                        try device.discard(at: UInt64(offset), byteCount: UInt64(count))
                    }
                    continue
                }
                try device.discard(at: UInt64(offset), byteCount: UInt64(count))
                model.replaceSubrange(offset..<(offset + count), with: repeatElement(0, count: count))
            case 4: try device.flush()
            default: #expect(try contents(device, offset, count) == Array(model[offset..<(offset + count)]))
            }
        }
        #expect(try contents(device, 0, Self.size) == model)
        try device.flush()
        #expect(device.figures.unflushedBytes == 0)
        #expect(throws: BlockDeviceError.self) {
            try device.write(at: UInt64(Self.size - 1), AlignedBuffer(byteCount: 2))
        }
    }

    /// A part of a block is read, changed and written: nothing that others write to the block meanwhile is undone.
    @Test func partsOfABlockDontUndoOtherWrites() throws {
        let folder = try TemporaryDirectory()
        let server = try NBDServer.nbdkit(
            socket: folder.file("s"),
            [
                "--filter=blocksize-policy", "--filter=delay", "memory", "1M", "blocksize-minimum=4096",
                "blocksize-preferred=4096", "blocksize-maximum=65536", "blocksize-error-policy=error", "rdelay=2ms",
                "wdelay=2ms",
            ])
        let device = try connect(server)
        let isDone = Locked(false)
        let thread = try spawnThread(name: "parts") {
            while !isDone.withLock({ $0 }) { try? write(device, 100, [1, 2, 3]) }
        }
        var random = SplitMix(seed: 11)
        var undone = 0
        for _ in 0..<50 {
            let bytes = noise(4096, &random)
            try write(device, 0, bytes)
            usleep(3000)
            if try contents(device, 200, 3896) != Array(bytes[200...]) { undone += 1 }
        }
        isDone.withLock { $0 = true }
        thread.join()
        #expect(undone == 0)
    }

    @Test func roomForNotesIsMadeByFlushes() throws {
        let folder = try TemporaryDirectory()
        let server = try NBDServer.nbdkit(socket: folder.file("s"), ["memory", "64M"])
        let device = try connect(server)
        var random = SplitMix(seed: 1)
        let bytes = noise(3 << 20, &random)
        let span = bytes.span
        let buffer = AlignedBuffer(copying: unsafe span.bytes)
        for round in 0..<3 {
            for part in 0..<20 { try device.write(at: UInt64(part) * 3 << 20, buffer) }
            #expect(device.figures.unflushedBytes <= UInt64(UnflushedWrites.capacity), "\(round)")
        }
        for part in 0..<20 { #expect(try contents(device, part * 3 << 20, 3 << 20) == bytes, "\(part)") }
    }

    @Test func severalConnectionsAreMadeWhereTheServerAllows() throws {
        let folder = try TemporaryDirectory()
        let many = try NBDServer.nbdkit(socket: folder.file("a"), ["memory", "1M"])
        #expect(try connect(many).figures.connections == 4)
        let one = try NBDServer.nbdkit(
            socket: folder.file("b"), ["--filter=multi-conn", "memory", "1M", "multi-conn-mode=disable"])
        #expect(try connect(one).figures.connections == 1)
    }

    /// The first connection tries each address, the others go where it went: the next may be another server's.
    @Test func allConnectionsGoToTheAddressThatAnswered() throws {
        let folder = try TemporaryDirectory()
        let server = try NBDServer.nbdkit(socket: folder.file("s"), ["memory", "1M"])
        let other = try NBDServer.nbdkit(socket: folder.file("t"), ["memory", "1M"])
        let dialer = RecordingDialer(
            [folder.file("none"), server.socket, other.socket, other.socket].map { .unix(path: $0) })
        let device = try NBDDevice(dialer, export: "", unflushed: try UnflushedWrites())
        #expect(device.figures.connections == 4)
        #expect(dialer.dialled.withLock { $0 } == [0, 1, 1, 1, 1])
        server.kill()
        try server.start()
        while device.figures.reconnections < 2 {
            _ = try contents(device, 0, 512)
            usleep(5000)
        }
        #expect(Set(dialer.dialled.withLock { $0 }.dropFirst()) == [1])
    }

    /// The address of a server that isn't reachable tells least.
    @Test func theAddressThatSaysMostIsHeard() throws {
        let folder = try TemporaryDirectory()
        _ = unsafe mkdir(folder.file("disks"), 0o700)
        let server = try NBDServer.nbdkit(socket: folder.file("s"), ["file", "dir=\(folder.file("disks"))"])
        for paths in [["none", "s", "none"], ["s", "none"]] {
            let dialer = DirectDialer(paths.map { .unix(path: folder.file($0)) })
            let failure = #expect(throws: NBDError.self) {
                try NBDDevice(dialer, export: "three", unflushed: try UnflushedWrites())
            }
            if case .refused = failure {} else { Issue.record("\(String(describing: failure))") }
        }
        withExtendedLifetime(server) {}
    }

    @Test func connectionsToOtherDisksAreRefused() throws {
        let folder = try TemporaryDirectory()
        let server = try NBDServer.nbdkit(socket: folder.file("s"), ["memory", "1M"])
        let other = try NBDServer.nbdkit(socket: folder.file("t"), ["memory", "2M"])
        let dialer = RecordingDialer([.unix(path: server.socket)], later: .unix(path: other.socket))
        let failure = #expect(throws: NBDError.self) {
            try NBDDevice(dialer, export: "", unflushed: try UnflushedWrites())
        }
        if case .refused = failure {} else { Issue.record("\(String(describing: failure))") }
    }

    @Test func readOnlyExportsAreNotWritten() throws {
        let folder = try TemporaryDirectory()
        let server = try NBDServer.nbdkit(socket: folder.file("s"), ["--readonly", "memory", "1M"])
        let device = try connect(server)
        #expect(!device.isWritable)
        #expect(throws: BlockDeviceError.readOnly) { try device.write(at: 0, AlignedBuffer(byteCount: 512)) }
        try device.flush()
        #expect(try contents(device, 0, 512) == [UInt8](repeating: 0, count: 512))
    }

    /// What the server refuses is told and not repeated; the connection stays.
    @Test func errorsOfTheServerAreTold() throws {
        let folder = try TemporaryDirectory()
        let trigger = folder.file("fail")
        let image = folder.file("image")
        _ = try FileDevice(creating: image, byteCount: 1 << 20)
        let server = try NBDServer.nbdkit(
            socket: folder.file("s"),
            [
                "--filter=error", "file", image, "error-pwrite=ENOSPC", "error-pwrite-rate=100%",
                "error-pwrite-file=\(trigger)",
            ])
        let device = try connect(server)
        var random = SplitMix(seed: 2)
        let bytes = noise(4096, &random)
        try write(device, 0, bytes)
        _ = try SystemCall.open(trigger, O_CREAT | O_WRONLY, mode: 0o600)
        #expect(throws: BlockDeviceError.io(.noSpace, offset: 0, length: 4096, operation: .write)) {
            try write(device, 0, noise(4096, &random))
        }
        #expect(device.figures.isConnected)
        _ = unsafe unlink(trigger)
        server.kill()
        try server.start()
        #expect(try contents(device, 0, 4096) == bytes)
        try device.flush()
        #expect(try contents(device, 0, 4096) == bytes)
    }

    @Test func whoIsNotThereIsTold() throws {
        let folder = try TemporaryDirectory()
        #expect(throws: NBDError.unreachable(.noSuchFileOrDirectory)) { try connect(folder.file("none")) }
        let server = try NBDServer.nbdkit(socket: folder.file("s"), ["memory", "1M"])
        server.kill()
        #expect(throws: NBDError.unreachable(.connectionRefused)) { try connect(folder.file("s")) }
        // Somebody who hangs up, and a folder of disks without the one.
        let listener = try SystemCall.listen(atPath: folder.file("deaf"))
        let thread = try spawnThread(name: "deaf") {
            for _ in 0..<200 {
                if let caller = try? SystemCall.accept(listener.rawValue) {
                    _ = caller
                    return
                }
                usleep(10_000)
            }
        }
        let failure = #expect(throws: NBDError.self) { try connect(folder.file("deaf")) }
        thread.join()
        if case .silent = failure {} else { Issue.record("\(String(describing: failure))") }
        _ = unsafe mkdir(folder.file("disks"), 0o700)
        for name in ["one", "two"] { _ = try FileDevice(creating: folder.file("disks/\(name)"), byteCount: 1 << 20) }
        let many = try NBDServer.nbdkit(socket: folder.file("m"), ["file", "dir=\(folder.file("disks"))"])
        #expect(try connect(many, export: "two").byteCount == 1 << 20)
        let refusal = #expect(throws: NBDError.self) { try connect(many, export: "three") }
        guard case .refused(_, let exports) = refusal else {
            Issue.record("\(String(describing: refusal))")
            return
        }
        #expect(Set(exports) == ["one", "two"])
        #expect(refusal?.advice?.contains("two") == true)
    }

    @Test(.enabled(if: qemuObstacle == nil, qemuObstacle)) func exportsOfOtherNamesAreTold() throws {
        let folder = try TemporaryDirectory()
        _ = try FileDevice(creating: folder.file("image"), byteCount: 1 << 20)
        let server = try NBDServer.qemu(
            socket: folder.file("s"), ["--export-name=disk", "--format=raw", folder.file("image")])
        #expect(try connect(server, export: "disk").byteCount == 1 << 20)
        let refusal = #expect(throws: NBDError.self) { try connect(server, export: "other") }
        if case .refused(_, let exports) = refusal {
            #expect(exports == ["disk"])
        } else {
            Issue.record("\(String(describing: refusal))")
        }
    }
}

/// Remembers what was dialled; may lead all connections but the first elsewhere.
private final class RecordingDialer: NBDDialer {
    let dialled = Locked<[Int]>([])
    private let endpoints: [SocketEndpoint]
    private let later: SocketEndpoint?

    init(_ endpoints: [SocketEndpoint], later: SocketEndpoint? = nil) {
        self.endpoints = endpoints
        self.later = later
    }

    var endpointCount: Int { endpoints.count }

    func dial(_ endpoint: Int, number: Int) throws(Errno) -> SharedDescriptor {
        let isFirst = dialled.withLock { dialled in
            dialled.append(endpoint)
            return dialled.count == 1
        }
        if !isFirst, let later { return try SystemCall.beginConnection(to: later) }
        return try SystemCall.beginConnection(to: endpoints[endpoint])
    }

    func forget(_ socket: SharedDescriptor) {}
}

/// A device on a server's socket.
func connect(
    _ server: NBDServer, export: String = "", notes: UnflushedWrites? = nil,
    _ change: (inout NBDOptions) -> Void = { _ in }
) throws -> NBDDevice { try connect(server.socket, export: export, notes: notes, change) }

func connect(
    _ socket: String, export: String = "", notes: UnflushedWrites? = nil,
    _ change: (inout NBDOptions) -> Void = { _ in }
) throws -> NBDDevice {
    var options = NBDOptions()
    change(&options)
    return try NBDDevice(
        DirectDialer([.unix(path: socket)]), export: export, unflushed: try notes ?? UnflushedWrites(), options: options
    )
}

func noise(_ count: Int, _ random: inout SplitMix) -> [UInt8] {
    var generator = SplitMix(seed: random.next())
    var result: [UInt8] = []
    result.reserveCapacity(count + 8)
    while result.count < count {
        let word = generator.next()
        for shift in 0..<8 { result.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * shift))) }
    }
    return Array(result.prefix(count))
}

func contents(_ device: any BlockDevice, _ offset: Int, _ count: Int) throws -> [UInt8] {
    var result = [UInt8](repeating: 0, count: count)
    guard count > 0 else { return result }
    var span = result.mutableSpan
    var bytes = unsafe span.mutableBytes
    try device.read(at: UInt64(offset), into: &bytes)
    return result
}

func write(_ device: any BlockDevice, _ offset: Int, _ bytes: [UInt8]) throws {
    let span = bytes.span
    try device.write(at: UInt64(offset), [BufferSlice(AlignedBuffer(copying: unsafe span.bytes))])
}
