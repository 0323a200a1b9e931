import BlockDevice
import DiskScheme
import NetworkBlockDevice
import Platform
import Sandbox
import SchemeKit
import SchemeTransport
import SystemPackage

/// The disk scheme's process for a disk that an NBD server exports. It reaches no network: the supervisor connects its sockets, to
/// the server and nowhere else.
///
/// Endpoints: `nbd-0`, `nbd-1`, ..., the addresses of the server. Descriptor `overlay`, if all writes are to go there. Settings:
/// - `endpoints` their number, `export` the export's name
/// - `read-only` 1
/// - `patience` seconds for which callers wait for a server that is away, `answer` seconds for which one answer may take
/// - `connections` if the server allows several
@main
struct RemoteDiskProgram {
    /// Threads that answer, each on a connection of its own if there are as many.
    private static let workers = 4

    static func main() {
        SchemeServer.main(workers: workers, afterStart: { _ in try StrictMode.enter() }) { start in
            var options = NBDOptions()
            options.connections = workers
            if let seconds = try number(start, "patience") { options.patience = seconds &* 1_000_000_000 }
            if let seconds = try number(start, "answer") { options.answerLimit = seconds &* 1_000_000_000 }
            if let count = try number(start, "connections") { options.connections = max(1, Int(clamping: count)) }
            let isReadOnly = start.setting("read-only") == "1"
            let hasOverlay = start.descriptor("overlay") != nil
            options.isWritable = !isReadOnly && !hasOverlay
            let host = start.host
            options.log = { host.log($0) }
            let memory = try SchemeState(start, name: "unflushed", byteCount: UnflushedWrites.byteCount)
            let dialer = SupervisorDialer(start, count: Int(clamping: try number(start, "endpoints") ?? 1))
            let remote: NBDDevice
            do throws(NBDError) {
                remote = try NBDDevice(
                    dialer, export: start.setting("export") ?? "", unflushed: UnflushedWrites(memory.memory),
                    options: options, inherited: dialer.inherited)
            } catch {
                throw SchemeStartError.failed(error.errno, "\(error)")
            }
            let figures: @Sendable () -> [ControlMessage.Field] = { Self.report(remote.figures) }
            guard hasOverlay else { return DiskScheme(remote, isRemote: true, figures: figures) }
            do {
                let overlay = try OverlayFileDevice.configured(
                    over: remote, start, writable: !isReadOnly, notes: "overlay-unflushed")
                return DiskScheme(overlay, figures: figures)
            } catch let error as BlockDeviceError {
                throw SchemeStartError.failed(error.errno, "\(error)")
            }
        }
    }

    private static func number(_ start: SchemeStart, _ key: String) throws(SchemeStartError) -> UInt64? {
        guard let text = start.setting(key) else { return nil }
        guard let number = UInt64(text), number <= 1_000_000 else { throw .badSetting(key, value: text) }
        return number
    }

    private static func report(_ figures: NBDDevice.Figures) -> [ControlMessage.Field] {
        [
            .init("connected", "\(figures.isConnected)"), .init("connections", "\(figures.connections)"),
            .init("reconnections", "\(figures.reconnections)"), .init("repeated-writes", "\(figures.repeatedWrites)"),
            .init("unflushed-bytes", "\(figures.unflushedBytes)"),
        ] + (figures.obstacle.map { [.init("obstacle", $0)] } ?? [])
    }
}

/// Gets its sockets from the supervisor, who holds them too: the next incarnation finds them, and can wait until the server has done
/// with them.
private final class SupervisorDialer: NBDDialer {
    private static let prefix = "nbd-"
    let inherited: [SharedDescriptor]
    private let connector: SchemeConnector
    private let host: SchemeHost
    private let incarnation: UInt32
    let endpointCount: Int
    private let names: Locked<[Int32: String]>

    init(_ start: SchemeStart, count: Int) {
        connector = start.connector
        host = start.host
        incarnation = start.incarnation
        endpointCount = max(1, count)
        var names: [Int32: String] = [:]
        var inherited: [SharedDescriptor] = []
        for name in start.descriptorNames where name.hasPrefix(Self.prefix) {
            guard let socket = start.descriptor(name) else { continue }
            names[socket.rawValue] = name
            inherited.append(socket)
        }
        self.inherited = inherited
        self.names = Locked(names)
    }

    func dial(_ endpoint: Int, number: Int) throws(Errno) -> SharedDescriptor {
        let name = "\(Self.prefix)\(incarnation)-\(number)"
        let socket: SharedDescriptor
        do throws(ChannelError) {
            socket = try connector.dial("\(Self.prefix)\(endpoint)", as: name)
        } catch {
            throw error.errno
        }
        names.withLock { $0[socket.rawValue] = name }
        return socket
    }

    func forget(_ socket: SharedDescriptor) {
        if let name = names.withLock({ $0.removeValue(forKey: socket.rawValue) }) { host.release(name) }
    }
}
