import CLinux
import Glibc

/// Talking to somebody outside who isn't at the other end of a descriptor that was given.
enum PeerAttempts {
    static func run(port: Int, socket name: String, shm key: Int) {
        connectTCP("connect-tcp", port: UInt16(truncatingIfNeeded: port))
        connectAbstract("connect-abstract", name)
        // A raw packet socket, and a netlink socket that changes anything, need capabilities over the network.
        Report.mustFail("packet-socket", SYS_socket, 17, 3, 0x0300)
        guard Report.isWanted("shared-segment") else { return }
        let segment = clinux_raw_call(Int(SYS_shmget), key, 0, 0, 0, 0, 0)
        if segment < 0 { Report.held("shared-segment", errno) } else { Report.escaped("shared-segment", "\(segment)") }
    }

    private static func connectTCP(_ name: String, port: UInt16) {
        guard Report.isWanted(name) else { return }
        let socket = Int32(truncatingIfNeeded: clinux_raw_call(Int(SYS_socket), 2, 1, 0, 0, 0, 0))
        if socket < 0 { return Report.held(name, errno) }
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = unsafe withUnsafeBytes(of: &address) {
            clinux_raw_call(
                Int(SYS_connect), Int(socket), Int(bitPattern: $0.baseAddress), MemoryLayout<sockaddr_in>.size, 0, 0, 0)
        }
        if result < 0 { Report.held(name, errno) } else { Report.escaped(name, "connected") }
    }

    private static func connectAbstract(_ name: String, _ path: String) {
        guard Report.isWanted(name) else { return }
        let socket = Int32(truncatingIfNeeded: clinux_raw_call(Int(SYS_socket), 1, 1, 0, 0, 0, 0))
        if socket < 0 { return Report.held(name, errno) }
        defer { close(socket) }
        // Family, a zero, the name.
        let bytes: [UInt8] = [1, 0, 0] + Array(path.utf8)
        let result = unsafe bytes.withUnsafeBytes {
            clinux_raw_call(Int(SYS_connect), Int(socket), Int(bitPattern: $0.baseAddress), $0.count, 0, 0, 0)
        }
        if result < 0 { Report.held(name, errno) } else { Report.escaped(name, "connected") }
    }
}
