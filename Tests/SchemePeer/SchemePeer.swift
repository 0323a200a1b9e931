import Glibc
import Platform
import SchemeKit
import SchemeProtocol
import SchemeTransport

/// The other process of the transport's tests: started by them, told over the control socket what to be.
@main
struct SchemePeer {
    static func main() {
        let arguments = CommandLine.arguments
        if arguments.count > 1, arguments[1] == "bench" {
            do { try Benchmark.run(arguments.dropFirst(2).first) } catch { print("failed: \(error)") }
            return
        }
        if arguments.count > 1, arguments[1] == "bench-server" {
            do { try Benchmark.serve(arguments.dropFirst(2)) } catch { print("failed: \(error)") }
            return
        }
        if arguments.count > 1, arguments[1] == "client" {
            ClientPeer.run()
            return
        }
        SchemeServer.main(workers: 1) { start in
            switch start.setting("mode") {
            case "registers": try RegisterScheme(start)
            case "hostile": try HostileServer.run(start)
            default: EchoScheme()
            }
        }
    }
}

/// Answers everything at once, the same for everything.
final class EchoScheme: NodeScheme {
    var isSerial: Bool { false }

    func attributes(
        _ node: UInt64, handle: UInt64, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { NodeAttributes(node: node, mode: ModeBits.regular | 0o600) }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        if buffer.byteCount >= 8 { buffer.storeBytes(of: offset, as: UInt64.self) }
        return buffer.byteCount
    }

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int { bytes.byteCount }
}
