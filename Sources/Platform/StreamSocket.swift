import CLinux
import Glibc
import SystemPackage

/// Unix stream sockets by path (unix(7)).
extension SystemCall {
    /// A socket that listens at a path that doesn't exist yet; doesn't block. ENAMETOOLONG above 107 bytes.
    public static func listen(atPath path: String) throws(Errno) -> SharedDescriptor {
        SharedDescriptor(adopting: try retrying { unsafe clinux_listen_unix(path) })
    }

    /// A connection to who listens at a path; blocks. ECONNREFUSED: nobody does any more.
    public static func connect(toPath path: String) throws(Errno) -> SharedDescriptor {
        SharedDescriptor(adopting: try retrying { unsafe clinux_connect_unix(path) })
    }

    /// The next connection that waits, or nil; doesn't block.
    public static func accept(_ listener: Int32) throws(Errno) -> SharedDescriptor? {
        do {
            return SharedDescriptor(adopting: try retrying { clinux_accept(listener) })
        } catch {
            if error == .wouldBlock { return nil }
            throw error
        }
    }

    /// The user at the other end of a connection (SO_PEERCRED).
    public static func peerUser(_ socket: Int32) throws(Errno) -> UInt32 {
        var user: UInt32 = 0
        try retrying { unsafe clinux_peer_user(socket, &user) }
        return user
    }

    /// Sends as many bytes as there is room for, without waiting; returns how many.
    public static func sendSome(_ socket: Int32, _ bytes: ArraySlice<UInt8>) throws(Errno) -> Int {
        let copy = Array(bytes)
        do {
            return try retrying { unsafe clinux_send_some(socket, copy, copy.count) }
        } catch {
            if error == .wouldBlock { return 0 }
            throw error
        }
    }

    /// Receives what there is, at most 64 KiB; nil: nothing yet (a socket that doesn't block); empty: the end.
    public static func receiveSome(_ socket: Int32) throws(Errno) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65536)
        do {
            let count = try retrying { unsafe Glibc.read(socket, &buffer, buffer.count) }
            return Array(buffer.prefix(count))
        } catch {
            if error == .wouldBlock { return nil }
            throw error
        }
    }

    /// mount(2).
    public static func mount(
        _ source: String, at target: String, type: String, flags: UInt, options: String
    ) throws(Errno) {
        try retrying { unsafe clinux_mount(source, target, type, flags, options) }
    }

    /// umount2(2).
    public static func unmount(_ target: String, flags: Int32) throws(Errno) {
        try retrying { unsafe clinux_unmount(target, flags) }
    }
}

extension SystemCall {
    /// Writes a text completely, waiting if need be: a line for a log or a stream socket.
    public static func write(text: String, to descriptor: Int32) throws(Errno) {
        let bytes = Array(text.utf8)
        let span = bytes.span
        try writeAll(descriptor, unsafe span.bytes)
    }
}
