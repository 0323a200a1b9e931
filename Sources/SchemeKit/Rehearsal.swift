import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

// A recovery waits for a process that does everything for the first time, and the first time is slow: code comes into memory page
// by page, generic types are put together, the heaps of threads are laid out. A process that was started ahead of time has nothing
// to do until it is needed. So it goes through its start once with things of its own: a socket, a channel, a scheme that has one
// file of zeros. All of that is gone when it is told what it is.

/// What a process does that was started ahead of time.
enum Rehearsal {
    /// Whether there is time for it.
    static var isDue: Bool { unsafe getenv(ProcessEnvironment.spare) != nil }

    /// Goes through the start of a server and a few calls to it.
    static func perform(workers: Int) throws {
        let (ours, theirs) = try ControlSocket.pair()
        try ours.send(ControlMessage(.configure, number: 1, fields: [.init("scheme", "rehearsal")]))
        let channel = try ChannelClient(.small, name: "rehearsal")
        try ours.send(
            ControlMessage(.attach, channel: 1, geometry: .small, fields: [.init("client", "rehearsal")]),
            descriptors: [
                ("request", channel.requestDescriptor.rawValue), ("reply", channel.replyDescriptor.rawValue),
            ])
        let server = try SchemeServer(theirs, workers: workers) { _ in RehearsalScheme() }
        let thread = try spawnThread(name: "rehearsal") { _ = server.run() }
        defer { thread.join() }
        defer { try? ours.send(ControlMessage(.finish)) }
        let file = try SchemeClient(channel, scheme: "rehearsal").open("0", flags: OpenFlags.readWrite)
        let buffer = AlignedBuffer(byteCount: ProtocolLimits.maximumTransferBytes)
        var bytes = buffer.mutableBytes
        _ = try file.attributes()
        _ = try file.read(at: 0, into: &bytes)
        // What fails is part of it.
        try? file.synchronize()
    }
}

/// One file of zeros, `0`.
private final class RehearsalScheme: NodeScheme {
    let isSerial = false
    private static let file: UInt64 = 2

    func open(
        path: RawSpan, handle: UInt64, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 { Self.file }

    func attributes(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) -> NodeAttributes {
        NodeAttributes(node: node, mode: ModeBits.regular | 0o600, size: UInt64(ProtocolLimits.maximumTransferBytes))
    }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        buffer.byteCount
    }
}
