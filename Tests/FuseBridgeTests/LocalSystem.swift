import BlockDevice
import DiskFormat
import FileScheme
import FuseBridge
import Glibc
import Platform
import RedoxFS
import Router
import SchemeKit
import SchemeTransport
import SystemPackage
import Testing

/// Router and scheme-file in one process: RedoxFS on a device in memory, behind a channel as between processes.
final class LocalSystem {
    let device: any BlockDevice
    let router: Router
    let route: SchemeRoute
    let client: ChannelClient
    let backend: RouterBackend
    private(set) var server: ChannelServer
    private(set) var scheme: FileScheme
    private var threads: [JoinHandle] = []
    private var incarnation: UInt32 = 1
    /// The scheme of the moment, for other threads.
    let current = Locked<FileScheme?>(nil)

    /// - Parameter watching: makes what the scheme gets in the device's place.
    init(
        byteCount: UInt64 = 512 << 20, faults: RouterFaults = [],
        watching: (any BlockDevice) -> any BlockDevice = { $0 }
    ) throws {
        let memory = SparseMemoryDevice(byteCount: byteCount)
        device = watching(memory)
        var format = FormatOptions(
            uuid: Bytes16(low: 1, high: 2), time: Timespec(seconds: 1_700_000_000, nanoseconds: 0))
        format.rootMode = 0o755
        try FileSystem.format(memory, format)
        client = try ChannelClient(.standard, name: "test")
        var options = Router.Options()
        options.rootScheme = "file"
        options.faults = faults
        router = Router(options) { FuseSession.willBlock(keepsRequest: $0) }
        route = try router.add(
            SchemeDescription(name: "file", channel: 1), client, isAdopted: false, isServing: false)
        backend = RouterBackend(router)
        scheme = try FileScheme(device, options: OpenOptions())
        current.withLock { [scheme] in $0 = scheme }
        server = try Self.attach(client, incarnation)
        serve()
        _ = route.recover(incarnation: incarnation)
    }

    private static func attach(_ client: ChannelClient, _ incarnation: UInt32) throws -> ChannelServer {
        try ChannelServer(
            number: 1, geometry: client.layout.geometry, request: client.requestDescriptor,
            reply: client.replyDescriptor,
            incarnation: incarnation)
    }

    private func serve() {
        let (server, scheme, incarnation) = (server, scheme, incarnation)
        let dispatcher = Dispatcher(scheme)
        threads = (0..<2).compactMap { worker in
            try? spawnThread(name: "server") {
                let sequence = scheme.recoveredSequence
                guard
                    server.begin(epoch: incarnation, whenBegun: { server.announce(recoveredSequence: sequence) })
                else { return }
                ChannelWorker(server, dispatcher, worker: worker).run()
            }
        }
    }

    /// The server dies with everything it had in memory, and the next one starts.
    func restartServer() throws -> RecoveryReport? {
        server.stop()
        for thread in threads { thread.join() }
        route.serverDied()
        incarnation += 1
        current.withLock { $0 = nil }
        scheme = try FileScheme(device, options: OpenOptions())
        current.withLock { [scheme] in $0 = scheme }
        server = try Self.attach(client, incarnation)
        serve()
        return route.recover(incarnation: incarnation)
    }

    /// Ends the server's threads.
    func end() throws {
        server.stop()
        for thread in threads { thread.join() }
        try scheme.finish()
    }
}
