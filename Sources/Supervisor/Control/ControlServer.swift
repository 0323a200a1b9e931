import Glibc
import Platform
import SystemPackage

/// A connection to the control socket: lines of JSON come in, lines of JSON go out.
final class ControlConnection {
    let descriptor: SharedDescriptor
    private var incoming: [UInt8] = []
    private var outgoing: ArraySlice<UInt8> = []

    private static let lineLimit = 64 << 10
    private static let outgoingLimit = 8 << 20

    init(_ descriptor: SharedDescriptor) { self.descriptor = descriptor }

    /// The complete lines that have come; nil: the connection is over.
    func takeLines() -> [String]? {
        var lines: [String] = []
        while true {
            let received: [UInt8]?
            do throws(Errno) { received = try SystemCall.receiveSome(descriptor.rawValue) } catch { return nil }
            guard let bytes = received else { return lines }
            if bytes.isEmpty { return lines.isEmpty ? nil : lines }
            incoming += bytes
            while let end = incoming.firstIndex(of: 0x0A) {
                lines.append(String(decoding: incoming[..<end], as: UTF8.self))
                incoming.removeSubrange(...end)
            }
            if incoming.count > Self.lineLimit { return nil }
        }
    }

    /// Queues a line. False if too much waits already.
    func send(_ line: String) -> Bool {
        outgoing += Array("\(line)\n".utf8)
        return outgoing.count <= Self.outgoingLimit && flush()
    }

    /// Sends a line with a descriptor beside it. False if the connection is over, or other lines wait to be sent.
    func send(_ line: String, descriptor other: Int32) -> Bool {
        guard outgoing.isEmpty else { return false }
        let bytes = Array("\(line)\n".utf8)
        do throws(Errno) {
            try unsafe SystemCall.send(descriptor.rawValue, bytes.span.bytes, descriptors: [other], wait: false)
            return true
        } catch {
            return false
        }
    }

    /// Sends what there is room for. False if the connection is over.
    func flush() -> Bool {
        while !outgoing.isEmpty {
            guard let count = try? SystemCall.sendSome(descriptor.rawValue, outgoing) else { return false }
            if count == 0 { return true }
            outgoing = outgoing.dropFirst(count)
        }
        outgoing = []
        return true
    }

    var hasOutgoing: Bool { !outgoing.isEmpty }
}

/// The control socket of a mount.
final class ControlServer {
    /// What the names of control sockets end in.
    static let suffix = ".sock"

    let path: String
    let descriptor: SharedDescriptor
    var connections: [UInt32: ControlConnection] = [:]
    private var last: UInt32 = 0

    init(path: String) throws(SupervisorError) {
        self.path = path
        // Under another name until it listens: who looks for mounts takes a socket that refuses connections for a dead one's, and removes
        // it. Either name may be a leftover of a supervisor that had our process number.
        let early = (path.hasSuffix(Self.suffix) ? String(path.dropLast(Self.suffix.count)) : path) + ".new"
        do throws(Errno) {
            _ = unsafe unlink(early)
            descriptor = try SystemCall.listen(atPath: early)
            _ = unsafe chmod(early, 0o600)
            try SystemCall.retrying { unsafe rename(early, path) }
        } catch {
            _ = unsafe unlink(early)
            throw .controlSocket(path, error)
        }
    }

    /// The next connection, if its user is ours or root.
    func accept() -> UInt32? {
        while let socket = try? SystemCall.accept(descriptor.rawValue) {
            guard let user = try? SystemCall.peerUser(socket.rawValue), user == geteuid() || user == 0 else { continue }
            last &+= 1
            connections[last] = ControlConnection(socket)
            return last
        }
        return nil
    }

    func close() {
        for connection in connections.values { _ = connection.flush() }
        connections = [:]
        _ = unsafe unlink(path)
    }
}
